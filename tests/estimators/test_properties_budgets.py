"""Properties of every estimator at any budget, from 0 to far above the number of coalitions of a random game."""

import re

import pytest
import torch
from game_strategies import (
    ALL,
    ANY_GAME,
    EVERY_PAIR,
    OF_TOWERS,
    OTHERS,
    REPEATING,
    TableGame,
    additive_games,
    close,
    games,
    refusal_of,
    rounding,
    solving,
    tower_games,
)
from hypothesis import assume, given
from hypothesis import strategies as st

from captum_pairwise.games.game import CallableGame
from captum_pairwise.results.credits import AXES

BUDGETS = st.one_of(st.integers(-2, 40), st.integers(0, 300))
EFFICIENT = [name for name in ANY_GAME if name not in OTHERS] + ["factorised", "factorised, process", "factorised, tolerance"]
UNKNOWN = ("factorised, chains", "kernel_shapley")  # errors may be NaN for a single group, or infinite for a single decisive row
ALWAYS_DETERMINED = [name for name in ALL if name not in REPEATING or name.endswith("ridge")]


def games_for(name, most=6):
    """Games for the estimator with this name."""
    return tower_games(most) if name in OF_TOWERS else games(most)


def estimate(name, table, n_samples):
    """The result of an estimator. Examples with a refused budget are skipped."""
    found = []
    assume(refusal_of(lambda: found.append(ALL[name](table.game(), n_samples))) is None)
    return found[0]


def all_blocks(found):
    """All numbers of a result, by name."""
    errors = {} if found.standard_error is None else {f"error of {name}": getattr(found.standard_error, name) for name in AXES}
    named = {name: getattr(found, name) for name in (*AXES, "empty", "full")} | errors
    return {name: block for name, block in named.items() if block is not None}


@pytest.mark.parametrize("name", ALL)
@given(data=st.data(), n_samples=BUDGETS)
def test_budget_is_accepted_or_refused_with_the_least_one(name, data, n_samples):
    table = data.draw(games_for(name))
    refusal = refusal_of(lambda: ALL[name](table.game(), n_samples))
    if n_samples >= 2**table.n_players and name in ALWAYS_DETERMINED:
        assert refusal is None
    if refusal is not None and (named := re.search(r"n_samples of at least (?:2\*\*\d+ = )?(\d+)", refusal)):
        least = int(named[1])
        assert n_samples < least
        after = refusal_of(lambda: ALL[name](table.game(), least))
        assert after is None or "n_samples of at least" not in after


@pytest.mark.parametrize("name", ALL)
@given(data=st.data(), n_samples=BUDGETS)
def test_shapes_types_and_errors(name, data, n_samples):
    table = data.draw(games_for(name))
    found = estimate(name, table, n_samples)
    sizes = {"players": table.n_players, "query": table.n_query, "retrieved": table.n_retrieved}
    for named, block in all_blocks(found).items():
        axes = AXES.get(named.removeprefix("error of "), ())
        assert block.shape == (1, *(sizes[axis] for axis in axes)) and block.dtype == torch.float64
        if named.startswith("error of "):
            assert not (block < 0).any() and (name in UNKNOWN or block.isfinite().all())
        else:
            assert block.isfinite().all()
    assert found.n_query == table.n_query and found.n_evaluations.item() > 0


@pytest.mark.parametrize("name", EFFICIENT)
@given(data=st.data(), n_samples=BUDGETS)
def test_credit_is_complete_at_any_budget(name, data, n_samples):
    table = data.draw(games_for(name))
    found = estimate(name, table, n_samples)
    close(found.completeness_gap, torch.zeros(1), solving(table, table.n_players**2))


@pytest.mark.parametrize("name", ALL)
@given(data=st.data(), n_samples=BUDGETS)
def test_gap_is_the_value_minus_the_credit(name, data, n_samples):
    table = data.draw(games_for(name, 5))
    found, values = estimate(name, table, n_samples), table.values
    close(found.completeness_gap, values[-1] - values[0] - found.marginal.sum(1), rounding(table))


@pytest.mark.parametrize("name", ALL)
@given(data=st.data(), n_samples=BUDGETS, power=st.sampled_from([-40, 40]))
def test_results_scale_with_the_values(name, data, n_samples, power):
    """The factors are about 1e-12 and 1e12. Powers of two are exact, so no digit may change."""
    table = data.draw(games_for(name, 5))
    plain, scaled = (all_blocks(estimate(name, one, n_samples)) for one in (table, table.scaled(2.0**power)))
    for named, block in plain.items():
        assert torch.equal((block * 2.0**power).nan_to_num(-1), scaled[named].nan_to_num(-1)), named


@pytest.mark.parametrize("name", ALL)
@given(data=st.data(), n_samples=BUDGETS)
def test_global_random_state_is_neither_used_nor_changed(name, data, n_samples):
    table, before = data.draw(games_for(name, 5)), torch.random.get_rng_state()
    once = all_blocks(estimate(name, table, n_samples))
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(3)
    again = all_blocks(estimate(name, table, n_samples))
    assert all(torch.equal(block.nan_to_num(-1), again[named].nan_to_num(-1)) for named, block in once.items())
    torch.random.set_rng_state(before)


@pytest.mark.parametrize("name", EVERY_PAIR | OF_TOWERS | {name: REPEATING[name] for name in REPEATING if "shapley" not in name})
@given(table=additive_games(), n_samples=BUDGETS)
def test_additive_games_have_no_pairs(name, table, n_samples):
    """The credit of pairs is 0 up to rounding; for a process, up to its standard error."""
    assume(table.is_two_tower or name not in OF_TOWERS)
    found = estimate(name, table, n_samples)
    errors = found.standard_error.between if found.standard_error is not None else torch.zeros_like(found.between)
    doubt = errors.nan_to_num(0) if "process" in name or name in ("factorised", "factorised, tolerance") else torch.zeros_like(errors)
    assert (found.between.abs() <= solving(table, table.n_players**2) + 4 * doubt).all()


@pytest.mark.parametrize("name", ANY_GAME)
@given(table=games(5), n_samples=st.integers(40, 80), bad=st.sampled_from([torch.nan, torch.inf, -torch.inf]))
def test_values_that_are_not_finite_are_refused(name, table, n_samples, bad):
    """The value of the full coalition, which every estimator evaluates, is not finite."""
    values = table.values.clone()
    values[-1] = bad
    broken = TableGame(table.n_query, table.n_retrieved, (values,))
    assert "row" in (refusal_of(lambda: ANY_GAME[name](broken.game(), n_samples)) or "")


@pytest.mark.parametrize("name", OF_TOWERS)
@given(table=tower_games(5), n_samples=st.integers(40, 80), bad=st.sampled_from([torch.nan, torch.inf]), side=st.integers(0, 1))
def test_embeddings_that_are_not_finite_are_refused(name, table, n_samples, bad, side):
    broken = [one.clone() for one in table.tables]
    broken[side][-1, -1] = bad
    sentence = refusal_of(lambda: OF_TOWERS[name](TableGame(table.n_query, table.n_retrieved, tuple(broken)).game(), n_samples))
    assert sentence is not None and f"the {('query', 'retrieved')[side]} embeddings" in sentence


@pytest.mark.parametrize("sizes", [(0, 0), (-1, 2), (2, -1)])
def test_game_without_players_is_refused(sizes):
    assert "at least one player" in (refusal_of(lambda: CallableGame(*sizes, lambda z: z.sum(1))) or "")
