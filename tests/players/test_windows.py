import pytest
import torch
from conftest import boxes, random_tensor

from captum_pairwise.players.windows import height_and_width, sliding_windows

CASES = [(12, 12, (5, 5), (2, 2)), (7, 10, (3, 4), (2, 3)), (6, 5, (20, 20), (3, 3)), (9, 8, (1, 2), (4, 5)), (3, 3, (1, 1), (1, 1))]
every_case = pytest.mark.parametrize("case", CASES)


def test_windows_of_the_paper():
    windows = sliding_windows(224, 224, (20, 20), (3, 3))
    assert windows.n_windows == 5625 and windows.size == (224, 224)
    # the overhang is 9 pixels on each side
    assert windows.rows[0].nonzero()[:, 0].tolist() == list(range(11)) and windows.rows[-1].nonzero()[:, 0].tolist() == list(
        range(213, 224)
    )


@every_case
def test_sums_over_windows_and_over_their_pixels(case):
    windows, masks = sliding_windows(*case), boxes(*case)
    weights, signal = random_tensor(2, windows.n_windows, seed=1), random_tensor(2, *case[:2], seed=2)
    torch.testing.assert_close(windows.deposit(weights), torch.einsum("bk,khw->bhw", weights, masks), rtol=0, atol=1e-12)
    torch.testing.assert_close(windows.collect(signal), torch.einsum("bhw,khw->bk", signal, masks), rtol=0, atol=1e-12)


@every_case
def test_occlusion_removes_the_pixels_of_its_window(case):
    windows = sliding_windows(*case)
    assert torch.equal(windows.presence(windows.occlusions().double())[:, 0], 1 - boxes(*case))
    assert torch.equal(windows.presence(torch.ones(1, windows.n_bands))[0, 0], torch.ones(case[:2]))


def test_pixels_of_all_windows_are_absent_without_bands():
    windows = sliding_windows(9, 8, (1, 2), (4, 5))
    covered = boxes(9, 8, (1, 2), (4, 5)).sum(0) > 0
    assert torch.equal(windows.presence(torch.zeros(1, windows.n_bands))[0, 0] == 0, covered) and not covered.all()


@pytest.mark.parametrize(("value", "pair"), [(3, (3, 3)), ((2, 5), (2, 5))])
def test_an_int_is_a_square(value, pair):
    assert height_and_width(value, "strides") == pair


@pytest.mark.parametrize("value", [0, -3, (2, 0), (1, 2, 3), [2, 2], 2.0, None])
def test_invalid_sizes_are_refused(value):
    with pytest.raises(ValueError, match=r"Expected strides to be a number of pixels of at least 1, or \(height, width\), got "):
        height_and_width(value, "strides")
