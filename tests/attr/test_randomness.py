"""Explanations of an encoder that draws at random are averaged, all others are made once."""

from collections.abc import Iterator
from itertools import count

import pytest
import torch
from conftest import tiny_encoder

import captum_pairwise as cp
from captum_pairwise.attr.randomness import N_DRAWS, average_draws
from captum_pairwise.results.interactions import Interactions


def explain(numbers: Iterator[int]) -> Interactions:
    """The next number as the credit of a single player."""
    ends = {"empty": torch.zeros(1), "full": torch.ones(1), "n_evaluations": torch.tensor([2])}
    return Interactions(n_query=1, marginal=torch.tensor([[float(next(numbers))]]), **ends)


def test_a_deterministic_encoder_is_explained_once():
    numbers = count()
    found = average_draws(cp.SimilarityWrapper(tiny_encoder()), lambda: explain(numbers))
    assert next(numbers) == 1 and found.standard_error is None


@pytest.mark.parametrize("order", [1, 2])
def test_a_stochastic_encoder_is_explained_several_times(order):
    model, numbers = cp.SimilarityWrapper(tiny_encoder(), stochastic=True), count()
    found = average_draws(model, lambda: explain(numbers) if order == 2 else (explain(numbers), explain(numbers)))
    assert next(numbers) == N_DRAWS * (1 if order == 2 else 2)
    means = [(N_DRAWS - 1) / 2] if order == 2 else [N_DRAWS - 1, N_DRAWS]  # of 0, 1, 2, …; or of 0, 2, … and of 1, 3, …
    assert [result.marginal.item() for result in (found if order == 1 else (found,))] == means
