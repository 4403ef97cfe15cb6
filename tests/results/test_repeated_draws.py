"""The mean of several results, and its standard error, one number at a time."""

import pytest
import torch
from conftest import random_tensor
from torch.testing import assert_close

from captum_pairwise.results.credits import Credits
from captum_pairwise.results.interactions import ENDS, Interactions
from captum_pairwise.results.repeated_draws import average_interactions

N_DRAWS = 3


def draw_once(seed: int, has_errors: bool) -> Interactions:
    """Random credits of a batch of two pairs with 2 + 1 players."""
    ends = dict(zip(ENDS, random_tensor(4, 2, seed=seed), strict=True))
    blocks = {"marginal": random_tensor(2, 3, seed=seed + 1), "between": random_tensor(2, 2, 1, seed=seed + 2)}
    blocks["given_other"] = random_tensor(2, 3, seed=seed + 3)
    errors = Credits(**{name: block.abs() for name, block in blocks.items()}) if has_errors else None
    n_evaluations = torch.tensor([seed, 10 * seed])
    return Interactions(n_query=2, n_evaluations=n_evaluations, **ends, standard_error=errors, **blocks)


@pytest.mark.parametrize("has_errors", [False, True])
def test_the_standard_error_has_the_spread_of_the_draws_and_the_errors_of_the_estimator(has_errors):
    draws = [draw_once(seed, has_errors) for seed in (1, 4, 8)]
    found = average_interactions(draws)
    for name in ("marginal", "between", "given_other"):
        values = [draw[name] for draw in draws]
        mean = sum(values) / N_DRAWS
        square = sum((value - mean) ** 2 for value in values) / (N_DRAWS - 1) / N_DRAWS
        if has_errors:
            square = square + sum(draw.standard_error[name] ** 2 for draw in draws) / N_DRAWS
        assert_close(found[name], mean)
        assert_close(found.standard_error[name], square.sqrt())


def test_values_are_averaged_and_evaluations_are_summed():
    draws = [draw_once(seed, False) for seed in (1, 4, 8)]
    found = average_interactions(draws)
    for name in ENDS:
        assert_close(getattr(found, name), sum(getattr(draw, name) for draw in draws) / N_DRAWS)
    assert found.n_evaluations.tolist() == [1 + 4 + 8, 10 * (1 + 4 + 8)]
