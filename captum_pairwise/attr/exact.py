"""Shapley–Taylor indices by evaluating every coalition."""

from typing import final

import torch

from captum_pairwise.attr.second_order import InputPairwise, LayerPairwise
from captum_pairwise.estimators.enumeration import exact
from captum_pairwise.games.game import Game
from captum_pairwise.results.interactions import Interactions

MOST_COALITIONS = 2**16


@final
class ExactShapleyTaylor(InputPairwise):
    """Shapley–Taylor indices of parts of two images (paper eq. 5), pairs within one image included, from every coalition.

    `n_samples` is the most coalitions that it may evaluate, 65 536 by default: `2**(n_q + n_r)`, or for a two-tower model `2**n_q` and
    `2**n_r` by each tower; more are refused. Nothing is drawn, so `generator` has no effect.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.

    >>> similarity = ExactShapleyTaylor(lambda query, retrieved: query[:, 0] * retrieved[:, 0])
    >>> similarity.attribute((torch.tensor([[2.0]]), torch.tensor([[3.0]])))
    tensor([[[6.]]])
    """

    def _estimate(self, game: Game, n_samples: int | None, generator: torch.Generator | None) -> Interactions:
        return exact(game, MOST_COALITIONS if n_samples is None else n_samples)


@final
class LayerExactShapleyTaylor(LayerPairwise):
    """Shapley–Taylor indices of cells of a layer's two outputs, from every coalition; `ExactShapleyTaylor` in feature space."""

    def _estimate(self, game: Game, n_samples: int | None, generator: torch.Generator | None) -> Interactions:
        return exact(game, MOST_COALITIONS if n_samples is None else n_samples)
