"""LIME of two images: first order by Captum's own `Lime`, second order by a weighted Lasso."""

from typing import final

import torch
from captum.attr import Lime

from captum_pairwise._compat import SkLearnRidge
from captum_pairwise.attr.base import InputMethod
from captum_pairwise.attr.views import ImageInteractions, Maps, Matrix
from captum_pairwise.estimators.draws import default_generator, empty_and_full
from captum_pairwise.estimators.regression.local_surrogate import cosine_kernel, lime, uniform_coalitions
from captum_pairwise.files.optional_packages import import_optional
from captum_pairwise.games.context import ForwardFunc
from captum_pairwise.games.game import Game
from captum_pairwise.games.pairs import Pairs
from captum_pairwise.network.autocast import disable_autocast
from captum_pairwise.players.baselines import part_colour
from captum_pairwise.results.interactions import Interactions, make_interactions


@final
class SuperpixelLime(InputMethod[ImageInteractions, Maps]):
    r"""The coefficients of a linear model of the similarity near each image, with the other image whole (LIME, paper §4 and §A.2).

    $$v(S) \approx \beta_\emptyset + \sum_{i \in S} \beta_i$$

    by ridge regression ($\alpha = 1$, the intercept free) on the grand coalition and uniform coalitions, with the weights $\sqrt{\exp(-D^2
    / 0.25^2)}$ of the cosine distance $D$ from the grand coalition: the settings of the package `lime`. It is not efficient:
    `completeness_gap` and the delta report the difference.

    Captum's `Lime` runs over the presences of superpixels instead of pixels, so a two-tower model embeds the other image once and each
    distinct coalition once. It always fits in float32. An absent part of an image shows its own mean colour if
    `baselines` is None; `n_samples` is 5000 by default. Needs the extra `lime`.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.

    >>> method = SuperpixelLime(lambda query, retrieved: (query * retrieved).mean((1, 2, 3)))
    >>> photo, halves = torch.ones(1, 3, 4, 4), torch.arange(2).repeat_interleave(2)
    >>> query, _ = method.attribute((photo, photo), baselines=(0, 0), feature_mask=(halves, halves))
    >>> query[0, 0, 0].round(decimals=1)  # a half each, minus the shrinkage of the ridge
    tensor([0.5000, 0.5000, 0.5000, 0.5000])

    See also `PairwiseLime` and `KernelShapley`.
    """

    order, _default_samples = 1, 5000
    _default_baseline = staticmethod(part_colour)

    def _explain(self, pairs: Pairs, n_samples: int | None, generator: torch.Generator | None) -> ImageInteractions:
        budget = self._budget(n_samples)
        _refuse_too_few(budget)
        return pairs.explain_images(lambda game, *_: fit_lime(game, budget, generator))


def _refuse_too_few(n_samples: int) -> None:
    if n_samples < 2:
        raise ValueError(f"Expected n_samples of at least 2, got {n_samples}. Take many times the number of superpixels.")
    import_optional("sklearn", "SuperpixelLime", "lime")


def fit_lime(game: Game, n_samples: int, generator: torch.Generator | None) -> Interactions:
    """The coefficients of Captum's `Lime` for a game, with the presences of its players as inputs."""
    coalitions = uniform_coalitions(game.n_players, n_samples, default_generator(generator))
    rows = iter(coalitions.long().split(1))
    ends = game.values(empty_and_full(game.n_players))
    changes = (game.values(coalitions) - ends[1]).cpu()  # the intercept absorbs v(N), and differences keep more digits in float32
    method = Lime(
        lambda _: changes, SkLearnRidge(alpha=1.0), lambda whole, z, _, **more: cosine_kernel(z), lambda whole, **more: next(rows)
    )
    whole = torch.ones(1, game.n_players, dtype=torch.float32, device="cpu")
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):  # Captum's data loader draws a seed that is not used
        credit = method.attribute(whole, n_samples=n_samples, perturbations_per_eval=n_samples, return_input_shape=False)
    return make_interactions(ends, game.n_query, game.n_evaluations, marginal=credit.reshape(1, -1).to(ends))


@final
class PairwiseLime(InputMethod[Interactions, Matrix]):
    r"""The terms of a quadratic model of the similarity near both images, by a weighted Lasso (LIME second order, paper §5.2).

    $$v(S) \approx \beta_\emptyset + \sum_{i \in S} \beta_i + \sum_{i < j \in S} \beta_{ij}$$

    over uniform coalitions weighted by $\exp(-\lambda d^2)$, with $d^2$ the mean squared difference between the masked images and the
    images, all their values together. `attribute` returns $\beta_{ij}$ between the images; `marginal` is the Shapley value of the
    model. LIME is not efficient: `completeness_gap` and the delta report the difference.

    An absent part of an image shows its own mean colour if `baselines` is None. `n_samples` is 20 000 coalitions by default; each
    tower of a two-tower model embeds only its distinct halves. Needs the extra `lime`.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        decay: $\lambda$ of the kernel; None is $\ln 2$ over the median of $d^2$.
        alpha: the penalty on the sum of absolute terms, in units of the least one that sets all terms to 0; 0 is weighted least squares.

    >>> similarity = PairwiseLime(lambda query, retrieved: query[:, 0] * retrieved[:, 0], alpha=0.0)
    >>> similarity.attribute((torch.tensor([[2.0]]), torch.tensor([[3.0]])), n_samples=64).round()
    tensor([[[6.]]])

    See also `KernelShapleyTaylor`.
    """

    order, _default_samples = 2, 20_000
    _default_baseline = staticmethod(part_colour)

    def __init__(self, forward_func: ForwardFunc, *, decay: float | None = None, alpha: float = 1e-3) -> None:
        InputMethod.__init__(self, forward_func)
        self.decay, self.alpha = decay, alpha

    @disable_autocast()
    def _explain(self, pairs: Pairs, n_samples: int | None, generator: torch.Generator | None) -> Interactions:
        pairs.refuse_beyond_memory()
        budget, options = self._budget(n_samples), {"decay": self.decay, "alpha": self.alpha, "generator": generator}
        return pairs.join([lime(game, pairs.measure_changes(example), budget, **options) for example, game in enumerate(pairs.games())])
