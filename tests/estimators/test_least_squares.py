"""Least squares with a fixed sum, compared with the Lagrange equations."""

import pytest
import torch
from conftest import random_tensor
from formulas import least_squares_of_sum

from captum_pairwise.estimators.regression.least_squares import sum_constrained


def normal_and_moments(rows, unknowns):
    design, target = random_tensor(rows, unknowns), random_tensor(rows, 2, seed=1)
    return design.T @ design, design.T @ target


@pytest.mark.parametrize("total", [0.0, -3.0])
def test_solution_is_the_constrained_minimum(total):
    normal, moments = normal_and_moments(20, 6)
    found = sum_constrained(normal.clone(), None, "").solve(moments, total)
    torch.testing.assert_close(found.sum(0), torch.full((2,), total).double(), rtol=0, atol=1e-12)
    for column in range(2):
        expected = least_squares_of_sum(normal, moments[:, column], torch.ones(6).double(), total)
        torch.testing.assert_close(found[:, column], expected, rtol=0, atol=1e-10)


def test_sum_determines_one_direction():
    normal, moments = normal_and_moments(5, 6)
    expected = least_squares_of_sum(normal, moments[:, 0], torch.ones(6).double(), 1.0)
    torch.testing.assert_close(sum_constrained(normal.clone(), None, "").solve(moments, 1.0)[:, 0], expected, rtol=0, atol=1e-8)
    for rows in (0, 4):
        with pytest.raises(ValueError, match="too few"):
            sum_constrained(normal_and_moments(rows, 6)[0], None, "too few")


def test_only_the_lower_triangle_is_read():
    normal, moments = normal_and_moments(20, 6)
    whole = sum_constrained(normal.clone(), None, "").solve(moments, 1.0)
    torch.testing.assert_close(sum_constrained(normal.tril(), None, "").solve(moments, 1.0), whole, rtol=0, atol=1e-12)


def test_a_single_unknown_needs_no_row():
    assert sum_constrained(torch.zeros(1, 1).double(), None, "").solve(torch.zeros(1, 1).double(), 5.0).item() == 5


def test_ridge_is_added_to_the_diagonal_in_units_of_its_mean():
    normal, moments = normal_and_moments(3, 6)
    found = sum_constrained(normal.clone(), 0.1, "").solve(moments, 2.0)[:, 0]
    ridged = normal + 0.1 * normal.diagonal().mean() * torch.eye(6).double()
    torch.testing.assert_close(found, least_squares_of_sum(ridged, moments[:, 0], torch.ones(6).double(), 2.0), rtol=0, atol=1e-9)
