import pytest
import torch
from conftest import opaque, random_game, relu_game, seeded, tabulated
from formulas import interaction_index, value_function

from captum_pairwise.estimators.enumeration import exact
from captum_pairwise.estimators.permutation_sampling import OrderSample, _extension_values, _pair_differences, permutation
from captum_pairwise.games.game import CallableGame
from captum_pairwise.results.index import NAMES, parse_index

INDICES = [parse_index(name, 0.3) for name in NAMES if name not in ("moebius", "co-moebius")]


def test_one_order_matches_the_published_estimator():
    """For each pair, the mixed difference at the players that arrive before both."""
    game = random_game(3, 3, seed=1)
    value, order = value_function(game), torch.randperm(6, generator=seeded(2))
    ends = torch.tensor([value([]), value(range(6))], dtype=torch.float64)
    singles = torch.tensor([value([i]) for i in range(6)], dtype=torch.float64)
    found = _pair_differences(order[None], _extension_values(game, order[None], singles, ends), ends[0])[0]
    arrival = order.argsort().tolist()
    for i in range(6):
        for j in range(i):
            first = [player for player in range(6) if arrival[player] < min(arrival[i], arrival[j])]
            derivative = value([*first, i, j]) - value([*first, i]) - value([*first, j]) + value(first)
            assert found[i, j].item() == found[j, i].item() == pytest.approx(derivative, abs=1e-12)


@pytest.mark.parametrize("index", INDICES, ids=str)
@pytest.mark.parametrize("n_players", [2, 3, 4, 5])
def test_all_orders_average_to_the_index(n_players, index):
    game = random_game(1, n_players - 1, seed=n_players)
    orders = torch.cartesian_prod(*[torch.arange(n_players)] * n_players)
    orders = orders[(orders.sort(1).values == torch.arange(n_players)).all(1)]
    value = value_function(game)
    ends = torch.tensor([value([]), value(range(n_players))], dtype=torch.float64)
    singles = torch.tensor([value([i]) for i in range(n_players)], dtype=torch.float64)
    differences = _pair_differences(orders, _extension_values(game, orders, singles, ends), ends[0])
    found = OrderSample(orders, differences, singles, ends, 1, 0).compute(index)
    constant, first, second = interaction_index(game, index.name, index.probabilities)
    torch.testing.assert_close(found.second_order[0], second, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.first_order[0], first, rtol=0, atol=1e-9)
    assert found.constant.item() == pytest.approx(constant, abs=1e-9) and found.index == index
    assert not index.is_efficient or found.completeness_gap.abs().item() < 1e-9


@pytest.mark.parametrize("index", [INDICES[0], INDICES[2], INDICES[-1]], ids=str)
def test_estimate_is_unbiased_with_correct_standard_errors(index):
    game = tabulated(opaque(relu_game(5, 5, seed=0)))
    truth = exact(game, index=index)
    runs = [permutation(game, 900, index=index, generator=seeded(seed)) for seed in range(100)]
    estimates = torch.stack([run.second_order for run in runs])
    off_diagonal = ~torch.eye(10, dtype=torch.bool)
    score = (estimates.mean(0) - truth.second_order)[0][off_diagonal] / (estimates.std(0)[0][off_diagonal] / 10)
    assert score.square().mean() < 2  # 1 for an unbiased estimator
    for name in ("between", "marginal", "first_order"):
        inside = torch.stack([(run[name] - truth[name]).abs() <= 2 * run.standard_error[name] + 1e-12 for run in runs])
        is_known = name == "first_order" and index.name == "shapley-taylor"
        assert is_known or 0.85 < inside.double().mean() < 0.99
        assert not is_known or (inside.all() and runs[0].standard_error[name].max() < 1e-15)
    inside = torch.stack([(run.constant - truth.constant).abs() <= 2 * run.constant_error + 1e-12 for run in runs])
    assert inside.double().mean() > 0.85


def test_other_indices_come_from_the_same_orders():
    game = random_game(4, 4, seed=0)
    found = permutation(game, 200)
    for index in INDICES:
        other, expected = found.as_index(index.name, 0.3), permutation(random_game(4, 4, seed=0), 200, index=index)
        torch.testing.assert_close(other.second_order, expected.second_order, rtol=0, atol=1e-12)
        assert other.index == index and other.standard_error is not None
    with pytest.raises(ValueError, match="random orders estimate, got 'moebius'"):
        found.as_index("moebius")


@pytest.mark.parametrize("name", ["moebius", "co-moebius"])
def test_effects_at_the_ends_are_exact(name):
    game, index = random_game(4, 4, seed=0), parse_index(name)
    found = permutation(game, 38, index=index)
    assert game.n_evaluations == found.n_evaluations.item() == 38
    constant, first, second = interaction_index(game, name)
    torch.testing.assert_close(found.second_order[0], second, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.first_order[0], first, rtol=0, atol=1e-12)
    value = value_function(game)
    assert (found.constant.item(), found.empty.item(), found.full.item()) == (constant, value([]), value(range(8)))
    with pytest.raises(ValueError, match="n_samples of at least 38"):
        permutation(game, 37, index=index)


def test_a_probability_for_each_image_is_refused():
    with pytest.raises(ValueError, match=r"one probability p for both images, got \(0.3, 0.6\)"):
        permutation(random_game(3, 3, seed=0), 40, index=parse_index("banzhaf", (0.3, 0.6)))


def test_standard_error_has_n_minus_1_under_the_variance():
    """Three orders, one at a time: `s / sqrt(3)` with the sample variance of their estimates."""
    game, generator = random_game(3, 3, seed=7), seeded(8)
    found = permutation(game, 6 + 2 + 3 * (6 * 5 // 2 - 1), generator=seeded(8))
    value = value_function(game)
    ends = torch.tensor([value([]), value(range(6))], dtype=torch.float64)
    singles = torch.tensor([value([i]) for i in range(6)], dtype=torch.float64)
    orders = [torch.randperm(6, generator=generator)[None] for _ in range(3)]
    estimates = [_pair_differences(order, _extension_values(game, order, singles, ends), ends[0])[0] for order in orders]
    mean = sum(estimates) / 3
    error = (sum((estimate - mean) ** 2 for estimate in estimates) / (3 - 1) / 3).sqrt()
    torch.testing.assert_close(found.standard_error.between[0], error[:3, 3:], rtol=0, atol=1e-12)
    mean_marginal = mean.sum(1) / 2
    error = (sum((estimate.sum(1) / 2 - mean_marginal) ** 2 for estimate in estimates) / (3 - 1) / 3).sqrt()
    torch.testing.assert_close(found.standard_error.marginal[0], error, rtol=0, atol=1e-12)


def test_every_order_is_complete_and_first_order_is_exact():
    found = permutation(random_game(4, 4, seed=3), 100)
    assert found.completeness_gap.item() == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(found.first_order, exact(random_game(4, 4, seed=3)).first_order, rtol=0, atol=1e-12)


def test_dummy_has_zero_credit():
    game = random_game(3, 3, seed=4)
    found = permutation(CallableGame(3, 4, lambda z: game.values(z[:, :6])), 100)
    assert found.second_order[0, 6].abs().max() < 1e-12 and found.marginal[0, 6].abs() < 1e-12


@pytest.mark.parametrize(("n_players", "n_samples"), [(5, 40), (8, 37), (12, 1000)])
def test_budget_is_respected(n_players, n_samples):
    game = random_game(n_players // 2, n_players - n_players // 2, seed=0)
    permutation(game, n_samples)
    assert game.n_evaluations <= n_samples


def test_as_many_orders_are_drawn_as_fit_beside_the_ends_and_the_single_players():
    """One coalition too few for a third order: two orders of 20 · 19 / 2 - 1 coalitions each are evaluated."""
    game, each = opaque(relu_game(10, 10, seed=0)), 20 * 19 // 2 - 1
    permutation(game, 22 + 3 * each - 1)
    assert 22 + each < game.n_evaluations <= 22 + 2 * each


def test_too_small_budget_is_refused_with_the_least_one():
    game = random_game(4, 4, seed=0)  # 2 ends, 8 singles and 8 · 7 / 2 - 1 extensions
    with pytest.raises(ValueError, match="at least 37 for one permutation of 8 players"):
        permutation(game, 36)
    assert permutation(game, 37).standard_error is None


def test_result_depends_on_the_generator():
    first, same, other = (permutation(random_game(4, 4, 0), 100, generator=seeded(seed)).between for seed in (0, 0, 1))
    assert torch.equal(first, same) and not torch.equal(first, other)
