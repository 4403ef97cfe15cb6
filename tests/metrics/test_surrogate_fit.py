"""Agreement of predicted with true similarities, against loops over coalitions and pairs of coalitions."""

import math

import pytest
import torch
from conftest import assert_refused, random_tensor, seeded
from torch.testing import assert_close

from captum_pairwise import metrics

NAMES = ("r2", "pearson", "spearman", "kendall", "mse")


def slow_pearson(left, right):
    mean_left, mean_right = sum(left) / len(left), sum(right) / len(right)
    common = sum((x - mean_left) * (y - mean_right) for x, y in zip(left, right, strict=True))
    return common / math.sqrt(sum((x - mean_left) ** 2 for x in left) * sum((y - mean_right) ** 2 for y in right))


def slow_ranks(numbers):
    """One plus the number of smaller values, and half of the number of other equal ones."""
    return [1 + sum(y < x for y in numbers) + (sum(y == x for y in numbers) - 1) / 2 for x in numbers]


def slow_kendall(left, right):
    """Kendall's tau-b: concordant minus discordant pairs, over the geometric mean of the pairs that are not tied on either side."""
    pairs = [(i, j) for i in range(len(left)) for j in range(i)]
    signs = [
        (math.copysign(left[i] != left[j], left[i] - left[j]), math.copysign(right[i] != right[j], right[i] - right[j])) for i, j in pairs
    ]
    untied = [sum(abs(pair[side]) for pair in signs) for side in (0, 1)]
    return sum(x * y for x, y in signs) / math.sqrt(untied[0] * untied[1])


def slow_fit(predicted, values):
    mean = sum(values) / len(values)
    squared = sum((v - guess) ** 2 for v, guess in zip(values, predicted, strict=True)) / len(values)
    r2 = 1 - squared / (sum((v - mean) ** 2 for v in values) / len(values))
    ranked = slow_pearson(slow_ranks(predicted), slow_ranks(values))
    return r2, slow_pearson(predicted, values), ranked, slow_kendall(predicted, values), squared


@pytest.mark.parametrize("n_values", [3, 10**6])  # many ties, and none
def test_the_fit_matches_its_formulas(n_values):
    predicted, values = torch.randint(0, n_values, (2, 3, 40), generator=seeded(0)).double()
    fit = metrics.surrogate_faithfulness(predicted, values)
    expected = zip(*map(slow_fit, predicted.tolist(), values.tolist()), strict=True)
    for name, numbers in zip(NAMES, expected, strict=True):
        assert_close(getattr(fit, name), torch.tensor(numbers, dtype=torch.float64))


def test_a_perfect_prediction_and_its_scaled_reverse():
    values = random_tensor(2, 9)
    fit = metrics.surrogate_faithfulness(values, values)
    for name in NAMES:
        assert_close(getattr(fit, name), torch.full((2,), 0.0 if name == "mse" else 1.0, dtype=torch.float64))
    reverse = metrics.surrogate_faithfulness(3 - 2 * values, values)
    for name in ("pearson", "spearman", "kendall"):
        assert_close(getattr(reverse, name), -torch.ones(2, dtype=torch.float64))
    mean = metrics.surrogate_faithfulness(values.mean(1, keepdim=True).expand(-1, 9), values)
    assert_close(mean.r2, torch.zeros(2, dtype=torch.float64))


def test_a_number_that_is_not_defined_is_nan():
    constant, changing = torch.ones(1, 3), torch.tensor([[1.0, 2.0, 3.0]])
    fit = metrics.surrogate_faithfulness(changing, constant)
    assert fit.mse.tolist() == pytest.approx([5 / 3])
    for name in ("r2", "pearson", "spearman", "kendall"):
        assert getattr(fit, name).isnan().all()
    reverse = metrics.surrogate_faithfulness(constant, changing)
    assert reverse.r2.tolist() == pytest.approx([1 - (5 / 3) / (2 / 3)])
    for name in ("pearson", "spearman", "kendall"):
        assert getattr(reverse, name).isnan().all()


def test_small_differences_of_large_float32_similarities_are_kept():
    values = 1 + 2.0**-20 * torch.arange(4, dtype=torch.float32)[None]
    fit = metrics.surrogate_faithfulness(values + 2.0**-21, values)
    assert fit.r2.dtype == torch.float32 and fit.r2.tolist() == pytest.approx([1 - 0.25 / 1.25], rel=1e-6)


CASES = {
    "a vector": (torch.zeros(3), torch.zeros(1, 3), r"predicted \[B, n\], .* got torch.float32 of shape \(3,\). Add a batch axis"),
    "integers": (torch.zeros(1, 3), torch.zeros(1, 3).long(), r"values \[B, n\], .* got torch.int64"),
    "other coalitions": (torch.zeros(1, 3), torch.zeros(1, 4), r"the same two or more coalitions, .* \(1, 3\) and \(1, 4\)"),
    "one coalition": (torch.zeros(2, 1), torch.zeros(2, 1), r"two or more coalitions, .* \(2, 1\)"),
    "NaN": (torch.zeros(2, 3), torch.tensor([[0.0, 1, 2], [0, torch.nan, 2]]), "NaN or infinity in row 1 of values"),
}


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize("name", CASES)
def test_predictions_that_do_not_fit_are_refused(name):
    predicted, values, message = CASES[name]
    assert_refused(lambda: metrics.surrogate_faithfulness(predicted, values), message)
