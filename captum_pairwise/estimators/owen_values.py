"""Partition SHAP: Owen values of a tree of players; nodes with large credits are refined first (paper §4, §A.2)."""

import heapq
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from captum_pairwise.estimators.draws import empty_and_full
from captum_pairwise.games.game import Game
from captum_pairwise.players.trees import PartitionTree
from captum_pairwise.results.interactions import Interactions, make_interactions

Range = tuple[int, int]  # leaves, from the first up to the one after the last


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the tree and its effect in one context.

    Attributes:
        leaves: its players.
        context: the players present beside it, as ranges.
        without: value of the context alone.
        joined: value of the context with the node.
        weight: share of this context among all contexts of the node.
        credit: weighted effect of the node.
    """

    leaves: Range
    context: tuple[Range, ...]
    without: float
    joined: float
    weight: float
    credit: float


class Recursion:
    """The credits of leaves so far, and the nodes whose credit is not yet passed to their children.

    The queue returns the largest absolute credit first, and the oldest of equal credits.
    """

    def __init__(self, tree: PartitionTree, empty: float, full: float) -> None:
        self.tree, self.credits = tree, np.zeros(len(tree.order))
        self.queue: list[tuple[float, int, Node]] = []
        self._ages = count()
        self._push((0, len(tree.order)), (), empty, full, 1.0)

    def _push(self, leaves: Range, context: tuple[Range, ...], without: float, joined: float, weight: float) -> None:
        credit = (joined - without) * weight
        if leaves[1] - leaves[0] == 1:
            self.credits[leaves[0]] += credit
        else:
            heapq.heappush(self.queue, (-abs(credit), next(self._ages), Node(leaves, context, without, joined, weight, credit)))

    def pop(self, most: int) -> list[tuple[Node, int]]:
        """The nodes with the largest credits, each with the first leaf of its second child."""
        nodes = [heapq.heappop(self.queue)[2] for _ in range(min(most, len(self.queue)))]
        return [(node, self.tree.middle(*node.leaves)) for node in nodes]

    def split(self, node: Node, middle: int, first: float, second: float) -> None:
        """Pass the credit of a node to its children: half of each child's credit is for the other child absent, half for it present.

        Args:
            node: the node.
            middle: first leaf of its second child.
            first: value of the context with the first child.
            second: value of the context with the second child.
        """
        (low, high), context, half = node.leaves, node.context, node.weight / 2
        left, right = (low, middle), (middle, high)
        self._push(left, context, node.without, first, half)
        self._push(right, context, node.without, second, half)
        self._push(left, (*context, right), second, node.joined, half)
        self._push(right, (*context, left), first, node.joined, half)

    def total_credits(self) -> np.ndarray:
        """The credits of the leaves. The remaining credit of a node is shared equally by its leaves."""
        credits = self.credits.copy()
        for *_, node in self.queue:
            low, high = node.leaves
            credits[low:high] += node.credit / (high - low)
        return credits


def partition_shapley(game: Game, tree: PartitionTree, n_samples: int, *, batch_size: int = 64) -> Interactions:
    """The Owen value of every player (as `marginal`) for a binary tree of players, as far as the budget allows.

    A node `T` with children `L` and `R` and the effect `v(S ∪ T) - v(S)` in a context `S` passes it on with two evaluations,

        L: ½ [v(S ∪ L) - v(S)] + ½ [v(S ∪ T) - v(S ∪ R)]        R: ½ [v(S ∪ R) - v(S)] + ½ [v(S ∪ T) - v(S ∪ L)],

    from the root, where `S` is empty, to the leaves. Nodes with the largest weighted credit are split first. The remaining credit of a node
    is shared equally by its leaves, so the credits sum to `v(N) - v(∅)` at any budget. All splits of a balanced tree of `n` players take
    about `⅔ n²` evaluations, all of distinct coalitions, and give the exact Owen value.

    Args:
        game: the game.
        tree: the tree, with all players as leaves.
        n_samples: coalitions, including the empty one and the full one.
        batch_size: coalitions chosen and evaluated together. Smaller batches choose better.

    Raises:
        ValueError: the budget or the batch is below 2, or the tree has other players.

    >>> from captum_pairwise.games.game import CallableGame
    >>> tree = PartitionTree(torch.tensor([0, 1, 2]), torch.tensor([0, 1]))  # {0} and {1, 2}
    >>> product = CallableGame(3, 0, lambda z: 8.0 * z.all(1))
    >>> partition_shapley(product, tree, 8).marginal, partition_shapley(product, tree, 2).marginal.round(decimals=2)
    (tensor([[4., 2., 2.]]), tensor([[2.6700, 2.6700, 2.6700]]))
    """
    _refuse_arguments(game, tree, n_samples, batch_size)
    ends = game.values(empty_and_full(game.n_players))
    recursion, left = Recursion(tree, *ends.double().tolist()), n_samples - 2
    place = np.argsort(tree.order.numpy())
    while recursion.queue and left >= 2:
        chosen = recursion.pop(min(batch_size, left) // 2)
        values = game.values(_child_coalitions(chosen, place)).double().tolist()
        for (node, middle), first, second in zip(chosen, values[::2], values[1::2], strict=True):
            recursion.split(node, middle, first, second)
        left -= len(values)
    marginal = torch.from_numpy(recursion.total_credits()[place]).to(ends)
    return make_interactions(ends, game.n_query, game.n_evaluations, marginal=marginal[None])


def _child_coalitions(chosen: list[tuple[Node, int]], place: np.ndarray) -> Bool[Tensor, "coalitions players"]:
    """For each node, its context with the first child, and its context with the second child."""
    present = np.zeros((2 * len(chosen), len(place)), dtype=bool)
    for k, (node, middle) in enumerate(chosen):
        for low, high in node.context:
            present[2 * k : 2 * k + 2, low:high] = True
        present[2 * k, node.leaves[0] : middle] = present[2 * k + 1, middle : node.leaves[1]] = True
    return torch.from_numpy(present.take(place, axis=1))


def _refuse_arguments(game: Game, tree: PartitionTree, n_samples: int, batch_size: int) -> None:
    if n_samples < 2:
        raise ValueError(f"Expected n_samples of at least 2, for no player and all players, got {n_samples}. Take thousands for an image.")
    if batch_size < 2:
        raise ValueError(f"Expected batch_size of at least 2, because a node takes two coalitions, got {batch_size}. Raise it.")
    if len(tree.order) != game.n_players:
        raise ValueError(f"Expected a tree of the game's {game.n_players} players, got one of {len(tree.order)}. Build it for them.")
