"""Properties of formulas on enumerated, smooth and affine games: dividends, jagged credit, path integrals, closed forms, windows."""

import formulas
import pytest
import torch
from game_strategies import (
    NUMBERS,
    TableGame,
    additive_games,
    close,
    games,
    opaque_games,
    refusal_of,
    rounding,
    shapley_values,
    solving,
    tables,
    taylor_pairs,
)
from hypothesis import assume, given
from hypothesis import strategies as st

from captum_pairwise.estimators import coalitions
from captum_pairwise.estimators.enumeration import exact
from captum_pairwise.estimators.occlusion import draw_window_pairs, measure_rises, sbsm
from captum_pairwise.estimators.paths.continuous_index import WEIGHTS, gauss_index, random_index
from captum_pairwise.estimators.paths.derivatives import differentiable
from captum_pairwise.estimators.paths.integrated import integrate_gradients, integrate_hessians
from captum_pairwise.estimators.paths.projected import project_weights, swap_images
from captum_pairwise.estimators.quadrature import diagonal_path
from captum_pairwise.estimators.regression.local_surrogate import lime
from captum_pairwise.estimators.search_activation import activation_maps, search_activation
from captum_pairwise.games.game import Affine, CallableGame, TwoTowerGame, make_one_image_games
from captum_pairwise.players.windows import sliding_windows

OF_VALUES = (coalitions.harsanyi_dividends, coalitions.shapley_values, coalitions.shapley_taylor)


# dividends and jagged credit


@given(table=opaque_games(most=8))
def test_dividends_sum_to_every_value(table):
    dividends, members = coalitions.harsanyi_dividends(table.values), coalitions.all_coalitions(table.n_players)
    inside = (members[:, None] >= members).all(2)
    close(inside.double() @ dividends, table.values, rounding(table))


@given(table=opaque_games())
def test_shapley_values_and_taylor_indices_match_their_formulas(table):
    empty, first, second = coalitions.shapley_taylor(table.values)
    close(second, taylor_pairs(table.values), rounding(table))
    close(coalitions.shapley_values(table.values), shapley_values(table.values), rounding(table))
    close(empty + first.sum() + second.sum() / 2, table.values[-1], table.n_players * rounding(table))


@given(table=opaque_games(most=4), data=st.data())
def test_jagged_credit_matches_its_formula_and_is_complete(table, data):
    some = st.frozensets(st.integers(0, table.n_players - 1), min_size=1)
    wanted = list(data.draw(st.sets(some, min_size=1, max_size=6)))
    empty, credit, left_over = coalitions.jagged_credit(table.values, wanted)
    expected, expected_left = formulas.jagged_credit(formulas.value_function(table.game()), wanted, table.n_players)
    close(credit, torch.tensor([expected[one] for one in wanted], dtype=torch.float64), rounding(table))
    close(left_over, torch.tensor(expected_left, dtype=torch.float64), rounding(table))
    close(empty + credit.sum() + left_over, table.values[-1], table.n_players * rounding(table))


@given(table=opaque_games(most=5), bad=st.sampled_from([torch.nan, torch.inf, -torch.inf]), data=st.data())
def test_values_that_are_not_finite_are_refused_with_their_row(table, bad, data):
    row = data.draw(st.integers(0, len(table.values) - 1))
    values = table.values.clone()
    values[row] = bad
    for function in (*OF_VALUES, lambda values: coalitions.jagged_credit(values, [(0,)])):
        assert f"row {row} " in (refusal_of(lambda function=function: function(values)) or "")


@given(n_values=st.integers(0, 70))
def test_lengths_that_are_no_game_are_refused(n_values):
    is_game = n_values > 0 and n_values & (n_values - 1) == 0
    for function in OF_VALUES:
        assert (refusal_of(lambda function=function: function(torch.zeros(n_values))) is None) == is_game


# smooth games: the multilinear extension of a table has the same indices along the diagonal as the table


def multilinear_extension(table: TableGame) -> TwoTowerGame | CallableGame:
    """`Σ_S v(S) Π_{i∈S} z_i Π_{i∉S} (1 - z_i)`, of values or of embeddings."""

    def extension(values):
        members = coalitions.all_coalitions(len(values).bit_length() - 1)
        return lambda z: torch.where(members, z.double()[:, None], 1 - z.double()[:, None]).prod(2) @ values

    kind = TwoTowerGame if table.is_two_tower else CallableGame
    return kind(table.n_query, table.n_retrieved, *map(extension, table.tables))


@given(table=games(most=5))
def test_path_integrals_of_the_extension_are_the_indices(table):
    n_players, within = table.n_players, rounding(table)
    with differentiable():
        taylor = integrate_hessians(multilinear_extension(table), gauss_index(WEIGHTS["taylor"], n_players), None)
        hessian = integrate_hessians(multilinear_extension(table), gauss_index(None, n_players), None)
        between = integrate_hessians(multilinear_extension(table), gauss_index(WEIGHTS["taylor"], n_players), diagonal_path(n_players))
        gradients = integrate_gradients(multilinear_extension(table), diagonal_path(n_players))
    close(taylor.second_order[0], taylor_pairs(table.values), within)
    close(between.between, taylor.between, within)
    for found in (taylor, hessian, between, gradients):
        close(found.marginal[0], shapley_values(table.values), 4 * n_players * within)
        close(found.completeness_gap, torch.zeros(1), 4 * n_players * within)


@pytest.mark.parametrize("weight", ["taylor", "hessian"])
@given(table=games(most=5), seed=st.integers(0, 2**16), power=st.sampled_from([-40, 40]))
def test_random_nodes_have_standard_errors_and_scale_with_the_values(weight, table, seed, power):
    def found(one):
        with differentiable():
            index = random_index(WEIGHTS[weight], 6, torch.Generator().manual_seed(seed))
            return integrate_hessians(multilinear_extension(one), index, None, is_random=True)

    plain, scaled = found(table), found(table.scaled(2.0**power))
    assert (plain.standard_error.between >= 0).all() and plain.standard_error.marginal.isfinite().all()
    assert torch.equal(plain.second_order * 2.0**power, scaled.second_order)
    assert torch.equal(plain.standard_error.marginal * 2.0**power, scaled.standard_error.marginal)


@given(table=games(most=5), data=st.data())
def test_projection_matches_the_matrix(table, data):
    attention, back = data.draw(tables(table.n_query)), data.draw(tables(table.n_retrieved))
    index, game = gauss_index(WEIGHTS["taylor"], 3), multilinear_extension(table)
    with differentiable():
        between = integrate_hessians(game, index, diagonal_path(1)).between[0]
        there, here = project_weights(game, attention, index), project_weights(swap_images(game), back, index)
    scale = 1 + max([one.abs().sum().item() for one in (attention, back)])
    close(there, attention @ between, rounding(table) * scale)
    close(here, between @ back, rounding(table) * scale)


# affine towers


@st.composite
def affine_towers(draw):
    n_channels, sizes = draw(st.integers(1, 3)), draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))
    assume(sum(sizes))
    return [Affine(draw(tables(n_channels)), draw(tables(n, n_channels))) for n in sizes]


@given(towers=affine_towers())
def test_closed_forms_match_the_indices_of_affine_towers(towers):
    query, retrieved = towers
    game = TwoTowerGame(len(query.moves), len(retrieved.moves), query, retrieved)
    found, truth = search_activation([query], [retrieved], frozen_norm=False), exact(game)
    values = TableGame(game.n_query, game.n_retrieved, tuple(one(coalitions.all_coalitions(len(one.moves))) for one in towers))
    close(found.second_order, truth.second_order, rounding(values))
    close(found.first_order, truth.first_order, rounding(values))
    close(found.completeness_gap, torch.zeros(1), rounding(values))
    maps = activation_maps([query], [retrieved], frozen_norm=False)
    for of_image, one in zip(maps, (0, 1), strict=False):
        if game.n_query and game.n_retrieved:
            close(of_image, exact(make_one_image_games(game)[one]).marginal[0], rounding(values))


# LIME


@given(table=additive_games(most=5), decay=st.one_of(st.none(), st.floats(0, 2)))
def test_lime_of_an_additive_game_is_exact(table, decay):
    found = lime(table.game(), torch.ones(table.n_players), 2**table.n_players, decay=decay, alpha=0.0)
    within = solving(table, table.n_players**2)
    close(found.second_order, torch.zeros_like(found.second_order), within)
    close(found.first_order[0], table.values[2 ** torch.arange(table.n_players)] - table.values[0], within)


# windows


@st.composite
def windows_and_games(draw):
    size, shape, strides = draw(st.tuples(*(st.tuples(st.integers(1, 6), st.integers(1, 6)) for _ in range(3))))
    windows = sliding_windows(*size, shape, strides)
    assume(windows.n_bands <= 10)
    return windows, draw(tables(2**windows.n_bands)), draw(NUMBERS)


@pytest.mark.filterwarnings("ignore:No window lowers", "ignore:No pair of windows")
@given(case=windows_and_games(), power=st.sampled_from([-40, 0, 40]))
def test_sbsm_map_scales_and_is_bounded_by_the_decreases(case, power):
    windows, values, _ = case
    table = TableGame(windows.n_bands, 0, (values,))
    found = sbsm(table.scaled(2.0**power).game(), windows)
    falls = (values[-1] - table.game().values(windows.occlusions())).clamp(min=0)
    assert torch.equal(found, sbsm(table.game(), windows) * 2.0**power)
    assert found.shape == windows.size and found.min() >= 0 and found.max() <= falls.max() * 2.0**power * (1 + rounding(table))


@pytest.mark.filterwarnings("ignore:No pair of windows")
@given(table=games(most=6), n_samples=st.integers(1, 40), power=st.sampled_from([-40, 40]))
def test_rises_match_the_values_and_scale(table, n_samples, power):
    rows = [coalitions.all_coalitions(n) for n in (table.n_query, table.n_retrieved)]
    drawn = draw_window_pairs(len(rows[0]), len(rows[1]), n_samples)
    found, full = measure_rises(table.game(), *rows, drawn)
    expected = (table.values[drawn[0] + (drawn[1] << table.n_query)] - table.values[-1]).clamp(min=0)
    close(found, expected, 32 * rounding(table))
    scaled, _ = measure_rises(table.scaled(2.0**power).game(), *rows, drawn)
    assert torch.equal(scaled, found * 2.0**power) and full.isfinite()
