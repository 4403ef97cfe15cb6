from itertools import combinations

import pytest
import torch
from conftest import images, opaque, random_game, random_tensor, relu_game, seeded, tiny_encoder
from formulas import first_order, jagged_credit, owen_values, relative_mse, shapley_values, taylor_pairs, value_function
from torch.testing import assert_close

import captum_pairwise as cp
from captum_pairwise.estimators.enumeration import exact
from captum_pairwise.estimators.jagged_index import PAIRS, share_dividends
from captum_pairwise.games.game import CallableGame, TwoTowerGame

SIZES = [(1, 1), (3, 1), (1, 3), (3, 2)]
CHOICES = [chosen for size in range(4) for chosen in combinations(PAIRS, size)]
KINDS = [random_game, relu_game]


def enumerated(game, pairs=("between",)):
    return share_dividends(game, 2**12, pairs)


def block_of(pair, n_query):
    return ["within_retrieved", "between", "within_query"][sum(player < n_query for player in pair)]


def assert_matches_formula(game, pairs):
    """Assert that all credits match the formula, nothing is left over, and no other block is computed."""
    n_players, n_query = game.n_players, game.n_query
    chosen = [pair for pair in combinations(range(n_players), 2) if block_of(pair, n_query) in pairs]
    credit, left_over = jagged_credit(value_function(game), map(frozenset, [*((i,) for i in range(n_players)), *chosen]), n_players)
    assert left_over == 0
    found = enumerated(game, pairs)
    assert found.first_order[0].tolist() == pytest.approx([credit[frozenset({i})] for i in range(n_players)], abs=1e-12)
    for i, j in chosen:
        block, expected = block_of((i, j), n_query), credit[frozenset({i, j})]
        row, column = i - n_query * (block == "within_retrieved"), j - n_query * (block != "within_query")
        assert found[block][0, row, column].item() == pytest.approx(expected, abs=1e-12)
    assert {name for name in PAIRS if getattr(found, name) is not None} == set(pairs)
    assert found.completeness_gap.item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("pairs", CHOICES, ids=str)
def test_every_choice_of_pairs_matches_the_formula(kind, sizes, pairs):
    assert_matches_formula(kind(*sizes, seed=1), pairs)


@pytest.mark.parametrize("pairs", CHOICES, ids=str)
def test_two_towers_embed_each_image_alone_and_match_the_opaque_game(pairs):
    game = relu_game(6, 5, seed=2)
    towers, whole = enumerated(game, pairs), enumerated(opaque(game), pairs)
    assert towers.n_evaluations.item() == 2**6 + 2**5
    assert whole.n_evaluations.item() == 2**11
    for name in ("empty", "full", "first_order", "marginal", *pairs):
        assert_close(towers[name], whole[name], rtol=0, atol=1e-12)


def test_all_pairs_give_shapley_taylor_indices_and_no_pairs_shapley_values():
    game = random_game(3, 3, seed=3)
    every, none = enumerated(game, PAIRS), enumerated(game, ())
    assert_close(every.second_order[0], taylor_pairs(game), rtol=0, atol=1e-12)
    assert_close(every.first_order[0], first_order(game), rtol=0, atol=1e-12)
    for found in (every.marginal, none.marginal, none.first_order):
        assert_close(found[0], shapley_values(game), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_the_marginal_is_the_owen_value_of_the_two_images(kind):
    game = kind(3, 3, seed=4)
    assert_close(enumerated(game).marginal[0], owen_values(game), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_credits_are_shapley_values_while_the_other_image_is_absent_or_present(kind):
    """Paper eq. 2: the game of one image while the other is fixed."""
    game = kind(3, 2, seed=5)
    found = enumerated(game)
    together = found.first_order[0] + torch.cat([found.between[0].sum(1), found.between[0].sum(0)])
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


@pytest.mark.parametrize(("kind", "pairs"), [(random_game, ("between",)), (relu_game, ("between", "within_query"))])
def test_too_many_coalitions_are_refused_with_the_needed_number(kind, pairs):
    with pytest.raises(ValueError, match=str(2**7)):
        share_dividends(kind(4, 3, seed=0), 2**7 - 1, pairs)
    share_dividends(kind(4, 3, seed=0), 2**7, pairs)


def test_each_tower_respects_the_budget():
    found = share_dividends(relu_game(12, 9, seed=0), 120)
    assert found.n_evaluations <= 2 * (120 + 2)
    assert found.between.shape == (1, 12, 9) and found.within_query is None


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


@pytest.mark.parametrize("pairs", ["between", ("between", "within")])
def test_unknown_pairs_are_refused(pairs):
    with pytest.raises(ValueError, match="Expected pairs to be a tuple of names out of"):
        enumerated(random_game(1, 1, seed=0), pairs)


@pytest.mark.parametrize("cls", [cp.JaggedShapleyTaylor, cp.LayerJaggedShapleyTaylor])
def test_classes_pass_the_names_of_pairs(cls):
    model = cp.SimilarityWrapper(tiny_encoder())
    layer, size = ((), 12) if cls is cp.JaggedShapleyTaylor else ((model.query_encoder[4],), 3)
    masks = {"layer_mask" if layer else "feature_mask": (cp.grid(size, size, 2, 2), cp.grid(size, size, 1, 2))}
    truth = (cp.LayerExactShapleyTaylor if layer else cp.ExactShapleyTaylor)(model, *layer).interactions(images(1), **masks)
    found = cls(model, *layer, pairs=PAIRS).interactions(images(1), **masks)
    assert_close(found.second_order, truth.second_order, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="Expected between to have been computed"):
        cls(model, *layer, pairs=("within_query",)).attribute(images(1), **masks)
