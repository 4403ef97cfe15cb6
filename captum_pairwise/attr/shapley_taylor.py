"""Shapley–Taylor indices: for two towers, exact, by permutations, by a Gaussian process, and jagged credit."""

from collections.abc import Callable
from functools import partial
from typing import final

import torch

from captum_pairwise.attr.base import DeviceIds, InputMethod, LayerMethod, PairMethod
from captum_pairwise.attr.views import Matrix
from captum_pairwise.estimators.enumeration import exact
from captum_pairwise.estimators.gaussian.joint_process import gaussian_process
from captum_pairwise.estimators.gaussian.shapley_process import count_least
from captum_pairwise.estimators.heat_maps import estimate_with_maps
from captum_pairwise.estimators.jagged_index import share_dividends
from captum_pairwise.estimators.permutation_sampling import count_coalitions, permutation
from captum_pairwise.estimators.towers.factorisation import TowerOptions, factorise
from captum_pairwise.games.context import ForwardFunc
from captum_pairwise.games.game import EmbeddedGame, Game
from captum_pairwise.games.pairs import Pairs
from captum_pairwise.network.layers import Layers
from captum_pairwise.players.few_parts import divide_cells, divide_into_few, divide_into_segments
from captum_pairwise.players.layouts import LayoutNames
from captum_pairwise.results.interactions import Interactions


class _TowerFit(PairMethod[Interactions]):
    """The estimate of both classes."""

    order = 2
    options: TowerOptions

    def _explain(self, pairs: Pairs, n_samples: int | None, generator: torch.Generator | None) -> Interactions:
        return pairs.explain(lambda game: factorise(_require_towers(game), self._budget(n_samples), self.options, generator=generator))


def _require_towers(game: Game) -> EmbeddedGame:
    if not isinstance(game, EmbeddedGame):
        raise ValueError(
            "Expected a SimilarityWrapper, because each image is embedded alone, got another function. Pass `SimilarityWrapper(encoder)`, "
            "with `similarity=` for a score of your own; for other functions take GaussianProcessShapleyTaylor."
        )
    return game


@final
class FactorisedShapleyTaylor(_TowerFit, InputMethod[Interactions, Matrix]):
    r"""Shapley–Taylor indices of parts of two images, from a few hundred embeddings of each (our own method; not in the paper).

    $$\phi_{ij} = \int_0^1 2 (1 - p) \, \langle \mathbb{E}_p[u(A \cup i) - u(A)], \, \mathbb{E}_p[w(B \cup j) - w(B)] \rangle \, dp$$

    for embeddings $u$ and $w$ of the two images; each part is in $A$ or $B$ with probability $p$.

    The result has pairs between the images, exact first-order terms and Shapley values, each with a standard error where it was sampled.
    `n_samples` is 500 by default. A query that is repeated in consecutive entries of the batch is embedded once:
    `(query.expand(k, -1, -1, -1), retrieved)` explains it against `k` images with `n_samples` embeddings of the query, and as many of each
    image.

    Args:
        forward_func: a `SimilarityWrapper`.
        fit: the model of the coalitions that were not evaluated: `"process"`, a Gaussian process, or `"chains"`, means over chains of
            growing coalitions, which need more embeddings for the same error but a tenth of the other time. None takes the process up to
            8192 embeddings of 256 players.
        tolerance: stop before `n_samples` when the root-mean-square standard error of the pairs, relative to the pairs, is below it.
        within: also estimate the pairs within each image; without standard errors.
    """

    _default_samples = 500

    def __init__(self, forward_func: ForwardFunc, *, fit: str | None = None, tolerance: float | None = None, within: bool = False) -> None:
        InputMethod.__init__(self, forward_func)
        self.options = TowerOptions(fit, tolerance, within)


@final
class LayerFactorisedShapleyTaylor(_TowerFit, LayerMethod[Interactions, Matrix]):
    """Shapley–Taylor indices of cells of a layer's two outputs; `FactorisedShapleyTaylor` in feature space, `n_samples` 2000 by default.

    Args:
        forward_func: a `SimilarityWrapper`.
        layer: a module of the encoder, of either tower; or a pair, one for each image.
        device_ids: as in Captum.
        fit: as for `FactorisedShapleyTaylor`, and so are `tolerance` and `within`.
        tolerance: the relative error at which to stop.
        within: also estimate the pairs within each image.

    >>> from captum_pairwise import SimilarityWrapper
    >>> encoder = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, stride=2), torch.nn.GELU())
    >>> method = LayerFactorisedShapleyTaylor(SimilarityWrapper(encoder), encoder[1])
    >>> method.attribute((torch.rand(2, 3, 9, 9), torch.rand(2, 3, 7, 7))).shape
    torch.Size([2, 4, 4, 3, 3])
    """

    _default_samples = 2000

    def __init__(
        self,
        forward_func: ForwardFunc,
        layer: Layers,
        device_ids: DeviceIds = None,
        *,
        fit: str | None = None,
        tolerance: float | None = None,
        within: bool = False,
        layout: LayoutNames = None,
    ) -> None:
        LayerMethod.__init__(self, forward_func, layer, device_ids, layout=layout)
        self.options = TowerOptions(fit, tolerance, within)


MOST_COALITIONS = 2**16


class _Enumeration(PairMethod[Interactions]):
    """The estimate of both classes."""

    order, _default_samples = 2, MOST_COALITIONS

    def _explain(self, pairs: Pairs, n_samples: int | None, generator: torch.Generator | None) -> Interactions:
        return pairs.explain(lambda game: exact(game, self._budget(n_samples)))


@final
class ExactShapleyTaylor(_Enumeration, InputMethod[Interactions, Matrix]):
    """Shapley–Taylor indices of parts of two images (paper eq. 5), pairs within one image included, from every coalition.

    `n_samples` is the most coalitions that it may evaluate, 65 536 by default: `2**(n_q + n_r)`, or for a two-tower model `2**n_q` and
    `2**n_r` by each tower; more are refused. Nothing is drawn, so `generator` has no effect. Without a mask, images are a grid of 2 × 4
    parts, and other inputs of more than 16 numbers are 8 runs of neighbouring numbers.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.

    >>> similarity = ExactShapleyTaylor(lambda query, retrieved: query[:, 0] * retrieved[:, 0])
    >>> similarity.attribute((torch.tensor([[2.0]]), torch.tensor([[3.0]])))
    tensor([[[6.]]])
    """

    _players = staticmethod(divide_into_few)


@final
class LayerExactShapleyTaylor(_Enumeration, LayerMethod[Interactions, Matrix]):
    """Shapley–Taylor indices of cells of a layer's two outputs, from every coalition; `ExactShapleyTaylor` in feature space.

    Without a mask, an output of more than 16 cells is divided into 8 runs of neighbouring cells, in reading order.
    """

    _divide = staticmethod(divide_cells)


def _explain_with_maps(
    pairs: Pairs,
    budget: Callable[[int], int],
    estimate: Callable[..., Interactions],
    count: Callable[[int], int],
    generator: torch.Generator | None,
) -> Interactions:
    """Pairs and heat maps of games of any kind.

    Args:
        pairs: the games.
        budget: `(least) -> n_samples`, the budget where the pairs need so many coalitions at least.
        estimate: the estimator of pairs.
        count: `(n_players) -> least`.
        generator: the source of randomness.
    """

    def estimate_game(game: Game) -> Interactions:
        least = count(game.n_players)
        limits = {"least": least, "exact_from": 2**game.n_players}
        return estimate_with_maps(game, budget(least), partial(estimate, generator=generator), **limits, generator=generator)

    return pairs.explain(estimate_game)


class _Permutations(PairMethod[Interactions]):
    """The estimate of both classes."""

    order = 2

    def _explain(self, pairs: Pairs, n_samples: int | None, generator: torch.Generator | None) -> Interactions:
        return _explain_with_maps(pairs, partial(self._budget, n_samples), permutation, count_coalitions, generator)


@final
class ShapleyTaylorSampling(_Permutations, InputMethod[Interactions, Matrix]):
    """Shapley–Taylor indices of parts of two images from random orders of arrival, unbiased, pairs within one image included.

    After Sundararajan et al. 2020, with the prefixes of an order shared by all pairs. `n` players need at least
    `n (n+1) / 2 + 1` coalitions; `n_samples` is 2000 by default, and at least twice that. Images without a mask are divided into about 20
    superpixels, not 50. For a two-tower model `FactorisedShapleyTaylor` is far more accurate.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
    """

    _default_samples = 2000
    _players = staticmethod(divide_into_segments)


@final
class LayerShapleyTaylorSampling(_Permutations, LayerMethod[Interactions, Matrix]):
    """Shapley–Taylor indices of cells of a layer's two outputs; `ShapleyTaylorSampling` in feature space, `n_samples` 20 000 by default."""

    _default_samples = 20_000


class _ProcessFit(PairMethod[Interactions]):
    """The estimate of both classes."""

    order, _default_samples = 2, 2000

    def _explain(self, pairs: Pairs, n_samples: int | None, generator: torch.Generator | None) -> Interactions:
        return _explain_with_maps(pairs, partial(self._budget, n_samples), gaussian_process, count_least, generator)


@final
class GaussianProcessShapleyTaylor(_ProcessFit, InputMethod[Interactions, Matrix]):
    """Shapley–Taylor indices of parts of two images for any forward function, from the fewest evaluations (ours; not in the paper).

    Pairs within one image included, with the standard errors of the posterior. `n_samples` is 2000 by default, of which the pairs take at
    most 8192; one that covers all coalitions is exact. For a two-tower model use `FactorisedShapleyTaylor`, which embeds each image alone.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.

    >>> similarity = GaussianProcessShapleyTaylor(lambda query, retrieved: query[:, 0] * retrieved[:, 0])
    >>> similarity.attribute((torch.tensor([[2.0]]), torch.tensor([[3.0]])))
    tensor([[[6.]]])
    """


@final
class LayerGaussianProcessShapleyTaylor(_ProcessFit, LayerMethod[Interactions, Matrix]):
    """Shapley–Taylor indices of cells of a layer's two outputs; `GaussianProcessShapleyTaylor` in feature space."""


class _SharedDividends(PairMethod[Interactions]):
    """The estimate of both classes; the default budget counts embeddings, or coalitions where they are enumerated."""

    order = 2

    def _explain(self, pairs: Pairs, n_samples: int | None, generator: torch.Generator | None) -> Interactions:
        def estimate(game: Game) -> Interactions:
            is_enumerated = n_samples is None and not isinstance(game, EmbeddedGame)
            return share_dividends(game, MOST_COALITIONS if is_enumerated else self._budget(n_samples), generator=generator)

        return pairs.explain(estimate)


@final
class JaggedShapleyTaylor(_SharedDividends, InputMethod[Interactions, Matrix]):
    """The credit of only single players and pairs between the images (paper §5.1, “jagged”).

    It sums to `v(N) - v(∅)` without pairs within an image: the effect of one image alone stays with its parts, and the joint effect of both
    images goes to pairs between them. `first_order` is the Shapley value of a part while the other image is absent, `marginal` the Owen
    value with the images as unions. For a two-tower model `n_samples` is embeddings per tower, as for `FactorisedShapleyTaylor`, 500 by
    default; for any other it is the most coalitions that may be enumerated, 65 536 by default, and more are refused.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.

    >>> similarity = JaggedShapleyTaylor(lambda query, retrieved: query.prod(1) * retrieved[:, 0])
    >>> similarity.attribute((torch.tensor([[2.0, 1.0]]), torch.tensor([[3.0]])))
    tensor([[[3.],
             [3.]]])
    """

    _default_samples = 500


@final
class LayerJaggedShapleyTaylor(_SharedDividends, LayerMethod[Interactions, Matrix]):
    """The credit of single cells of a layer's two outputs, and of pairs between them; `JaggedShapleyTaylor` in feature space.

    `n_samples` is 2000 by default for a two-tower model.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        layer: a module of the encoder, of either tower; or a pair, one for each image.
        device_ids: as in Captum.
    """

    _default_samples = 2000
