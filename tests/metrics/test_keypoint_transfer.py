import pytest
import torch
from conftest import assert_refused, random_tensor, seeded

from captum_pairwise.metrics import correct_keypoints

TARGETS = torch.tensor([[0.0, 0.0], [1.0, 2.0]])


def slow_check(heat_map, target, alpha):
    """The distance of the mean of the largest pixels."""
    height, width = heat_map.shape
    places = [(r, c) for r in range(height) for c in range(width) if heat_map[r, c] == heat_map.max()]
    row, column = (sum(place[axis] for place in places) / len(places) for axis in (0, 1))
    return ((row - target[0]) ** 2 + (column - target[1]) ** 2) ** 0.5 <= alpha * max(height, width)


@pytest.mark.parametrize("alpha", [0.1, 0.3, 0.6])
@pytest.mark.parametrize("seed", range(3))
def test_a_point_is_right_within_a_share_of_the_larger_side(alpha, seed):
    maps = torch.randint(0, 4, (6, 5, 8), generator=seeded(seed)).double()  # with equal largest values
    targets = torch.rand(6, 2, generator=seeded(seed)).double() * torch.tensor([4.0, 7.0])
    expected = [slow_check(heat_map, target.tolist(), alpha) for heat_map, target in zip(maps, targets, strict=True)]
    assert correct_keypoints(maps, targets, alpha).tolist() == expected


def test_the_distance_may_be_equal_to_the_limit():
    maps = torch.zeros(2, 4, 10)
    maps[:, 1, 3] = 1.0
    assert correct_keypoints(maps, torch.tensor([[1.0, 4.0], [1.0, 4.5]]), alpha=0.1).tolist() == [True, False]


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("maps", "targets", "alpha", "message"),
    [
        (random_tensor(3, 4), TARGETS, 0.1, r"maps \[K, H, W\]"),
        (random_tensor(3, 3, 4), TARGETS, 0.1, r"targets \[3, 2\]"),
        (random_tensor(2, 3, 4), TARGETS.long(), 0.1, r"targets \[2, 2\]"),
        (random_tensor(2, 3, 4), TARGETS / 0, 0.1, "NaN or infinity"),
        (random_tensor(2, 3, 4), TARGETS, 0, "alpha above 0, got 0"),
    ],
)
def test_wrong_arguments_are_refused(maps, targets, alpha, message):
    assert_refused(lambda: correct_keypoints(maps, targets, alpha), message)
