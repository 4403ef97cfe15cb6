import pytest
import torch
from conftest import opaque, random_game, relu_game
from formulas import first_order, heat_maps, shapley_values, taylor_pairs

from captum_pairwise.estimators.coalitions import all_coalitions
from captum_pairwise.estimators.enumeration import enumerate_values, exact

SIZES = [(1, 1), (3, 1), (1, 3), (4, 3)]


def assert_matches_formula(game):
    found = exact(game)
    for name, truth in {
        "first_order": first_order(game),
        "marginal": shapley_values(game),
        "second_order": taylor_pairs(game),
        "given_other": heat_maps(game),
    }.items():
        torch.testing.assert_close(getattr(found, name)[0], truth, rtol=0, atol=1e-9)
    assert found.completeness_gap.item() == pytest.approx(0, abs=1e-9)
    values, n_query = enumerate_values(game), game.n_query
    assert found.without_query.item() == pytest.approx(values[2**game.n_players - 2**n_query].item(), abs=1e-12)
    assert found.without_retrieved.item() == pytest.approx(values[2**n_query - 1].item(), abs=1e-12)
    assert torch.cat(found.map_gaps).abs().max() < 1e-9


@pytest.mark.parametrize("sizes", SIZES)
def test_callable_games_match_the_formula(sizes):
    assert_matches_formula(random_game(*sizes, seed=1))


@pytest.mark.parametrize("sizes", SIZES)
def test_two_tower_games_match_the_formula(sizes):
    assert_matches_formula(relu_game(*sizes, seed=1))


def test_two_towers_embed_each_image_alone_and_match_the_opaque_game():
    game = relu_game(6, 5, seed=2)
    towers, whole = exact(game), exact(opaque(game))
    assert towers.n_evaluations.item() == 2**6 + 2**5
    assert whole.n_evaluations.item() == 2**11
    blocks = ("first_order", "given_other", "between", "within_query", "within_retrieved")
    for name in ("empty", "full", "without_query", "without_retrieved", *blocks):
        torch.testing.assert_close(getattr(towers, name), getattr(whole, name), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("game", "needed"), [(random_game(4, 4, seed=0), 2**8), (relu_game(7, 2, seed=0), 2**7), (relu_game(2, 7, seed=0), 2**7)]
)
def test_too_many_coalitions_are_refused_with_the_needed_number(game, needed):
    with pytest.raises(ValueError, match=str(needed)):
        exact(game, most=needed - 1)
    exact(game, most=needed)


@pytest.mark.parametrize("game", [random_game(3, 2, seed=0), relu_game(3, 2, seed=0)], ids=["opaque", "towers"])
def test_all_values_are_in_the_order_of_bit_masks(game):
    torch.testing.assert_close(enumerate_values(game), game.values(all_coalitions(5)), rtol=0, atol=1e-12)
