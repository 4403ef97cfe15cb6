import pytest
import torch
from conftest import assert_refused, random_tensor, seeded

from captum_pairwise.metrics import pointing_recognition


def slow_recognition(maps, labels):
    """Pixel by pixel, as the formula says."""
    right = wrong = 0.0
    for t, heat_map in enumerate(maps.tolist()):
        for row, values in enumerate(heat_map):
            for column, value in enumerate(values):
                if (labels[row, column].item() == t) == (value > 0):
                    right += abs(value)
                else:
                    wrong += abs(value)
    return right / (right + wrong)


@pytest.mark.parametrize("seed", range(4))
def test_recognition_is_the_share_of_right_credit(seed):
    maps = random_tensor(3, 5, 4, seed=seed)
    labels = torch.randint(-1, 3, (5, 4), generator=seeded(seed))
    assert pointing_recognition(maps, labels).item() == pytest.approx(slow_recognition(maps, labels), abs=1e-12)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_one_map_for_all_parts_has_one_over_n(n):
    labels = torch.arange(4).reshape(2, 2).repeat_interleave(3, 0).repeat_interleave(3, 1) % n
    same = random_tensor(1, 6, 6).abs().expand(n, 6, 6)
    assert pointing_recognition(same, labels).item() == pytest.approx(1 / n, abs=1e-12)


def test_perfect_maps_have_1_and_reversed_ones_0():
    labels = torch.tensor([[0, 0, 1], [-1, 1, 1]])
    inside = (labels == torch.arange(2)[:, None, None]).double()
    maps = inside - 0.5 * (1 - inside)
    assert pointing_recognition(maps, labels) == 1 and pointing_recognition(-maps, labels) == 0
    assert pointing_recognition(torch.zeros_like(maps), labels).isnan()


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("maps", "labels", "message"),
    [
        (random_tensor(3, 4), torch.zeros(3, 4).long(), r"maps \[T, H, W\].*Stack"),
        (random_tensor(2, 3, 4) / 0, torch.zeros(3, 4).long(), "NaN or infinity"),
        (random_tensor(2, 3, 4), torch.zeros(3, 4), r"labels \[3, 4\] of integers.*Write -1"),
        (random_tensor(2, 3, 4), torch.zeros(4, 3).long(), r"labels \[3, 4\]"),
        (random_tensor(2, 3, 4), torch.full((3, 4), 2), "labels from -1 to 1, got 2 to 2"),
    ],
)
def test_wrong_arguments_are_refused(maps, labels, message):
    assert_refused(lambda: pointing_recognition(maps, labels), message)
