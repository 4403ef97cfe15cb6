import pytest
import shapiq
import torch
from conftest import random_game
from slow import dividend, first_order, shapley_values, subsets, taylor_pairs, value_function

import captum_pairwise as cp
from captum_pairwise.estimators import coalitions
from captum_pairwise.estimators.coalitions import all_coalitions


def enumerated(game):
    return game.values(all_coalitions(game.n_players))


@pytest.mark.parametrize("n_players", [1, 2, 5])
def test_dividends_are_eq_4_and_rebuild_the_game(n_players):
    game = random_game(n_players, 0, seed=n_players)
    dividends = cp.harsanyi_dividends(enumerated(game))
    value = value_function(game)
    for coalition in subsets(range(n_players)):
        mask = sum(2**player for player in coalition)
        assert dividends[mask].item() == pytest.approx(dividend(value, coalition), abs=1e-12)
        inside = [sum(2**player for player in part) for part in subsets(coalition)]
        assert dividends[inside].sum().item() == pytest.approx(value(coalition), abs=1e-12)


@pytest.mark.parametrize("n_players", [1, 2, 6])
def test_indices_are_eq_1_and_the_discrete_derivatives(n_players):
    game = random_game(n_players, 0, seed=n_players)
    values = enumerated(game)
    empty, first, second = cp.shapley_taylor(values)
    assert empty == values[0]
    torch.testing.assert_close(cp.shapley_values(values), shapley_values(game), rtol=0, atol=1e-12)
    torch.testing.assert_close(first, first_order(game), rtol=0, atol=1e-12)
    torch.testing.assert_close(second, taylor_pairs(game), rtol=0, atol=1e-12)


def test_shapley_taylor_is_efficient_and_projects_to_shapley_values():
    values = enumerated(random_game(7, 0, seed=3))
    empty, first, second = cp.shapley_taylor(values)
    assert (empty + first.sum() + second.sum() / 2).item() == pytest.approx(values[-1].item(), abs=1e-12)
    torch.testing.assert_close(first + second.sum(1) / 2, cp.shapley_values(values), rtol=0, atol=1e-12)


def test_rows_are_summed_in_blocks(monkeypatch):
    values = enumerated(random_game(6, 0, seed=1))
    whole = cp.shapley_taylor(values)[2]
    monkeypatch.setattr(coalitions, "ROWS_AT_ONCE", 7)
    torch.testing.assert_close(cp.shapley_taylor(values)[2], whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("function", [cp.harsanyi_dividends, cp.shapley_values, cp.shapley_taylor])
def test_a_length_that_is_no_power_of_two_is_refused(function):
    with pytest.raises(ValueError, match=r"2\*\*n"):
        function(torch.zeros(6))


def test_shapiq_agrees():
    game = random_game(3, 3, seed=5)
    exact = shapiq.ExactComputer(n_players=6, game=lambda z: game.values(torch.as_tensor(z, dtype=torch.bool)).numpy())
    index = exact("STII", order=2)
    second = cp.shapley_taylor(enumerated(game))[2]
    for i in range(6):
        for j in range(i + 1, 6):
            assert index[(i, j)] == pytest.approx(second[i, j].item(), abs=1e-12)
