from math import comb, isnan, nan, sqrt

import pytest
import torch
from conftest import assert_refused, random_tensor

from captum_pairwise.metrics import compare_pairs


def slow_sign_test(wins, losses):
    """The probability of an outcome at most as likely as this one, if each pair is a fair coin."""
    n = wins + losses
    return sum(comb(n, k) for k in range(n + 1) if comb(n, k) <= comb(n, wins)) / 2**n


@pytest.mark.parametrize("n", [2, 7, 12])
def test_differences_their_error_and_the_sign_test(n):
    values, reference = random_tensor(n, seed=1) + 0.5, random_tensor(n, seed=2)
    found = compare_pairs(values, reference)
    differences = (values - reference).tolist()
    mean = sum(differences) / n
    assert found.mean == pytest.approx(mean, abs=1e-12)
    assert found.error == pytest.approx(sqrt(sum((d - mean) ** 2 for d in differences) / (n - 1) / n), abs=1e-12)
    assert (found.wins, found.losses) == (sum(d > 0 for d in differences), sum(d < 0 for d in differences))
    assert found.p_value == pytest.approx(slow_sign_test(found.wins, found.losses), abs=1e-12)


def test_pairs_without_both_numbers_and_ties_do_not_count():
    found = compare_pairs(torch.tensor([1.0, nan, 3.0, 2.0]), torch.tensor([1.0, 1.0, nan, 1.0]))
    assert (found.mean, found.wins, found.losses, found.p_value) == (0.5, 1, 0, 1.0)
    alone = compare_pairs(torch.tensor([nan]), torch.tensor([1.0]))
    assert isnan(alone.mean) and isnan(alone.error) and alone.p_value == 1.0


@pytest.mark.usefixtures("without_type_checks")
def test_wrong_arguments_are_refused():
    assert_refused(lambda: compare_pairs(random_tensor(2, 2), random_tensor(2)), "values to be a floating-point vector")
    assert_refused(lambda: compare_pairs(random_tensor(2), [1.0, 2.0]), "reference to be a floating-point vector")
    assert_refused(lambda: compare_pairs(random_tensor(2), random_tensor(3)), "got 2 and 3. Write NaN")
