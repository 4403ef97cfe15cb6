"""Binary trees of players, and the one that halves an image again and again."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class PartitionTree:
    """A binary tree whose leaves are the players, in an order in which every node is a range.

    Attributes:
        order: the players from the first leaf to the last.
        depth: of each two neighbours in that order, how deep the node is that parts them; 0 is the root.

    >>> PartitionTree(torch.tensor([2, 0, 1]), torch.tensor([0, 1])).middle(0, 3)  # {2} and {0, 1}
    1
    """

    order: Int[Tensor, " players"]
    depth: Int[Tensor, " gaps"]

    def middle(self, low: int, high: int) -> int:
        """Where the node of the leaves from `low` up to `high` is parted: the first leaf of its second child."""
        return low + 1 + int(self.depth[low : high - 1].argmin())


def bisection_tree(places: Float[Tensor, "players axes"]) -> PartitionTree:
    """The tree that halves the box of the players at the middle of its longer side, again and again.

    The first of equally long sides is taken, and a player on the middle belongs to the first half. For single pixels it is the tree of
    shap's `maskers.Image`. Players that share one place are halved by their number.

    Args:
        places: where each player is; only their order and the middles between them matter.

    >>> tree = bisection_tree(torch.tensor([[0.0], [1.0], [9.0]]))
    >>> tree.order.tolist(), tree.depth.tolist()
    ([0, 1, 2], [1, 0])
    """
    points = places.cpu().double().numpy()
    order, depth = np.arange(len(points)), np.full(max(0, len(points) - 1), -1)
    starts, level = np.array([0]), 0  # of the nodes of this level
    while len(starts) < len(points):
        sizes = np.diff(starts, append=len(points))
        second = _assign_second_child(points[order], starts, sizes)
        node = np.repeat(np.arange(len(starts)), sizes)
        order = order[np.argsort(2 * node + second, kind="stable")]
        cuts = starts + sizes - np.add.reduceat(second.astype(int), starts)
        cuts = cuts[sizes > 1]
        depth[cuts - 1] = level
        starts, level = np.sort(np.concatenate([starts, cuts])), level + 1
    return PartitionTree(torch.from_numpy(order), torch.from_numpy(depth))


def _assign_second_child(points: np.ndarray, starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Which players go to the second child of their node; nodes are runs of players, and a node of one has no second child."""
    low, high = np.minimum.reduceat(points, starts), np.maximum.reduceat(points, starts)
    nodes, longest = np.arange(len(starts)), (high - low).argmax(1)
    middle = (low[nodes, longest] + high[nodes, longest]) / 2
    second = points[np.arange(len(points)), np.repeat(longest, sizes)] > np.repeat(middle, sizes)
    together = np.repeat(np.logical_and.reduceat(~second, starts), sizes)  # players at one place: neither child may be empty
    by_number = np.arange(len(points)) >= np.repeat(starts + (sizes + 1) // 2, sizes)
    return np.where(together, by_number, second)
