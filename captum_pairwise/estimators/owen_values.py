"""Partition SHAP: Owen values of a tree of players, the largest credits refined first (paper §4, §A.2)."""

import heapq
from dataclasses import dataclass, field
from itertools import count

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from captum_pairwise.games.game import Game
from captum_pairwise.players.trees import PartitionTree
from captum_pairwise.results.interactions import Interactions

Range = tuple[int, int]  # leaves, from the first up to the one after the last


@dataclass(order=True, slots=True)
class Node:
    """A node of the tree, with what it adds to one context: a queue gives the one of the largest credit, of equal ones the oldest.

    Attributes:
        priority: minus its absolute credit.
        age: how many came before it.
        leaves: its players.
        context: the players present beside it, ranges outside of it.
        without: the value of the context alone.
        joined: the value of the context with the node.
        weight: the share of this context among those of the node.
        credit: what the node adds, weighted.
    """

    priority: float
    age: int
    leaves: Range = field(compare=False)
    context: tuple[Range, ...] = field(compare=False)
    without: float = field(compare=False)
    joined: float = field(compare=False)
    weight: float = field(compare=False)
    credit: float = field(compare=False)


class Recursion:
    """The credits of leaves so far, and the nodes whose credit has not been passed down."""

    def __init__(self, tree: PartitionTree, empty: float, full: float) -> None:
        self.tree, self.credits = tree, np.zeros(len(tree.order))
        self.queue: list[Node] = []
        self._ages = count()
        self._push((0, len(tree.order)), (), empty, full, 1.0)

    def _push(self, leaves: Range, context: tuple[Range, ...], without: float, joined: float, weight: float) -> None:
        credit = (joined - without) * weight
        if leaves[1] - leaves[0] == 1:
            self.credits[leaves[0]] += credit
        else:
            heapq.heappush(self.queue, Node(-abs(credit), next(self._ages), leaves, context, without, joined, weight, credit))

    def pop(self, most: int) -> list[tuple[Node, int]]:
        """The nodes of the largest credit, each with the first leaf of its second child."""
        nodes = [heapq.heappop(self.queue) for _ in range(min(most, len(self.queue)))]
        return [(node, self.tree.middle(*node.leaves)) for node in nodes]

    def split(self, node: Node, middle: int, first: float, second: float) -> None:
        """Pass a node's credit down: each child gets half of it in the other's absence, and half in its presence.

        Args:
            node: the node.
            middle: the first leaf of its second child.
            first: the value of the context with the first child.
            second: the value of the context with the second child.
        """
        (low, high), context, half = node.leaves, node.context, node.weight / 2
        left, right = (low, middle), (middle, high)
        self._push(left, context, node.without, first, half)
        self._push(right, context, node.without, second, half)
        self._push(left, (*context, right), second, node.joined, half)
        self._push(right, (*context, left), first, node.joined, half)

    def every_credit(self) -> np.ndarray:
        """The credits of the leaves; what is left on a node is shared equally by its leaves."""
        credits = self.credits.copy()
        for node in self.queue:
            low, high = node.leaves
            credits[low:high] += node.credit / (high - low)
        return credits


def partition_shapley(game: Game, tree: PartitionTree, n_samples: int, *, batch_size: int = 64) -> Interactions:
    """The Owen value of every player (as `marginal`) for a binary tree of players, as far as the budget goes.

    A node `T` with children `L` and `R` that adds `v(S ∪ T) - v(S)` to a context `S` passes it down by two evaluations,

        L: ½ [v(S ∪ L) - v(S)] + ½ [v(S ∪ T) - v(S ∪ R)]        R: ½ [v(S ∪ R) - v(S)] + ½ [v(S ∪ T) - v(S ∪ L)],

    from the root, where `S` is empty, to the leaves. The nodes of the largest weighted credit are split first; what the budget leaves on
    a node is shared equally by its leaves, so credits sum to `v(N) - v(∅)` at any budget. All splits of a balanced tree of `n` players
    are about `⅔ n²` evaluations, none of them of a coalition seen before, and give the Owen value itself.

    Args:
        game: the game.
        tree: the tree, whose leaves are all the players.
        n_samples: coalitions, that of no player and that of all included.
        batch_size: coalitions chosen and evaluated together; the fewer, the better the choice.

    Raises:
        ValueError: the budget or a batch is below 2, or the tree is of other players.

    >>> from captum_pairwise.games.game import CallableGame
    >>> tree = PartitionTree(torch.tensor([0, 1, 2]), torch.tensor([0, 1]))  # {0} and {1, 2}
    >>> product = CallableGame(3, 0, lambda z: 8.0 * z.all(1))
    >>> partition_shapley(product, tree, 8).marginal, partition_shapley(product, tree, 2).marginal.round(decimals=2)
    (tensor([[4., 2., 2.]]), tensor([[2.6700, 2.6700, 2.6700]]))
    """
    _refuse(game, tree, n_samples, batch_size)
    ends = game.values(torch.tensor([[False], [True]]).expand(2, game.n_players))
    recursion, left = Recursion(tree, *ends.double().tolist()), n_samples - 2
    place = np.argsort(tree.order.numpy())
    while recursion.queue and left >= 2:
        chosen = recursion.pop(min(batch_size, left) // 2)
        values = game.values(_coalitions(chosen, place)).double().tolist()
        for (node, middle), first, second in zip(chosen, values[::2], values[1::2], strict=True):
            recursion.split(node, middle, first, second)
        left -= len(values)
    return Interactions(
        n_query=game.n_query,
        empty=ends[:1],
        full=ends[1:],
        n_evaluations=torch.tensor([game.n_evaluations]),
        marginal=torch.from_numpy(recursion.every_credit()[place]).to(ends)[None],
    )


def _coalitions(chosen: list[tuple[Node, int]], place: np.ndarray) -> Bool[Tensor, "coalitions players"]:
    """For each node its context with the first child, and with the second."""
    present = np.zeros((2 * len(chosen), len(place)), dtype=bool)
    for k, (node, middle) in enumerate(chosen):
        for low, high in node.context:
            present[2 * k : 2 * k + 2, low:high] = True
        present[2 * k, node.leaves[0] : middle] = present[2 * k + 1, middle : node.leaves[1]] = True
    return torch.from_numpy(present.take(place, axis=1))


def _refuse(game: Game, tree: PartitionTree, n_samples: int, batch_size: int) -> None:
    if n_samples < 2:
        raise ValueError(f"Expected n_samples of at least 2, no player and all of them, got {n_samples}. Take thousands for an image.")
    if batch_size < 2:
        raise ValueError(f"Expected batch_size of at least 2, because a node takes two coalitions, got {batch_size}.")
    if len(tree.order) != game.n_players:
        raise ValueError(f"Expected a tree of the game's {game.n_players} players, got one of {len(tree.order)}. Build it for them.")
