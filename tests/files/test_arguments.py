"""Counts: integers of any library, and nothing else."""

import numpy as np
import pytest
import torch

from captum_pairwise.files.arguments import check_count


@pytest.mark.parametrize("value", [7, np.int64(7), np.uint8(7), torch.tensor(7)])
def test_integers_of_any_library_are_ints(value):
    count = check_count(value, "n_samples", least=7)
    assert type(count) is int and count == 7


@pytest.mark.parametrize("value", [7.0, np.float64(7), True, np.bool_(True), "7", None, float("nan"), torch.tensor(7.0), [7]])
def test_anything_else_is_refused(value):
    with pytest.raises(ValueError, match=r"Expected n_samples to be a whole number, got .* Pass an int\."):
        check_count(value, "n_samples")


@pytest.mark.parametrize("value", [0, -3])
def test_a_count_below_the_limit_is_refused(value):
    assert check_count(value, "n_steps") == value
    with pytest.raises(ValueError, match=f"Expected n_steps to be a whole number of at least 1, got {value}."):
        check_count(value, "n_steps", least=1)
