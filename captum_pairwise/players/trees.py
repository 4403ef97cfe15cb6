"""Binary trees of players."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class PartitionTree:
    """A binary tree whose leaves are the players, ordered such that every node is a range of leaves.

    Attributes:
        order: the players from the first leaf to the last.
        depth: for each two neighbouring leaves, the depth of the node that separates them; the root has depth 0.

    >>> PartitionTree(torch.tensor([2, 0, 1]), torch.tensor([0, 1])).middle(0, 3)  # {2} and {0, 1}
    1
    """

    order: Int[Tensor, " players"]
    depth: Int[Tensor, " gaps"]

    def middle(self, low: int, high: int) -> int:
        """The first leaf of the second child of the node with the leaves from `low` up to, not including, `high`."""
        return low + 1 + int(self.depth[low : high - 1].argmin())


def bisection_tree(positions: Float[Tensor, "players axes"]) -> PartitionTree:
    """The tree that splits the bounding box of the players at the middle of its longest side, recursively.

    The first of equally long sides is split. A player at the middle goes to the first half. For single pixels this is the tree of
    shap's `maskers.Image`. Players at the same position are split by their number.

    Args:
        positions: the position of each player.

    >>> tree = bisection_tree(torch.tensor([[0.0], [1.0], [9.0]]))
    >>> tree.order.tolist(), tree.depth.tolist()
    ([0, 1, 2], [1, 0])
    """
    points = positions.cpu().double().numpy()
    order, depth = np.arange(len(points)), np.full(max(0, len(points) - 1), -1)
    starts, level = np.array([0]), 0  # first leaf of each node of this level
    while len(starts) < len(points):
        sizes = np.diff(starts, append=len(points))
        is_second = _assign_second_child(points[order], starts, sizes)
        node = np.repeat(np.arange(len(starts)), sizes)
        order = order[np.argsort(2 * node + is_second, kind="stable")]
        cuts = (starts + sizes - np.add.reduceat(is_second.astype(int), starts))[sizes > 1]
        depth[cuts - 1] = level
        starts, level = np.sort(np.concatenate([starts, cuts])), level + 1
    return PartitionTree(torch.from_numpy(order), torch.from_numpy(depth))


def _assign_second_child(points: np.ndarray, starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """True for the players that go to the second child of their node. Nodes are runs of players; a node of one player is not split."""
    low, high = np.minimum.reduceat(points, starts), np.maximum.reduceat(points, starts)
    nodes, longest = np.arange(len(starts)), (high - low).argmax(1)
    middle = (low[nodes, longest] + high[nodes, longest]) / 2
    is_second = points[np.arange(len(points)), np.repeat(longest, sizes)] > np.repeat(middle, sizes)
    share_position = np.repeat(np.logical_and.reduceat(~is_second, starts), sizes)
    in_later_half = np.arange(len(points)) >= np.repeat(starts + (sizes + 1) // 2, sizes)
    return np.where(share_position, in_later_half, is_second)
