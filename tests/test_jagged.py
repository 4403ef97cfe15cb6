from itertools import combinations

import pytest
import torch
from conftest import images, opaque, random_game, relu_game, tiny_encoder
from slow import first_order, jagged_credit, owen_values, shapley_values, taylor_pairs, value_function
from torch.testing import assert_close

import captum_pairwise as cp
from captum_pairwise.estimators.exact import exact
from captum_pairwise.estimators.jagged import PAIRS, jagged
from captum_pairwise.game import CallableGame, TwoTowerGame

SIZES = [(1, 1), (3, 1), (1, 3), (3, 2)]
CHOICES = [chosen for size in range(4) for chosen in combinations(PAIRS, size)]
KINDS = [random_game, relu_game]


def block_of(pair, n_query):
    return ["within_retrieved", "between", "within_query"][sum(player < n_query for player in pair)]


def assert_is_slow(game, pairs):
    """Single players and the pairs of the blocks, each with its share; nothing left over; no other block."""
    n_players, n_query = game.n_players, game.n_query
    chosen = [pair for pair in combinations(range(n_players), 2) if block_of(pair, n_query) in pairs]
    credit, left_over = jagged_credit(value_function(game), map(frozenset, [*((i,) for i in range(n_players)), *chosen]), n_players)
    assert left_over == 0
    found = jagged(game, pairs)
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
def test_every_choice_of_pairs_is_the_slow_formula(kind, sizes, pairs):
    assert_is_slow(kind(*sizes, seed=1), pairs)


@pytest.mark.parametrize("pairs", CHOICES, ids=str)
def test_two_towers_embed_each_side_alone_and_agree_with_the_opaque_game(pairs):
    game = relu_game(6, 5, seed=2)
    towers, whole = jagged(game, pairs), jagged(opaque(game), pairs)
    assert towers.n_evaluations.item() == 2**6 + 2**5
    assert whole.n_evaluations.item() == 2**11
    for name in ("empty", "full", "first_order", "marginal", *pairs):
        assert_close(towers[name], whole[name], rtol=0, atol=1e-12)


def test_all_pairs_are_shapley_taylor_and_none_shapley_values():
    game = random_game(3, 3, seed=3)
    every, none = jagged(game, PAIRS), jagged(game, ())
    assert_close(every.second_order[0], taylor_pairs(game), rtol=0, atol=1e-12)
    assert_close(every.first_order[0], first_order(game), rtol=0, atol=1e-12)
    for found in (every.marginal, none.marginal, none.first_order):
        assert_close(found[0], shapley_values(game), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_the_marginal_is_the_owen_value_of_the_two_images(kind):
    game = kind(3, 3, seed=4)
    assert_close(jagged(game).marginal[0], owen_values(game), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_single_players_and_all_their_pairs_are_shapley_values_beside_an_absent_and_a_whole_image(kind):
    """Paper eq. 2: the game of one image while the other is fixed."""
    game = kind(3, 2, seed=5)
    found = jagged(game)
    together = found.first_order[0] + torch.cat([found.between[0].sum(1), found.between[0].sum(0)])
    for other, credit in ((0.0, found.first_order[0]), (1.0, together)):
        query = CallableGame(3, 0, lambda z, other=other: game.values(torch.cat([z, torch.full((len(z), 2), other > 0)], 1)))
        retrieved = CallableGame(0, 2, lambda z, other=other: game.values(torch.cat([torch.full((len(z), 3), other > 0), z], 1)))
        assert_close(credit, torch.cat([shapley_values(query), shapley_values(retrieved)]), rtol=0, atol=1e-12)


def test_what_one_image_does_alone_stays_with_its_players():
    game = random_game(3, 0, seed=6)
    found = jagged(CallableGame(3, 3, lambda z: game.values(z[:, :3])))
    assert found.between.abs().max() < 1e-12
    assert_close(found.first_order[0], torch.cat([shapley_values(game), torch.zeros(3).double()]), rtol=0, atol=1e-12)


def test_for_affine_towers_it_is_shapley_taylor():
    moves = torch.arange(12.0).reshape(4, 3)
    game = TwoTowerGame(4, 4, lambda z: 1 + z.float() @ moves, lambda z: z.float() @ moves.flip(0) - 2)
    assert_close(jagged(game).between, exact(game).between)
    assert_close(jagged(game).first_order, exact(game).first_order)


def test_a_dummy_gets_nothing_and_changes_nobody():
    game = random_game(3, 2, seed=7)
    found, without = jagged(CallableGame(3, 3, lambda z: game.values(z[:, :5]))), jagged(game)
    assert found.between[0, :, 2].abs().max() < 1e-12 and found.marginal[0, 5].abs() < 1e-12
    assert_close(found.between[:, :, :2], without.between, rtol=0, atol=1e-12)
    assert_close(found.first_order[:, :5], without.first_order, rtol=0, atol=1e-12)


def test_players_of_an_image_that_do_the_same_get_the_same():
    game = random_game(2, 2, seed=8)
    found = jagged(CallableGame(3, 2, lambda z: game.values(torch.cat([z[:, :1], z[:, 1:2] & z[:, 2:3], z[:, 3:]], 1))))
    assert_close(found.between[0, 1], found.between[0, 2], rtol=0, atol=1e-12)
    assert_close(found.first_order[0, 1], found.first_order[0, 2], rtol=0, atol=1e-12)


def test_swapping_the_images_transposes_the_pairs():
    game = random_game(2, 3, seed=9)
    swapped = CallableGame(3, 2, lambda z: game.values(torch.cat([z[:, 3:], z[:, :3]], 1)))
    assert_close(jagged(swapped).between, jagged(game).between.mT, rtol=0, atol=1e-12)


def test_fifteen_players_an_image_are_no_trouble_for_two_towers():
    found = jagged(relu_game(15, 15, seed=0))
    assert found.n_evaluations.item() == 2 * 2**15
    assert found.completeness_gap.abs() < 1e-12


@pytest.mark.parametrize(
    ("game", "pairs", "needed"),
    [
        (random_game(4, 3, seed=0), ("between",), 2**7),
        (relu_game(6, 2, seed=0), ("between",), 2**6),
        (relu_game(4, 3, seed=0), ("between", "within_query"), 2**7),
    ],
)
def test_too_many_coalitions_are_refused_with_the_number_needed(game, pairs, needed):
    with pytest.raises(ValueError, match=str(needed)):
        jagged(game, pairs, most=needed - 1)
    jagged(game, pairs, most=needed)


@pytest.mark.parametrize("pairs", ["between", ("between", "within")])
def test_unknown_pairs_are_refused(pairs):
    with pytest.raises(ValueError, match="Expected pairs to be a tuple of names out of"):
        jagged(random_game(1, 1, seed=0), pairs)


@pytest.mark.parametrize("cls", [cp.JaggedShapleyTaylor, cp.LayerJaggedShapleyTaylor])
def test_the_classes_pass_on_which_pairs(cls):
    model = cp.SimilarityWrapper(tiny_encoder())
    layer, size = ((), 12) if cls is cp.JaggedShapleyTaylor else ((model.query_encoder[4],), 3)
    masks = {"layer_mask" if layer else "feature_mask": (cp.grid(size, size, 2, 2), cp.grid(size, size, 1, 2))}
    truth = (cp.LayerExactShapleyTaylor if layer else cp.ExactShapleyTaylor)(model, *layer).interactions(images(1), **masks)
    found = cls(model, *layer, pairs=PAIRS).interactions(images(1), **masks)
    assert_close(found.second_order, truth.second_order, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="Expected between to have been computed"):
        cls(model, *layer, pairs=("within_query",)).attribute(images(1), **masks)
