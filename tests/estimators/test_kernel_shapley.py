from statistics import median

import numpy as np
import pytest
import torch
from conftest import opaque, random_game, random_tensor, relu_game, seeded
from formulas import least_squares_of_sum, relative_mse, shapley_values, value_function

from captum_pairwise.estimators import coalitions
from captum_pairwise.estimators.regression import kernel_shapley as kernel_module
from captum_pairwise.estimators.regression.kernel_shapley import SIZE_PRIOR, _sandwich_error, kernel_shapley
from captum_pairwise.estimators.regression.least_squares import sum_constrained
from captum_pairwise.estimators.regression.sampling import SHAPLEY_SAMPLERS, distinct_halves, paper_direct, shapley_law
from captum_pairwise.games.game import CallableGame, make_one_image_games

SAMPLINGS = ["distinct", "paper-direct"]


def one_image(n_players, seed):
    """Cosine similarity between a masked and a complete image, by a random tower."""
    return make_one_image_games(opaque(relu_game(n_players, 3, seed)))[0]


def size_game(n_players, seed):
    """A game whose value depends mostly on the number of present players."""
    game = random_game(0, n_players, seed)
    return CallableGame(0, n_players, lambda z: 0.05 * game.values(z) + (z.sum(1) / n_players).double() ** 4)


def exact_values(game):
    return coalitions.shapley_values(game.values(coalitions.all_coalitions(game.n_players)))


def regression_rows(game, drawn):
    """For each coalition its members, its weight, and `v(S) - v(∅)`, one evaluation at a time."""
    value = value_function(game)
    for coalition, weight in zip(drawn.coalitions, drawn.weights.tolist(), strict=True):
        members = coalition.nonzero()[:, 0].tolist()
        yield members, weight, value(members) - value([])


def slow_fit(game, rows, n_sizes=0, prior=()):
    """Weighted least squares with the efficiency constraint, row by row. Unknowns after the players have a prior and no constraint."""
    n_players, value = game.n_players, value_function(game)
    normal = torch.diag(torch.tensor([0.0] * n_players + list(prior), dtype=torch.float64))
    moment = torch.zeros(n_players + n_sizes, dtype=torch.float64)
    for marked, weight, left in rows:
        row = torch.zeros(n_players + n_sizes, dtype=torch.float64)
        row[marked] = 1
        normal += weight * torch.outer(row, row)
        moment += weight * left * row
    players = torch.tensor([1.0] * n_players + [0.0] * n_sizes, dtype=torch.float64)
    return least_squares_of_sum(normal, moment, players, value(range(n_players)) - value([]))[:n_players]


@pytest.mark.parametrize("n_players", [1, 2, 3, 4, 7, 8])
def test_all_coalitions_give_the_shapley_values(n_players):
    game = random_game(0, n_players, seed=n_players)
    found = kernel_shapley(game, max(1, 2**n_players - 2))
    torch.testing.assert_close(found.marginal[0], shapley_values(game), rtol=0, atol=1e-12)
    assert (found.standard_error.marginal == 0).all() and found.n_evaluations.item() == 2**n_players


@pytest.mark.parametrize("make", [one_image, size_game])
@pytest.mark.parametrize("n_players", [3, 8])
def test_all_coalitions_match_shaps_kernel_explainer(n_players, make):
    shap = pytest.importorskip("shap", reason="an outside implementation: pip install 'captum-pairwise[oracles]'")
    game = make(n_players, seed=3)
    explainer = shap.KernelExplainer(lambda z: game.values(torch.from_numpy(z > 0.5)).numpy(), np.zeros((1, n_players)))
    expected = explainer.shap_values(np.ones(n_players), nsamples=5000, l1_reg=0, silent=True)  # all coalitions, without feature selection
    found = kernel_shapley(game, 5000).marginal[0]
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=0, atol=1e-12)


def test_float32_error_is_below_a_millionth():
    game = random_game(0, 8, seed=1)
    single = CallableGame(0, 8, lambda z: game.values(z).float())
    found = kernel_shapley(single, 2**8).marginal
    assert found.dtype == torch.float32
    torch.testing.assert_close(found[0].double(), shapley_values(game), rtol=0, atol=1e-6)


def test_paper_direct_is_the_regression_on_its_sample(monkeypatch):
    game, drawn = random_game(0, 6, seed=2), paper_direct(shapley_law(6), 40, seeded(0))
    monkeypatch.setitem(SHAPLEY_SAMPLERS, "paper-direct", lambda *_: drawn)
    found = kernel_shapley(game, 40, sampling="paper-direct").marginal[0]
    torch.testing.assert_close(found, slow_fit(game, regression_rows(game, drawn)), rtol=0, atol=1e-10)


def test_halved_sample_is_the_regression_on_coalitions_and_complements(monkeypatch):
    """Without the unknowns of the sizes, half the difference of a pair of rows is equivalent to both rows."""
    game, drawn = random_game(0, 7, seed=3), distinct_halves(shapley_law(7), 50, seeded(0))
    monkeypatch.setattr(kernel_module, "SIZE_PRIOR", 1e12)
    value, rows = value_function(game), []
    for members, weight, left in regression_rows(game, drawn):
        others = sorted(set(range(7)) - set(members))
        rows += [(members, weight, left), (others, weight, value(others) - value([]))]
    torch.testing.assert_close(kernel_shapley(game, 50).marginal[0], slow_fit(game, rows), rtol=0, atol=1e-9)


@pytest.mark.parametrize("n_players", [6, 7])
def test_size_unknowns_have_a_prior_of_a_tenth_of_a_coalition(n_players):
    game, drawn = random_game(0, n_players, seed=4), distinct_halves(shapley_law(n_players), 26, seeded(0))
    value, sizes, rows, prior = value_function(game), n_players // 2 + 1, [], [1.0] * (n_players // 2 + 1)
    for members, weight, left in regression_rows(game, drawn):
        others, everybody = set(range(n_players)) - set(members), range(n_players)
        of_size = [n_players + len(members)] if 2 * len(members) != n_players else []
        prior[len(members)] = SIZE_PRIOR * weight
        rows.append((members + of_size, weight, (left + value(everybody) - value(others)) / 2))
    found = kernel_shapley(game, 26).marginal[0]
    torch.testing.assert_close(found, slow_fit(game, rows, sizes, prior), rtol=0, atol=1e-9)


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("n_samples", [30, 100, 600])
def test_credit_is_complete_at_any_budget(sampling, n_samples):
    game = random_game(5, 5, seed=0)
    found = kernel_shapley(game, n_samples, sampling=sampling)
    ends = game.values(torch.tensor([[False], [True]]).expand(2, 10))
    assert found.completeness_gap.item() == pytest.approx(0, abs=1e-12)
    assert torch.equal(torch.cat([found.empty, found.full]), ends)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_additive_game_is_exact_at_any_sufficient_budget(sampling):
    credit = random_tensor(12)
    found = kernel_shapley(CallableGame(12, 0, lambda z: 3 + z.double() @ credit), 40, sampling=sampling)
    torch.testing.assert_close(found.marginal[0], credit, rtol=0, atol=1e-9)


def test_dummy_has_zero_credit_and_twins_have_equal_credit():
    game = random_game(3, 3, seed=5)
    with_dummy = kernel_shapley(CallableGame(3, 4, lambda z: game.values(z[:, :6])), 2**7).marginal[0]
    assert with_dummy[6].abs() < 1e-12
    twins = CallableGame(3, 4, lambda z: game.values(torch.cat([z[:, :5], z[:, 5:6] & z[:, 6:7]], 1)))
    found = kernel_shapley(twins, 2**7).marginal[0]
    assert (found[5] - found[6]).abs() < 1e-12 < found[5].abs()


@pytest.mark.parametrize("make", [one_image, size_game])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_it_converges(sampling, make):
    errors = []
    for seed in range(8):
        game = make(10, seed)
        truth, generator = exact_values(game), seeded(seed)
        found = [kernel_shapley(game, n, sampling=sampling, generator=generator).marginal[0] for n in (60, 600)]
        errors.append([relative_mse(one, truth) for one in found])
    few, many = torch.tensor(errors).median(0).values
    assert many < few / 4


@pytest.mark.parametrize("make", [one_image, size_game])
@pytest.mark.parametrize("n_samples", [60, 200, 600])
def test_distinct_pairs_beat_repeated_draws(make, n_samples):
    ratios = []
    for seed in range(8):
        game = make(11, seed)
        errors = [relative_mse(kernel_shapley(game, n_samples, sampling=one).marginal[0], exact_values(game)) for one in SAMPLINGS]
        ratios.append(errors[0] / errors[1])
    assert median(ratios) < 0.6


@pytest.mark.slow
@pytest.mark.parametrize(("n_players", "n_samples"), [(12, 60), (12, 300), (12, 1500), (9, 400)])
def test_two_standard_errors_cover_about_95_percent(n_players, n_samples):
    scores = []
    for seed in range(60):
        game = one_image(n_players, seed)
        found = kernel_shapley(game, n_samples, generator=seeded(seed))
        scores.append((found.marginal - exact_values(game)) / found.standard_error.marginal)
    inside = (torch.cat(scores).abs() < 2).double()
    of_a_game = inside.mean(1)  # errors of the players of one game are correlated
    assert abs(of_a_game.mean() - 0.95) < 0.02 + 2 * of_a_game.std() / len(of_a_game) ** 0.5
    assert 0.85 < torch.cat(scores).square().mean().sqrt() < 1.25


def test_fit_with_as_many_rows_as_unknowns_has_infinite_errors():
    assert kernel_shapley(random_game(0, 12, seed=3), 22).standard_error.marginal.isinf().all()


@pytest.mark.parametrize(("sampling", "needed"), [("distinct", 22), ("paper-direct", 11)])
@pytest.mark.parametrize("n_samples", [1, 8])
def test_too_few_coalitions_are_refused_without_a_ridge(sampling, needed, n_samples):
    game = random_game(6, 6, seed=0)
    with pytest.raises(ValueError, match=rf"Shapley values of 12 players, but {n_samples} do not.* well above {needed}"):
        kernel_shapley(game, n_samples, sampling=sampling)
    assert game.n_evaluations == 0
    found = kernel_shapley(game, n_samples, sampling=sampling, ridge=1e-3)
    assert found.marginal.isfinite().all() and found.completeness_gap.abs().item() < 1e-9 and found.standard_error is None


def test_invalid_sampling_is_refused():
    game = random_game(6, 6, seed=0)
    with pytest.raises(ValueError, match=r"one of .*'distinct'.* got 'uniform'"):
        kernel_shapley(game, 200, sampling="uniform")
    for sampling in SAMPLINGS:
        with pytest.raises(ValueError, match="n_samples of at least 1, got 0"):
            kernel_shapley(game, 0, sampling=sampling, ridge=1.0)


def test_coalitions_that_do_not_determine_the_values_are_refused(monkeypatch):
    drawn = distinct_halves(shapley_law(4), 2, seeded(0))
    monkeypatch.setitem(SHAPLEY_SAMPLERS, "distinct", lambda *_: drawn)
    with pytest.raises(ValueError, match="Shapley values of 4 players, but 100 do not"):
        kernel_shapley(random_game(2, 2, seed=0), 100)


def test_budget_is_respected_and_the_result_depends_on_the_generator():
    game = random_game(5, 5, seed=0)
    first, same, other = (kernel_shapley(game, 201, generator=seeded(seed)) for seed in (0, 0, 1))
    assert first.n_evaluations.item() == 200 + 2 and game.n_evaluations == 3 * 202
    assert torch.equal(first.marginal, same.marginal) and not torch.equal(first.marginal, other.marginal)


def test_sandwich_leaves_out_one_row_at_a_time():
    """Each row's error is that of the fit without it, and its influence the change of the values by its target."""
    design, targets, total = random_tensor(9, 4), random_tensor(9, seed=1), 0.7
    weights, unseen = (torch.rand(2, 9, generator=seeded(2), dtype=torch.float64) + 0.1).unbind()

    def solve(rows, targets):
        weighted = weights[rows, None] * design[rows]
        return least_squares_of_sum(weighted.T @ design[rows], weighted.T @ targets[rows], torch.ones(4).double(), total)

    everything, square = list(range(9)), torch.zeros(4, dtype=torch.float64)
    values = solve(everything, targets)
    for row in everything:
        others = [other for other in everything if other != row]
        error = targets[row] - design[row] @ solve(others, targets)
        influence = solve(everything, targets + torch.eye(9).double()[row]) - values
        square += unseen[row] * (influence * error).square()
    weighted = weights[:, None] * design
    fit = sum_constrained(weighted.T @ design, None, "")
    found = _sandwich_error(fit, design, weighted, targets - design @ values, unseen)
    torch.testing.assert_close(found, square.sqrt(), rtol=1e-9, atol=0)
