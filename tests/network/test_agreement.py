"""Outputs that differ by rounding are equal, and all others are not."""

import pytest
import torch

from captum_pairwise.network.agreement import is_close, is_roughly_close

OUTPUT = torch.tensor([[1.0, -200.0, 0.0]], dtype=torch.float64)
NAN = torch.tensor([[1.0, torch.nan, torch.inf]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("share", "close", "roughly"), [(1e-9, True, True), (1e-6, False, True), (0.008, False, True), (0.06, False, False)]
)
def test_the_difference_is_relative_to_the_largest_value(share, close, roughly):
    other = OUTPUT + torch.tensor([[0.0, 0.0, 200.0 * share]], dtype=torch.float64)
    assert is_close(other, OUTPUT) is close and is_roughly_close(other, OUTPUT) is roughly


def test_nan_and_infinity_are_equal_to_themselves_alone():
    assert is_close(NAN, NAN.clone())
    assert not is_close(NAN, OUTPUT) and not is_close(OUTPUT, NAN) and not is_close(NAN, NAN.flip(1))


@pytest.mark.parametrize("other", [None, "text", OUTPUT[0], OUTPUT[:, :2]], ids=["none", "text", "fewer axes", "fewer numbers"])
def test_outputs_of_another_kind_or_shape_differ(other):
    assert not is_close(other, OUTPUT) and not is_close(OUTPUT, other)


def test_whole_numbers_are_equal_to_the_last_one():
    numbers = torch.tensor([10**9, 1])
    assert is_close(numbers, numbers.clone()) and not is_roughly_close(numbers + 1, numbers)
