"""Partition SHAP of each of two images, pixel by pixel, for any similarity."""

from typing import final

import torch

from captum_pairwise.attr.base import InputMethod
from captum_pairwise.attr.views import ImageInteractions, Maps
from captum_pairwise.estimators.owen_values import partition_shapley
from captum_pairwise.files.arguments import check_count
from captum_pairwise.games.context import ForwardFunc
from captum_pairwise.games.pairs import Pairs
from captum_pairwise.players.regions import player_centres, scalars
from captum_pairwise.players.trees import bisection_tree


@final
class PartitionShap(InputMethod[ImageInteractions, Maps]):
    """Owen values of the pixels of each image, with the other image whole, on a tree that halves the image (PSHAP, paper §4, §A.2).

    Without a `feature_mask` every pixel is a player, its channels together, and the tree equals shap's `PartitionExplainer`; the
    parts of a mask are halved by the mean position of their pixels. Nodes with the largest credit are split first, and players that the
    budget does not separate share their credit equally, so the credits of an image sum to its gain in similarity over its baseline at any
    budget. `n_samples` is 5000 by default, as in the paper, both ends included. Nothing is drawn at random.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        batch_size: coalitions per step, at least 2; fewer are chosen better, but use a GPU less.

    >>> similarity = PartitionShap(lambda query, retrieved: (query * retrieved).sum(1))
    >>> credits = similarity.attribute((torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]])))
    >>> [credit.round() for credit in credits]
    [tensor([[3., 8.]]), tensor([[3., 8.]])]

    See also `KernelShapley`.
    """

    order, _default_samples = 1, 5000
    _players = staticmethod(scalars)

    def __init__(self, forward_func: ForwardFunc, *, batch_size: int = 64) -> None:
        InputMethod.__init__(self, forward_func)
        self.batch_size = check_count(batch_size, "batch_size")

    def _explain(self, pairs: Pairs, n_samples: int | None, generator: torch.Generator | None) -> ImageInteractions:
        options = {"n_samples": self._budget(n_samples), "batch_size": self.batch_size}
        return pairs.explain_images(
            lambda game, side, example: partition_shapley(game, bisection_tree(player_centres(side.players, example)), **options)
        )
