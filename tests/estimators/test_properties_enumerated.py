"""Properties of every estimator with a budget for all coalitions of a random game."""

import pytest
import torch
from formulas import owen_values
from game_strategies import (
    EVERY_PAIR,
    OF_TOWERS,
    OWEN,
    VALUES,
    TableGame,
    additive_games,
    close,
    games,
    orders_within,
    rounding,
    shapley_values,
    solving,
    taylor_pairs,
    tower_games,
)
from hypothesis import given, settings
from hypothesis import strategies as st

EXACT = EVERY_PAIR | VALUES | OWEN
of_every_pair = pytest.mark.parametrize("name", EVERY_PAIR)
of_all = pytest.mark.parametrize("name", EXACT)
of_towers = pytest.mark.parametrize("name", OF_TOWERS)


def estimate(name, table, most=0):
    """The result of an estimator with a budget for all coalitions, or far above."""
    estimate = (EXACT | OF_TOWERS)[name]
    return estimate(table.game(), 2**table.n_players + 2 * table.n_players**2 + most)


def tolerance(name, table):
    return solving(table, table.n_players * (table.n_players - 1) // 2) if "kernel" in name else rounding(table)


@of_every_pair
@given(table=games(), most=st.sampled_from([0, 1000]))
def test_result_is_the_shapley_taylor_index(name, table, most):
    found, within = estimate(name, table, most), tolerance(name, table)
    close(found.second_order[0], taylor_pairs(table.values), within)
    close(found.marginal[0], shapley_values(table.values), within)
    close(found.empty, table.values[:1], within)
    close(found.full, table.values[-1:], within)
    close(found.first_order[0], table.values[2 ** torch.arange(table.n_players)] - table.values[0], within)
    assert found.standard_error is None and found.n_evaluations.dtype == torch.long
    assert torch.equal(found.second_order, found.second_order.mT) and not found.second_order.diagonal(dim1=1, dim2=2).any()


@pytest.mark.parametrize("name", VALUES)
@given(table=games())
def test_result_is_the_shapley_value(name, table):
    found = estimate(name, table)
    close(found.marginal[0], shapley_values(table.values), tolerance(name, table))
    assert found.standard_error is None or not found.standard_error.marginal.any()


@of_all
@settings(max_examples=max(1, settings().max_examples // 10))
@given(table=games(most=10, least=8))
def test_result_is_exact_for_up_to_ten_players(name, table):
    if name in OWEN:
        close(estimate(name, table).completeness_gap, torch.zeros(1), table.n_players * tolerance(name, table))
    else:
        close(estimate(name, table).marginal[0], shapley_values(table.values), tolerance(name, table))


@pytest.mark.parametrize("name", OWEN)
@given(table=games(most=4))
def test_result_is_the_owen_value(name, table):
    halves = OWEN[name](table.game(), 2**table.n_players)  # partition: images with up to two players each are split completely
    if name == "jagged" or max(table.n_query, table.n_retrieved) <= 2:
        close(halves.marginal[0], owen_values(table.opaque().game()), rounding(table))


@of_towers
@given(table=tower_games())
def test_two_towers_match_the_opaque_game(name, table):
    found, within = estimate(name, table), rounding(table)
    pairs = taylor_pairs(table.values)
    close(found.between[0], pairs[: table.n_query, table.n_query :], within)
    close(found.marginal[0], shapley_values(table.values), within)
    close(found.completeness_gap, torch.zeros(1), within)
    if found.within_query is not None:
        close(found.second_order[0], pairs, within)
    errors = found.standard_error
    assert not errors.between.any() and not errors.marginal.any()


@of_every_pair
@given(table=additive_games())
def test_additive_games_have_no_pairs(name, table):
    found, within = estimate(name, table), tolerance(name, table)
    close(found.second_order, torch.zeros_like(found.second_order), within)
    close(found.marginal, found.first_order, table.n_players * within)


@of_towers
@given(table=additive_games())
def test_additive_towers_have_no_pairs(name, table):
    if table.is_two_tower:
        close(estimate(name, table).between, torch.zeros(1, table.n_query, table.n_retrieved), rounding(table))


@of_all
@given(table=games())
def test_credit_is_complete(name, table):
    close(estimate(name, table).completeness_gap, torch.zeros(1), table.n_players * tolerance(name, table))


@of_all
@given(table=games(most=6))
def test_dummy_has_zero_credit(name, table):
    with_dummy = table.with_dummy()
    found, alone, within = estimate(name, with_dummy), estimate(name, table), tolerance(name, with_dummy)
    close(found.marginal[0, -1], torch.zeros(()), within)
    if name != "partition":  # the dummy changes its tree
        close(found.marginal[:, :-1], alone.marginal, within)
    if found.within_retrieved is not None and found.between is not None:
        close(found.between[0, :, -1], torch.zeros(table.n_query), within)
        close(found.within_retrieved[0, -1], torch.zeros(table.n_retrieved + 1), within)


@of_every_pair
@given(table=games(most=6))
def test_players_with_the_same_effect_have_equal_credit(name, table):
    doubled = table.with_double()
    found, within = estimate(name, doubled), tolerance(name, doubled)
    close(found.marginal[0, 0], found.marginal[0, -1], within)
    close(found.second_order[0, 0, 1:-1], found.second_order[0, -1, 1:-1], within)


@of_every_pair
@given(table=games(), data=st.data())
def test_renamed_players_keep_their_credit(name, table, data):
    order = data.draw(orders_within(table))
    found, renamed, within = estimate(name, table), estimate(name, table.renamed(order)), tolerance(name, table)
    close(renamed.marginal, found.marginal[:, order], within)
    close(renamed.second_order, found.second_order[:, order][:, :, order], within)


@pytest.mark.parametrize("name", EXACT | OF_TOWERS)
@given(table=tower_games())
def test_swapping_the_images_swaps_the_credit(name, table):
    swapped = table.swapped()
    found, back, within = estimate(name, table), estimate(name, swapped), tolerance(name, table)
    assert (back.n_query, swapped.n_players) == (table.n_retrieved, table.n_players)
    if name != "partition":
        close(back.query_marginal, found.retrieved_marginal, within)
        close(back.retrieved_marginal, found.query_marginal, within)
    if found.between is not None:
        close(back.between, found.between.mT, within)


@of_every_pair
@given(one=games(most=5), seed=st.integers(0, 2**16), weights=st.tuples(st.integers(-3, 3), st.integers(-3, 3)))
def test_credit_is_linear(name, one, seed, weights):
    other = torch.randn(2**one.n_players, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    both = TableGame(one.n_query, one.n_retrieved, (weights[0] * one.values + weights[1] * other,))
    parts = estimate(name, one), estimate(name, TableGame(one.n_query, one.n_retrieved, (other,)))
    within = 3 * (tolerance(name, one) + tolerance(name, TableGame(one.n_query, one.n_retrieved, (other,))))
    close(estimate(name, both).second_order, weights[0] * parts[0].second_order + weights[1] * parts[1].second_order, within)
    close(estimate(name, both).marginal, weights[0] * parts[0].marginal + weights[1] * parts[1].marginal, within)


@of_all
@given(table=games(most=5))
def test_float32_stays_float32(name, table):
    found, exact = estimate(name, table.single()), estimate(name, table)
    for block in (found.marginal, found.empty, found.full, found.completeness_gap):
        assert block.dtype == torch.float32
    within = tolerance(name, table) * torch.finfo(torch.float32).eps / torch.finfo(torch.float64).eps
    close(found.marginal, exact.marginal, within)
