"""The permutation estimator of Shapley–Taylor indices, for any similarity."""

from typing import final

import torch

from captum_pairwise.attr.second_order import InputPairwise, LayerPairwise
from captum_pairwise.estimators.permutation_sampling import permutation
from captum_pairwise.games.game import Game
from captum_pairwise.results.interactions import Interactions


@final
class ShapleyTaylorSampling(InputPairwise):
    """Shapley–Taylor indices of parts of two images from random orders of arrival, unbiased, pairs within one image included.

    After Sundararajan et al. 2020, with the prefixes of an order shared by all pairs. `n_samples` is 2000 by default; `n` players need at
    least `n (n+1) / 2 + 1`. For a two-tower model `FactorisedShapleyTaylor` is far more accurate.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
    """

    def _estimate(self, game: Game, n_samples: int | None, generator: torch.Generator | None) -> Interactions:
        return permutation(game, 2000 if n_samples is None else n_samples, generator=generator)


@final
class LayerShapleyTaylorSampling(LayerPairwise):
    """Shapley–Taylor indices of cells of a layer's two outputs; `ShapleyTaylorSampling` in feature space, `n_samples` 20 000 by default."""

    def _estimate(self, game: Game, n_samples: int | None, generator: torch.Generator | None) -> Interactions:
        return permutation(game, 20_000 if n_samples is None else n_samples, generator=generator)
