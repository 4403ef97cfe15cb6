import pytest
import torch
from conftest import opaque, random_game, relu_game
from formulas import first_order, shapley_values, taylor_pairs

from captum_pairwise.estimators.enumeration import exact
from captum_pairwise.games.game import CallableGame

SIZES = [(1, 1), (3, 1), (1, 3), (4, 3)]


def assert_is_brute_force(game):
    found = exact(game)
    for name, truth in {
        "first_order": first_order(game),
        "marginal": shapley_values(game),
        "second_order": taylor_pairs(game),
    }.items():
        torch.testing.assert_close(getattr(found, name)[0], truth, rtol=0, atol=1e-9)
    assert found.completeness_gap.item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("sizes", SIZES)
def test_any_callable_is_brute_force(sizes):
    assert_is_brute_force(random_game(*sizes, seed=1))


@pytest.mark.parametrize("sizes", SIZES)
def test_two_towers_are_brute_force(sizes):
    assert_is_brute_force(relu_game(*sizes, seed=1))


def test_two_towers_embed_each_side_alone_and_agree_with_the_opaque_game():
    game = relu_game(6, 5, seed=2)
    towers, whole = exact(game), exact(opaque(game))
    assert towers.n_evaluations.item() == 2**6 + 2**5
    assert whole.n_evaluations.item() == 2**11
    for name in ("empty", "full", "first_order", "between", "within_query", "within_retrieved"):
        torch.testing.assert_close(getattr(towers, name), getattr(whole, name), rtol=0, atol=1e-12)


def test_a_dummy_gets_nothing():
    game = relu_game(4, 3, seed=3)
    found = exact(CallableGame(4, 4, lambda z: game.values(z[:, :7])))  # nobody looks at the last player
    torch.testing.assert_close(found.second_order[0, 7], torch.zeros(8, dtype=torch.float64), rtol=0, atol=1e-12)
    assert found.marginal[0, 7].item() == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(found.between[:, :, :3], exact(game).between, rtol=0, atol=1e-12)


def test_players_that_do_the_same_get_the_same():
    game = relu_game(3, 2, seed=4)
    found = exact(CallableGame(4, 2, lambda z: game.values(torch.cat([z[:, :2], z[:, 2:3] & z[:, 3:4], z[:, 4:]], 1))))
    torch.testing.assert_close(found.between[0, 2], found.between[0, 3], rtol=0, atol=1e-12)
    torch.testing.assert_close(found.marginal[0, 2], found.marginal[0, 3], rtol=0, atol=1e-12)


def test_swapping_the_images_transposes_the_pairs():
    game = random_game(3, 4, seed=6)
    swapped = CallableGame(4, 3, lambda z: game.values(torch.cat([z[:, 4:], z[:, :4]], 1)))
    torch.testing.assert_close(exact(swapped).between, exact(game).between.mT, rtol=0, atol=1e-12)


def test_an_additive_game_has_no_pairs():
    found = exact(CallableGame(3, 3, lambda z: z.double() @ torch.arange(1.0, 7.0, dtype=torch.float64)))
    assert found.second_order.abs().max() < 1e-12
    torch.testing.assert_close(found.marginal[0], torch.arange(1.0, 7.0, dtype=torch.float64))


@pytest.mark.parametrize(("game", "needed"), [(random_game(4, 4, seed=0), 2**8), (relu_game(7, 2, seed=0), 2**7)])
def test_too_many_coalitions_are_refused_with_the_number_needed(game, needed):
    with pytest.raises(ValueError, match=str(needed)):
        exact(game, most=needed - 1)
    exact(game, most=needed)
