"""First-order LIME of each of two images, by Captum's own `Lime`."""

from importlib import import_module
from typing import final

import torch
from captum.attr import Lime
from torch import Tensor

from captum_pairwise._compat import SkLearnRidge
from captum_pairwise.attr.first_order import InputFirstOrder, OfBoth
from captum_pairwise.estimators.regression.local_surrogate import cosine_kernel, uniform_coalitions
from captum_pairwise.games.game import Game
from captum_pairwise.games.sides import Pairs
from captum_pairwise.players.baselines import part_colour
from captum_pairwise.results.interactions import Interactions


@final
class SuperpixelLime(InputFirstOrder):
    r"""The coefficients of a linear model of the similarity near each image, the other image being whole (LIME, paper §4 and §A.2).

    $$v(S) \approx \beta_\emptyset + \sum_{i \in S} \beta_i$$

    by ridge regression ($\alpha = 1$, the intercept free) on everybody and uniform coalitions, with the weights $\sqrt{\exp(-D^2 /
    0.25^2)}$ of the cosine distance $D$ from everybody: the settings of the package `lime`. It is not efficient: `completeness_gap`, and
    the delta, tell by how much.

    Captum's `Lime` does it, over the presences of superpixels in place of pixels, so that a two-tower model embeds the other image once,
    and each distinct coalition. It fits in float32, whatever the images have. An absent part of an image shows its own mean colour if
    `baselines` is None; `n_samples` is 5000 by default. Needs the extra `lime`.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.

    >>> method = SuperpixelLime(lambda query, retrieved: (query * retrieved).mean((1, 2, 3)))
    >>> photo, halves = torch.ones(1, 3, 4, 4), torch.arange(2).repeat_interleave(2)
    >>> query, _ = method.attribute((photo, photo), baselines=(0, 0), feature_mask=(halves, halves))
    >>> query[0, 0, 0].round(decimals=1)  # a half each, less what the ridge takes
    tensor([0.5000, 0.5000, 0.5000, 0.5000])
    """

    _baseline = staticmethod(part_colour)

    def _explain(self, pairs: Pairs, n_samples: int | None, generator: torch.Generator | None) -> OfBoth:
        budget = 5000 if n_samples is None else n_samples
        _refuse(budget)
        return pairs.explain_images(lambda game, *_: fitted(game, budget, generator))


def _refuse(n_samples: int) -> None:
    if n_samples < 2:
        raise ValueError(f"Expected n_samples of at least 2, got {n_samples}. Take many times the number of superpixels.")
    try:
        import_module("sklearn")
    except ImportError as error:
        raise ImportError("SuperpixelLime needs scikit-learn: pip install 'captum-pairwise[lime]'") from error


def fitted(game: Game, n_samples: int, generator: torch.Generator | None) -> Interactions:
    """What Captum's `Lime` fits to a game, over its presences."""
    generator = generator if generator is not None else torch.Generator().manual_seed(0)
    drawn = iter(uniform_coalitions(game.n_players, n_samples, generator).long().split(1))
    ends = game.values(torch.tensor([[False], [True]]).expand(2, game.n_players))

    def rises(z: Tensor) -> Tensor:
        return (game.values(z.bool()) - ends[1]).cpu()  # the intercept takes up v(N), and the differences keep more digits in float32

    method = Lime(rises, SkLearnRidge(alpha=1.0), lambda everybody, z, _, **more: cosine_kernel(z), lambda everybody, **more: next(drawn))
    everybody = torch.ones(1, game.n_players)
    with torch.random.fork_rng(devices=[]):  # Captum's data loader draws a seed that nobody uses
        found = method.attribute(everybody, n_samples=n_samples, perturbations_per_eval=n_samples, return_input_shape=False)
    return Interactions(
        n_query=game.n_query,
        empty=ends[:1],
        full=ends[1:],
        n_evaluations=torch.tensor([game.n_evaluations]),
        marginal=found.reshape(1, -1).to(ends),
    )
