"""The permutation estimator of Shapley–Taylor indices, for any similarity."""

from typing import final

import torch

from captum_pairwise.attr.base import InputMethod, LayerMethod, PairMethod
from captum_pairwise.estimators.permutation_sampling import permutation
from captum_pairwise.games.pairs import Pairs
from captum_pairwise.results.interactions import Interactions


class _Permutations(PairMethod[Interactions]):
    """The estimate of both classes."""

    order = 2

    def _explain(self, pairs: Pairs, n_samples: int | None, generator: torch.Generator | None) -> Interactions:
        return pairs.explain(lambda game: permutation(game, self._budget(n_samples), generator=generator))


@final
class ShapleyTaylorSampling(_Permutations, InputMethod[Interactions]):
    """Shapley–Taylor indices of parts of two images from random orders of arrival, unbiased, pairs within one image included.

    After Sundararajan et al. 2020, with the prefixes of an order shared by all pairs. `n_samples` is 2000 by default; `n` players need at
    least `n (n+1) / 2 + 1`. For a two-tower model `FactorisedShapleyTaylor` is far more accurate.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
    """

    _default_samples = 2000


@final
class LayerShapleyTaylorSampling(_Permutations, LayerMethod[Interactions]):
    """Shapley–Taylor indices of cells of a layer's two outputs; `ShapleyTaylorSampling` in feature space, `n_samples` 20 000 by default."""

    _default_samples = 20_000
