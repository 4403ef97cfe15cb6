from functools import partial
from statistics import mean

import pytest
import torch
from conftest import opaque, random_game, relu_game, seeded
from formulas import heat_maps, relative_mse

from captum_pairwise.estimators.enumeration import exact
from captum_pairwise.estimators.gaussian.joint_process import gaussian_process
from captum_pairwise.estimators.gaussian.shapley_process import count_least
from captum_pairwise.estimators.heat_maps import divide_budget, estimate_with_maps
from captum_pairwise.estimators.permutation_sampling import count_coalitions, permutation
from captum_pairwise.estimators.regression.kernel_taylor import count_determining, kernel_taylor
from captum_pairwise.games.game import CallableGame
from captum_pairwise.results.credits import get_blocks

CASES = {permutation: (count_coalitions, 0), gaussian_process: (count_least, 0), kernel_taylor: (count_determining, 2)}
estimators = pytest.mark.parametrize("estimator", CASES, ids=lambda estimator: estimator.__name__)


def estimate(estimator, game, n_samples, seed=0):
    count, _ = CASES[estimator]
    limits = {"least": count(game.n_players), "exact_from": 2**game.n_players}
    return estimate_with_maps(game, n_samples, partial(estimator, generator=seeded(seed)), **limits, generator=seeded(seed))


def count_beside(estimator, game):
    """The coalitions that the estimator evaluates beside its budget."""
    return game.n_players + 2 if CASES[estimator][1] else 0


@estimators
@pytest.mark.parametrize("n_samples", [160, 200, 401, 1000])
@pytest.mark.parametrize("kind", [relu_game, random_game])
def test_pairs_and_maps_together_respect_the_budget(estimator, kind, n_samples):
    game = kind(7, 4, 0)
    found = estimate(estimator, game, n_samples)
    per_coalition = 2 if kind is relu_game else 1  # a tower embeds a row of each image
    assert found.n_evaluations.item() == game.n_evaluations <= per_coalition * (n_samples + count_beside(estimator, game))


@estimators
def test_maps_have_honest_errors_and_are_complete(estimator):
    inside, mistakes = [], []
    for seed in range(8):
        game = opaque(relu_game(8, 7, seed))
        truth, found = exact(relu_game(8, 7, seed)).given_other, estimate(estimator, game, 500, seed)
        inside.append(((found.given_other - truth).abs() <= 2 * found.standard_error.given_other).double().mean().item())
        mistakes.append(relative_mse(found.given_other, truth))
        assert torch.cat(found.map_gaps).abs().max() < 1e-9
    assert 0.85 <= mean(inside) <= 0.999
    assert mean(mistakes) < 0.01


@estimators
def test_pairs_are_those_of_the_rest_of_the_budget(estimator):
    game, count = opaque(relu_game(6, 6, 1)), CASES[estimator][0]
    for_maps = divide_budget(game, 300, count(12))
    found, expected = estimate(estimator, game, 300), estimator(game, 300 - sum(for_maps) - 30, generator=seeded(0))  # a tenth is held out
    for name, block in get_blocks(expected).items():
        assert torch.equal(found[name], block)


@estimators
def test_small_budget_is_for_the_pairs_alone(estimator):
    game = opaque(relu_game(6, 6, 1))
    least = CASES[estimator][0](12)
    found, expected = estimate(estimator, game, least), estimator(game, least, generator=seeded(0))
    assert found.given_other is None and found.without_query is None
    assert torch.equal(found.between, expected.between)
    with_maps = estimate(estimator, game, least + 2 * count_least(6))
    assert with_maps.given_other is not None


@estimators
@pytest.mark.parametrize("kind", [relu_game, random_game])
def test_budget_for_all_coalitions_is_exact(estimator, kind):
    game = kind(3, 4, 2)
    found = estimate(estimator, game, 2**7)
    torch.testing.assert_close(found.given_other[0], heat_maps(game), rtol=0, atol=1e-12)
    assert found.standard_error is None


def test_an_estimator_with_a_bias_has_maps_at_any_budget():
    game = random_game(3, 4, 2)
    found = estimate_with_maps(game, 2**8, partial(kernel_taylor, ridge=1.0), least=1, exact_from=None)
    torch.testing.assert_close(found.given_other[0], heat_maps(game), rtol=0, atol=1e-12)
    assert found.n_evaluations <= 2**8 + 9


@pytest.mark.parametrize("sizes", [(0, 4), (4, 0)])
def test_image_without_players_has_no_maps(sizes):
    game = random_game(*sizes, 0)
    assert estimate_with_maps(game, 14, gaussian_process, least=10, exact_from=16).given_other is None


def test_maps_get_a_fifth_of_the_budget_shared_by_players():
    game = CallableGame(30, 10, lambda z: z.sum(1))
    query, retrieved = divide_budget(game, 1000, 100)
    assert 195 <= query + retrieved <= 200  # whole numbers
    assert query - count_least(30) == pytest.approx(3 * (retrieved - count_least(10)), abs=3)
    assert divide_budget(CallableGame(30, 3, lambda z: z.sum(1)), 1000, 100)[1] == 2**3
    assert max(divide_budget(game, 10**6, 100)) == 2048
    assert divide_budget(game, 183, 100) is None and divide_budget(game, 184, 100) == (count_least(30), count_least(10))


def test_a_tenth_of_the_budget_measures_the_prediction():
    game = opaque(relu_game(6, 6, 1))
    found = estimate(gaussian_process, game, 400)
    assert "40 coalitions" in found.r2_law and found.n_evaluations.item() == 400
    truth = exact(opaque(relu_game(6, 6, 1)))
    assert (found.r2 - truth.r2).abs() < 0.3
    assert "40 coalitions" in found.as_index("banzhaf").r2_law
