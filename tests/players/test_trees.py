import pytest
import torch
from conftest import random_tensor
from torch import Tensor

from captum_pairwise.players.trees import PartitionTree, bisection_tree

SIZES = [(1, 1), (1, 2), (4, 4), (5, 3), (3, 5), (7, 6), (6, 7), (9, 1), (1, 5), (5, 5), (11, 13)]


def pixels(height: int, width: int) -> Tensor:
    return torch.cartesian_prod(torch.arange(height), torch.arange(width)).double()


def nodes(tree: PartitionTree, low: int = 0, high: int | None = None) -> set[frozenset[int]]:
    """The players of every node."""
    high = len(tree.order) if high is None else high
    found = {frozenset(tree.order[low:high].tolist())}
    if high - low > 1:
        middle = tree.middle(low, high)
        assert low < middle < high
        found |= nodes(tree, low, middle) | nodes(tree, middle, high)
    return found


def bisected_boxes(rows: range, columns: range, width: int) -> set[frozenset[int]]:
    """The pixels of a box and of all boxes that it is split into: along the rows unless it is wider, with the odd row in the first half."""
    found = {frozenset(row * width + column for row in rows for column in columns)}
    if len(rows) * len(columns) > 1:
        if len(rows) >= len(columns):
            half = (len(rows) + 1) // 2
            parts = ((rows[:half], columns), (rows[half:], columns))
        else:
            half = (len(columns) + 1) // 2
            parts = ((rows, columns[:half]), (rows, columns[half:]))
        for part in parts:
            found |= bisected_boxes(*part, width)
    return found


@pytest.mark.parametrize("size", SIZES)
def test_pixels_are_bisected_as_boxes(size):
    height, width = size
    assert nodes(bisection_tree(pixels(height, width))) == bisected_boxes(range(height), range(width), width)


@pytest.mark.parametrize("size", SIZES[1:])
def test_tree_matches_shap(size):
    shap = pytest.importorskip("shap", reason="an outside implementation to compare with: pip install 'captum-pairwise[oracles]'")
    from shap.utils import make_masks  # shap is optional

    members = make_masks(shap.maskers.Image(0, (*size, 1)).clustering)
    assert nodes(bisection_tree(pixels(*size))) == {frozenset(members[k].indices.tolist()) for k in range(members.shape[0])}


@pytest.mark.parametrize("n_players", [1, 2, 3, 7, 40])
@pytest.mark.parametrize("n_axes", [1, 2])
def test_every_node_is_split_at_the_middle_of_its_longest_side(n_players, n_axes):
    places = random_tensor(n_players, n_axes, seed=n_players)
    tree = bisection_tree(places)
    assert sorted(tree.order.tolist()) == list(range(n_players)) and len(nodes(tree)) == 2 * n_players - 1
    for node in (sorted(node) for node in nodes(tree) if len(node) > 1):
        box = places[node]
        axis = (box.max(0).values - box.min(0).values).argmax()
        is_first = box[:, axis] <= (box[:, axis].max() + box[:, axis].min()) / 2
        for half in (is_first, ~is_first):
            assert frozenset(torch.tensor(node)[half].tolist()) in nodes(tree)


def test_tree_is_independent_of_scale_and_origin():
    places = random_tensor(20, 2)
    for other in (8 * places, places + 16):
        assert nodes(bisection_tree(other)) == nodes(bisection_tree(places))


def test_players_at_the_same_position_are_split_by_number():
    assert nodes(bisection_tree(torch.zeros(5, 2))) == nodes(bisection_tree(torch.arange(5.0)[:, None]))
    apart = torch.tensor([[0.0, 3.0], [1.0, 0.0], [0.0, 3.0], [0.0, 3.0]])
    assert nodes(bisection_tree(apart)) == {frozenset(node) for node in ({0, 1, 2, 3}, {1}, {0, 2, 3}, {0, 2}, {0}, {2}, {3})}


def test_neighbouring_floats_are_split():
    least = torch.tensor(1.0, dtype=torch.float64)
    places = torch.stack([least, torch.nextafter(least, least + 1)])[:, None]
    for pair in (places, places.flip(0), 1 + places - least):
        assert nodes(bisection_tree(pair)) == {frozenset({0, 1}), frozenset({0}), frozenset({1})}
