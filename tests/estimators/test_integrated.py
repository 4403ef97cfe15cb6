"""Path methods on games, compared with the double integral, Captum, the discrete indices, and the axioms."""

from dataclasses import replace
from functools import cache

import captum.attr as ca
import pytest
import torch
from conftest import opaque, random_game, seeded, smooth_game
from formulas import continuous_taylor, integrated_hessian

from captum_pairwise.attr.gradient import make_path
from captum_pairwise.estimators.enumeration import exact
from captum_pairwise.estimators.paths.continuous_index import gauss_index, random_index
from captum_pairwise.estimators.paths.integrated import integrate_gradients, integrate_hessians
from captum_pairwise.games.game import CallableGame, TwoTowerGame
from captum_pairwise.results.index import Index

PATH = make_path("gausslegendre", 24)
TAYLOR = Index("shapley-taylor")


smooth_five_by_four = cache(lambda seed: smooth_game(5, 4, seed))  # cached, because the double integral is slow


def ordered_pairs(found):
    """The paper's matrix `Γ` with its diagonal."""
    return found.second_order[0] / 2 + torch.diag(found.first_order[0])


@pytest.mark.parametrize("as_towers", [True, False])
@pytest.mark.parametrize("seed", range(2))
def test_single_integral_matches_the_double_integral(as_towers, seed):
    towers = smooth_five_by_four(seed)
    game, expected = towers if as_towers else opaque(towers), integrated_hessian(towers)
    found = integrate_hessians(game, gauss_index(None, 24), None)
    assert (ordered_pairs(found) - expected).norm() < 1e-5 * expected.norm()
    assert found.completeness_gap.abs() < 1e-5


@pytest.mark.parametrize("as_towers", [True, False])
def test_continuous_taylor_index_matches_its_formula(as_towers):
    towers = smooth_game(3, 4, 0)
    first, second = continuous_taylor(towers)
    found = integrate_hessians(towers if as_towers else opaque(towers), gauss_index(TAYLOR, 24), None)
    torch.testing.assert_close(found.first_order[0], first, rtol=0, atol=1e-7)
    torch.testing.assert_close(found.second_order[0], second, rtol=0, atol=1e-7)
    assert found.completeness_gap.abs() < 1e-5


@pytest.mark.parametrize("index", [None, TAYLOR])
def test_marginals_match_captums_integrated_gradients(index):
    game = smooth_game(5, 4, 1)
    expected = ca.IntegratedGradients(game.values).attribute(torch.ones(1, 9, dtype=torch.float64), n_steps=50)
    whole = integrate_hessians(game, gauss_index(index, 24), None)
    pairs = integrate_hessians(game, gauss_index(index, 24), PATH)
    for marginal in (whole.marginal, pairs.marginal, integrate_gradients(game, PATH).marginal):
        torch.testing.assert_close(marginal, expected, rtol=0, atol=1e-5)
    assert pairs.completeness_gap.abs() < 1e-5


@pytest.mark.parametrize("sizes", [(5, 4), (2, 6), (6, 2)])
@pytest.mark.parametrize("index", [None, TAYLOR])
def test_pairs_between_the_images_match_the_complete_index(sizes, index):
    towers = smooth_game(*sizes, seed=2)
    whole = integrate_hessians(towers, gauss_index(index, 8), None)
    for game in (towers, opaque(towers)):
        found = integrate_hessians(game, gauss_index(index, 8), PATH)
        torch.testing.assert_close(found.between, whole.between, rtol=0, atol=1e-14)
        assert found.first_order is None and found.within_query is None and found.within_retrieved is None


@pytest.mark.parametrize("as_towers", [True, False])
def test_pairs_within_an_image_are_symmetric_to_the_last_digit(as_towers):
    towers = smooth_game(6, 5, seed=4)
    found = integrate_hessians(towers if as_towers else opaque(towers), gauss_index(TAYLOR, 7), None)
    for block in (found.within_query, found.within_retrieved):
        assert block.abs().max() > 1e-3 and torch.equal(block, block.mT)


def multilinear(game):
    """Owen's multilinear extension: the expected value if each player is present with its own probability."""
    table = game.values(torch.tensor([[(s >> i) & 1 for i in range(game.n_players)] for s in range(2**game.n_players)]).bool())

    def values(z):
        members = torch.tensor([[(s >> i) & 1 for i in range(game.n_players)] for s in range(2**game.n_players)]).double()
        return torch.where(members[None] == 1, z[:, None].double(), 1 - z[:, None].double()).prod(2) @ table

    return CallableGame(game.n_query, game.n_retrieved, values)


def test_continuous_taylor_index_of_a_multilinear_game_is_the_discrete_index():
    game = random_game(3, 2, seed=0)
    expected, found = exact(game), integrate_hessians(multilinear(game), gauss_index(TAYLOR, 4), None)
    for name in ("first_order", "between", "within_query", "within_retrieved", "marginal"):
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=1e-12)


def test_integrated_hessians_of_a_bilinear_pair_are_half_of_the_discrete_index():
    towers = [torch.randn(n, 4, generator=seeded(n), dtype=torch.float64) for n in (3, 2)]
    game = TwoTowerGame(3, 2, lambda z: z.double() @ towers[0] + 1, lambda z: z.double() @ towers[1] - 2)
    discrete = towers[0] @ towers[1].T
    found = integrate_hessians(game, gauss_index(None, 4), None)
    torch.testing.assert_close(found.between[0], discrete / 2, rtol=0, atol=1e-13)
    torch.testing.assert_close(integrate_hessians(game, gauss_index(TAYLOR, 4), PATH).between[0], discrete, rtol=0, atol=1e-13)
    torch.testing.assert_close(found.marginal, exact(game).marginal, rtol=0, atol=1e-13)


@pytest.mark.parametrize("index", [None, TAYLOR])
def test_dummy_has_zero_credit(index):
    towers = smooth_game(4, 3, 3)
    seen = torch.tensor([1.0, 0, 1, 1])
    game = TwoTowerGame(4, 3, lambda z: towers.embed_query(z * seen), towers.embed_retrieved)
    for found in (integrate_hessians(game, gauss_index(index, 6), PATH), integrate_hessians(game, gauss_index(index, 6), None)):
        assert (found.between[0, 1] == 0).all() and found.marginal[0, 1] == 0


@pytest.mark.slow
@pytest.mark.parametrize("index", [None, TAYLOR])
@pytest.mark.parametrize("path", [None, PATH], ids=["whole", "between"])
def test_random_nodes_converge_within_their_standard_errors(index, path):
    game = smooth_game(4, 3, 4)
    expected = integrate_hessians(game, gauss_index(index, 32), path)
    runs = [integrate_hessians(game, random_index(index, 50, seeded(seed)), path, is_random=True) for seed in range(40)]
    assert all(run.standard_error is not None for run in runs)
    for name in ("between",) if path is not None else ("between", "within_query", "first_order", "marginal"):
        runs_of, errors = (
            torch.cat(blocks).flatten(1) for blocks in zip(*((run[name], run.standard_error[name]) for run in runs), strict=True)
        )
        off, varies = runs_of - expected[name].flatten(), errors[0] > 0
        in_errors = (off / errors)[:, varies]
        assert 0.75 < in_errors.square().mean().sqrt() < 1.33
        assert (in_errors.mean(0).abs() < 4 / len(runs) ** 0.5).all()
        assert (off[:, ~varies].abs() < 1e-7).all()


@pytest.mark.parametrize("index", [None, TAYLOR])
def test_the_standard_error_is_that_of_a_mean_of_independent_nodes(index):
    """`s / sqrt(n)` of `n` times the term of each node, with `n - 1` under the variance."""
    game, nodes, n_nodes = smooth_game(3, 2, 7), random_index(index, 5, seeded(1)), 5
    found = integrate_hessians(game, nodes, PATH, is_random=True)
    alone = [replace(nodes, **{name: getattr(nodes, name)[k : k + 1] for name in ("nodes", "pairs", "slopes")}) for k in range(n_nodes)]
    samples = [n_nodes * integrate_hessians(game, node, PATH).between for node in alone]
    mean = sum(samples) / n_nodes
    variance = sum((sample - mean) ** 2 for sample in samples) / (n_nodes - 1)
    torch.testing.assert_close(found.between, mean, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.standard_error.between, (variance / n_nodes).sqrt(), rtol=0, atol=1e-12)


def test_random_nodes_depend_on_the_seed_alone():
    game = smooth_game(3, 3, 5)
    state = torch.get_rng_state()
    one, same, other = (integrate_hessians(game, random_index(None, 5, seeded(seed)), PATH).between for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert torch.equal(state, torch.get_rng_state())


def test_evaluations_are_counted():
    game = smooth_game(3, 2, 6)
    found = integrate_hessians(game, gauss_index(None, 4), PATH)
    # both ends; at 4 nodes the embeddings and one product for each player; at 24 nodes the gradients of both towers
    assert found.n_evaluations.item() == 4 + 4 * (1 + 3) + 4 * (1 + 2) + 24 * 2
