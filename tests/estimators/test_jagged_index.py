from itertools import product

import pytest
import torch
from conftest import opaque, random_game, random_tensor, relu_game, seeded
from formulas import heat_maps, jagged_credit, owen_values, relative_mse, shapley_values, value_function
from torch.testing import assert_close

from captum_pairwise.estimators.enumeration import exact
from captum_pairwise.estimators.jagged_index import share_dividends
from captum_pairwise.games.game import CallableGame, TwoTowerGame

SIZES = [(1, 1), (3, 1), (1, 3), (3, 2)]
KINDS = [random_game, relu_game]


def enumerated(game):
    return share_dividends(game, 2**12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", SIZES)
def test_credit_matches_the_formula(kind, sizes):
    game = kind(*sizes, seed=1)
    n_players, n_query = game.n_players, game.n_query
    pairs = list(product(range(n_query), range(n_query, n_players)))
    credit, left_over = jagged_credit(value_function(game), map(frozenset, [*((i,) for i in range(n_players)), *pairs]), n_players)
    assert left_over == 0
    found = enumerated(game)
    assert found.first_order[0].tolist() == pytest.approx([credit[frozenset({i})] for i in range(n_players)], abs=1e-12)
    assert found.between.flatten().tolist() == pytest.approx([credit[frozenset(pair)] for pair in pairs], abs=1e-12)
    assert found.within_query is None and found.within_retrieved is None
    assert found.completeness_gap.item() == pytest.approx(0, abs=1e-12)


def test_two_towers_embed_each_image_alone_and_match_the_opaque_game():
    game = relu_game(6, 5, seed=2)
    towers, whole = enumerated(game), enumerated(opaque(game))
    assert towers.n_evaluations.item() == 2**6 + 2**5
    assert whole.n_evaluations.item() == 2**11
    for name in ("empty", "full", "without_query", "without_retrieved"):
        assert_close(getattr(towers, name), getattr(whole, name), rtol=0, atol=1e-12)
    for name in ("first_order", "marginal", "given_other", "between"):
        assert_close(towers[name], whole[name], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_the_marginal_is_the_owen_value_of_the_two_images(kind):
    game = kind(3, 3, seed=4)
    assert_close(enumerated(game).marginal[0], owen_values(game), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_credits_are_shapley_values_while_the_other_image_is_absent_or_present(kind):
    """Paper eq. 2: the game of one image while the other is fixed."""
    game = kind(3, 2, seed=5)
    found = enumerated(game)
    assert_close(found.given_other[0], heat_maps(game), rtol=0, atol=1e-12)
    together = found.first_order[0] + torch.cat([found.between[0].sum(1), found.between[0].sum(0)])
    assert_close(together, found.given_other[0], rtol=0, atol=1e-12)
    for other, credit in ((0.0, found.first_order[0]), (1.0, together)):
        query = CallableGame(3, 0, lambda z, other=other: game.values(torch.cat([z, torch.full((len(z), 2), other > 0)], 1)))
        retrieved = CallableGame(0, 2, lambda z, other=other: game.values(torch.cat([torch.full((len(z), 3), other > 0), z], 1)))
        assert_close(credit, torch.cat([shapley_values(query), shapley_values(retrieved)]), rtol=0, atol=1e-12)


def test_effect_of_one_image_alone_is_credit_of_its_players():
    game = random_game(3, 0, seed=6)
    found = enumerated(CallableGame(3, 3, lambda z: game.values(z[:, :3])))
    assert found.between.abs().max() < 1e-12
    assert_close(found.first_order[0], torch.cat([shapley_values(game), torch.zeros(3).double()]), rtol=0, atol=1e-12)


def test_for_affine_towers_it_is_shapley_taylor():
    moves = torch.arange(12.0).reshape(4, 3)
    game = TwoTowerGame(4, 4, lambda z: 1 + z.float() @ moves, lambda z: z.float() @ moves.flip(0) - 2)
    assert_close(enumerated(game).between, exact(game).between)
    assert_close(enumerated(game).first_order, exact(game).first_order)


def test_players_of_an_image_with_the_same_effect_have_the_same_credit():
    game = random_game(2, 2, seed=8)
    found = enumerated(CallableGame(3, 2, lambda z: game.values(torch.cat([z[:, :1], z[:, 1:2] & z[:, 2:3], z[:, 3:]], 1))))
    assert_close(found.between[0, 1], found.between[0, 2], rtol=0, atol=1e-12)
    assert_close(found.first_order[0, 1], found.first_order[0, 2], rtol=0, atol=1e-12)


def test_two_towers_of_fifteen_players_are_enumerated():
    found = share_dividends(relu_game(15, 15, seed=0), 2**15)
    assert found.n_evaluations.item() == 2 * 2**15
    assert found.completeness_gap.abs() < 1e-12


def test_too_many_coalitions_are_refused_with_the_needed_number():
    with pytest.raises(ValueError, match=str(2**7)):
        share_dividends(random_game(4, 3, seed=0), 2**7 - 1)
    share_dividends(random_game(4, 3, seed=0), 2**7)


def test_each_tower_respects_the_budget():
    found = share_dividends(relu_game(12, 9, seed=0), 120)
    assert found.n_evaluations <= 2 * (120 + 2)
    assert found.between.shape == (1, 12, 9) and found.within_query is None


@pytest.mark.slow
def test_sampled_embeddings_converge_within_their_standard_errors():
    within, errors = [], []
    for seed in range(6):
        truth = share_dividends(relu_game(12, 11, seed), 2**12)
        found = share_dividends(relu_game(12, 11, seed), 300, generator=seeded(seed))
        for name in ("first_order", "marginal", "between"):
            within.append(((found[name] - truth[name]).abs() <= 2 * found.standard_error[name]).double().mean().item())
        errors.append([relative_mse(share_dividends(relu_game(12, 11, seed), n).between, truth.between) for n in (60, 240, 960)])
    assert sum(within) / len(within) >= 0.9
    small, medium, large = torch.tensor(errors).median(0).values
    assert medium < small and large < medium / 4  # at least as fast as independent samples


def test_bilinear_game_is_exact_with_few_coalitions():
    """Steps do not depend on the coalition, which the process learns."""
    moves = random_tensor(10, 3)
    game = TwoTowerGame(10, 10, lambda z: 1 + z.double() @ moves, lambda z: z.double() @ moves.flip(0))
    found = share_dividends(game, 18)
    assert_close(found.between[0], moves @ moves.flip(0).T, rtol=0, atol=1e-5)
    assert_close(found.first_order[0], torch.cat([torch.zeros(10).double(), moves.flip(0).sum(1)]), rtol=0, atol=1e-5)
    assert found.completeness_gap.abs() < 1e-12


def test_result_depends_on_the_generator_with_seed_0_by_default():
    first, same, other = (share_dividends(relu_game(9, 9, 0), 60, generator=seeded(seed)).between for seed in (0, 0, 1))
    assert torch.equal(first, same) and not torch.equal(first, other)
    assert torch.equal(first, share_dividends(relu_game(9, 9, 0), 60).between)
