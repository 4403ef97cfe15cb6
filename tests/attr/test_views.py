"""Deltas against their definition, the sum of all credit minus the gain."""

import torch
from conftest import random_tensor

from captum_pairwise.attr.views import compute_delta
from captum_pairwise.results.interactions import Interactions


def first_order(seed):
    """Credits of two pairs that do not sum to the gain."""
    empty, full = random_tensor(2, 2, seed=seed)
    return Interactions(n_query=3, empty=empty, full=full, n_evaluations=torch.ones(2).long(), marginal=random_tensor(2, 3, seed=seed + 1))


def sum_minus_gain(credits):
    return torch.stack([credits.marginal[pair].sum() - (credits.full[pair] - credits.empty[pair]) for pair in range(2)])


def test_the_delta_of_pairs_is_the_sum_of_all_credit_minus_the_gain():
    torch.testing.assert_close(compute_delta(first_order(0)), sum_minus_gain(first_order(0)))


def test_the_delta_of_first_order_is_that_of_each_image():
    expected = torch.stack([sum_minus_gain(first_order(seed)) for seed in (0, 5)], 1)
    torch.testing.assert_close(compute_delta((first_order(0), first_order(5))), expected)
