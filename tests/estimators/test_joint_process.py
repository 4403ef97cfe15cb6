from statistics import mean

import pytest
import torch
from conftest import opaque, random_game, relu_game, seeded, tabulated
from formulas import index_pairs, relative_mse, taylor_pairs

from captum_pairwise.estimators.coalitions import all_coalitions, interaction_index, shapley_values
from captum_pairwise.estimators.enumeration import exact
from captum_pairwise.estimators.gaussian.joint_process import gaussian_process
from captum_pairwise.estimators.gaussian.process import fit_process
from captum_pairwise.estimators.regression.kernel_taylor import kernel_taylor
from captum_pairwise.games.game import CallableGame
from captum_pairwise.results.index import NAMES, parse_index

INDICES = [parse_index(name, 0.3) for name in NAMES]
indices = pytest.mark.parametrize("index", INDICES, ids=str)


def test_budget_for_all_coalitions_is_exact():
    found = gaussian_process(random_game(4, 3, seed=0), 2**7)
    torch.testing.assert_close(found.second_order[0], taylor_pairs(random_game(4, 3, seed=0)), rtol=0, atol=1e-12)


@indices
def test_estimate_is_the_index_of_the_posterior_mean(index):
    """The closed form, compared with enumeration of the posterior mean."""
    game, n_players = opaque(relu_game(4, 3, seed=1)), 7
    rows = []
    values = game._function
    game._function = lambda z: rows.append(z) or values(z)
    found = gaussian_process(game, 40, index=index)
    process = fit_process(rows[0], values(rows[0])[:, None], 512)
    everywhere = torch.cat([process.rows, all_coalitions(n_players).double()]).unique(dim=0)
    place = (everywhere @ (2.0 ** torch.arange(n_players).double())).long()
    position = {int(code): k for k, code in enumerate(place)}
    seen = torch.tensor([position[int(code)] for code in (process.rows @ (2.0 ** torch.arange(n_players).double())).long()])
    fitted = process.mean + process.kernel.gram(everywhere)[:, seen] @ process.weights
    constant, first, second = interaction_index(fitted[place.argsort(), 0], index, 4)
    torch.testing.assert_close(found.second_order[0], second, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.first_order[0], first, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.constant[0], constant, rtol=0, atol=1e-9)
    assert found.index == index


@indices
def test_standard_errors_are_those_of_the_posterior(index):
    """The posterior covariance of all 16 values given 12 of them, and the weights of each index in these values."""
    game, rows = opaque(relu_game(2, 2, seed=1)), []
    watched = CallableGame(2, 2, lambda z: rows.append(z) or game.values(z))
    found = gaussian_process(watched, 12, index=index)
    process = fit_process(rows[0], game.values(rows[0])[:, None], 512)
    gram, seen = process.kernel.gram(all_coalitions(4).double()), (rows[0].long() << torch.arange(4)).sum(1)
    posterior = gram - gram[:, seen] @ torch.linalg.solve(gram[seen][:, seen], gram[seen])
    units = torch.eye(16, dtype=torch.float64)
    weights = [interaction_index(unit, index, 2) for unit in units]

    def deviation(weights):
        weights = torch.stack(weights)
        return (process.channels.square().sum() * torch.einsum("s...,st,t...->...", weights, posterior, weights).clamp(min=0)).sqrt()

    def assert_near(error, expected):
        torch.testing.assert_close(error[0], expected, rtol=1e-3, atol=1e-6)

    of_pairs = deviation([second for *_, second in weights])
    assert_near(found.standard_error.between, of_pairs[:2, 2:])
    assert_near(found.standard_error.within_query[:, 0, 1], of_pairs[0, 1])
    assert_near(found.standard_error.first_order, deviation([first for _, first, _ in weights]))
    assert_near(found.constant_error, deviation([constant for constant, *_ in weights]))
    if index.is_efficient:
        assert_near(found.standard_error.marginal, deviation([shapley_values(unit) for unit in units]))


def test_other_indices_come_from_the_same_values():
    game = opaque(relu_game(4, 3, seed=1))
    found = gaussian_process(game, 40)
    for index in INDICES:
        other, expected = found.as_index(index.name, 0.3), gaussian_process(opaque(relu_game(4, 3, seed=1)), 40, index=index)
        torch.testing.assert_close(other.second_order, expected.second_order, rtol=0, atol=1e-12)
        torch.testing.assert_close(other.first_order, expected.first_order, rtol=0, atol=1e-12)
        assert other.index == index and other.n_evaluations == game.n_evaluations == 40
        again = other.as_index("shapley-taylor")
        torch.testing.assert_close(again.between, found.between, rtol=0, atol=1e-12)


def test_a_probability_for_each_image_needs_all_coalitions():
    index = parse_index("banzhaf", (0.3, 0.6))
    with pytest.raises(ValueError, match=r"one probability p for both images, got \(0.3, 0.6\).*FactorisedInteractions"):
        gaussian_process(random_game(3, 3, seed=0), 40, index=index)
    with pytest.raises(ValueError, match="one probability p for both images"):
        gaussian_process(random_game(3, 3, seed=0), 40).as_index("banzhaf", (0.3, 0.6))
    found = gaussian_process(random_game(3, 3, seed=0), 64, index=index)
    expected = index_pairs(random_game(3, 3, seed=0), "banzhaf", (0.3, 0.6))
    torch.testing.assert_close(found.second_order[0], expected, rtol=0, atol=1e-9)


def test_budget_is_respected_and_credit_is_complete():
    for n_samples in (40, 300):
        game = opaque(relu_game(8, 7, seed=0))
        found = gaussian_process(game, n_samples)
        assert found.n_evaluations.item() == game.n_evaluations == n_samples
        assert found.completeness_gap.abs() < 1e-9
        torch.testing.assert_close(found.first_order, exact(relu_game(8, 7, seed=0)).first_order, rtol=0, atol=1e-12)


@pytest.mark.slow
def test_process_needs_fewer_evaluations_than_the_kernel_regression():
    errors = {gaussian_process: [], kernel_taylor: []}
    for seed in range(4):
        truth = exact(relu_game(8, 7, seed)).second_order
        for estimator, found in errors.items():
            estimate = estimator(tabulated(opaque(relu_game(8, 7, seed))), 500, generator=seeded(seed))
            found.append(relative_mse(estimate.second_order, truth))
    assert mean(errors[gaussian_process]) < mean(errors[kernel_taylor]) / 2


@pytest.mark.slow
def test_two_standard_errors_cover_the_truth():
    shares = []
    for seed in range(6):
        truth = exact(relu_game(6, 5, seed))
        found = gaussian_process(tabulated(opaque(relu_game(6, 5, seed))), 200, generator=seeded(seed))
        for name in ("between", "within_query", "within_retrieved", "marginal"):
            inside = (found[name] - truth[name]).abs() <= 2 * found.standard_error[name]
            shares.append(inside.double().mean().item())
    assert 0.88 <= mean(shares) <= 0.995


def test_result_depends_on_the_generator():
    first, same, other = (gaussian_process(opaque(relu_game(6, 6, 0)), 100, generator=seeded(seed)).between for seed in (0, 0, 1))
    assert torch.equal(first, same) and not torch.equal(first, other)


@pytest.mark.parametrize(
    ("n_samples", "message"), [(20, "Expected n_samples of at least 32"), (9000, "Expected n_samples of at most 8192")]
)
def test_invalid_budgets_are_refused(n_samples, message):
    with pytest.raises(ValueError, match=message):
        gaussian_process(opaque(relu_game(8, 7, 0)), n_samples)
