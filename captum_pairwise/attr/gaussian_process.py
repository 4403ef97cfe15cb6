"""Shapley–Taylor indices of any similarity by a Gaussian process on its coalitions."""

from typing import final

import torch

from captum_pairwise.attr.second_order import InputPairwise, LayerPairwise
from captum_pairwise.estimators.gaussian.joint_process import gaussian_process
from captum_pairwise.games.game import Game
from captum_pairwise.results.interactions import Interactions

DEFAULT_SAMPLES = 2000


@final
class GaussianProcessShapleyTaylor(InputPairwise):
    """Shapley–Taylor indices of parts of two images for any forward function, from the fewest evaluations (ours; not in the paper).

    Pairs within one image included, with the standard errors of the posterior. `n_samples` is 2000 by default and at most 8192; one that
    covers all coalitions is exact. A two-tower model is better served by `FactorisedShapleyTaylor`, which knows of its towers.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.

    >>> similarity = GaussianProcessShapleyTaylor(lambda query, retrieved: query[:, 0] * retrieved[:, 0])
    >>> similarity.attribute((torch.tensor([[2.0]]), torch.tensor([[3.0]])))
    tensor([[[6.]]])
    """

    def _estimate(self, game: Game, n_samples: int | None, generator: torch.Generator | None) -> Interactions:
        return gaussian_process(game, DEFAULT_SAMPLES if n_samples is None else n_samples, generator=generator)


@final
class LayerGaussianProcessShapleyTaylor(LayerPairwise):
    """Shapley–Taylor indices of cells of a layer's two outputs; `GaussianProcessShapleyTaylor` in feature space."""

    def _estimate(self, game: Game, n_samples: int | None, generator: torch.Generator | None) -> Interactions:
        return gaussian_process(game, DEFAULT_SAMPLES if n_samples is None else n_samples, generator=generator)
