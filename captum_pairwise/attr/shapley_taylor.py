"""Interaction indices by permutations and by a Gaussian process, and jagged credit."""

from collections.abc import Callable
from functools import partial
from typing import final

import torch

from captum_pairwise.attr.base import InputMethod, LayerMethod, PairMethod
from captum_pairwise.attr.views import Matrix
from captum_pairwise.estimators.enumeration import MOST_COALITIONS
from captum_pairwise.estimators.gaussian.joint_process import gaussian_process
from captum_pairwise.estimators.gaussian.shapley_process import count_least
from captum_pairwise.estimators.heat_maps import estimate_with_maps
from captum_pairwise.estimators.jagged_index import share_dividends
from captum_pairwise.estimators.permutation_sampling import count_coalitions, permutation
from captum_pairwise.games.game import EmbeddedGame, Game
from captum_pairwise.games.pairs import Pairs
from captum_pairwise.players.few_parts import divide_into_segments
from captum_pairwise.results.interactions import Interactions


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
