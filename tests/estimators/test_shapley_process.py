from statistics import mean

import pytest
import torch
from conftest import opaque, random_game, relu_game, seeded
from formulas import relative_mse, shapley_values

from captum_pairwise.estimators.enumeration import exact
from captum_pairwise.estimators.gaussian.shapley_process import process_shapley
from captum_pairwise.estimators.regression.kernel_shapley import kernel_shapley
from captum_pairwise.games.game import CallableGame, make_one_image_games


def image_game(n_players, seed):
    """The game of one image with another one whole."""
    return make_one_image_games(opaque(relu_game(n_players, 2, seed)))[0]


def test_budget_for_all_coalitions_is_exact():
    game = random_game(4, 3, seed=0)
    found = process_shapley(game, 2**7)
    torch.testing.assert_close(found.marginal[0], shapley_values(game), rtol=0, atol=1e-12)
    assert not found.standard_error.marginal.any()


@pytest.mark.parametrize("n_samples", [18, 20, 60])
def test_budget_is_used_and_credit_is_complete(n_samples):
    game, rows = image_game(8, 0), []
    watched = CallableGame(8, 0, lambda z: rows.append(z) or game.values(z))
    found = process_shapley(watched, n_samples)
    assert len(torch.cat(rows).unique(dim=0)) == found.n_evaluations.item() == n_samples
    assert found.completeness_gap.abs() < 1e-12
    assert found.full == game.values(torch.ones(1, 8)) and found.empty == game.values(torch.zeros(1, 8))


def test_two_standard_errors_cover_the_truth():
    inside = []
    for seed in range(12):
        truth, found = exact(relu_game(8, 2, seed)).query_map, process_shapley(image_game(8, seed), 40, generator=seeded(seed))
        inside.append(((found.marginal - truth).abs() <= 2 * found.standard_error.marginal).double().mean().item())
    assert 0.88 <= mean(inside) <= 0.995


def test_few_coalitions_tell_more_than_to_the_kernel_regression():
    errors = {process_shapley: [], kernel_shapley: []}
    for seed in range(12):
        truth = exact(relu_game(12, 2, seed)).query_map
        for (estimator, mistakes), n_samples in zip(errors.items(), (48, 46), strict=True):  # the kernel has the ends beside its budget
            mistakes.append(relative_mse(estimator(image_game(12, seed), n_samples, generator=seeded(seed)).marginal, truth))
    assert mean(errors[process_shapley]) < mean(errors[kernel_shapley])


def test_result_depends_on_the_generator():
    first, same, other = (process_shapley(image_game(8, 0), 40, generator=seeded(seed)).marginal for seed in (0, 0, 1))
    assert torch.equal(first, same) and not torch.equal(first, other)
    assert torch.equal(first, process_shapley(image_game(8, 0), 40).marginal)


def test_too_small_budget_is_refused():
    with pytest.raises(ValueError, match="Expected n_samples of at least 18 for 8 players"):
        process_shapley(image_game(8, 0), 17)
