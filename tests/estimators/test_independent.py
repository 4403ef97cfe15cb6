"""Independent paths: against a literal double loop over both paths, the mixed difference, and the jagged index."""

import pytest
import torch
from conftest import opaque, smooth_game
from formulas import gauss_legendre
from test_continuous_index import multilinear_towers

from captum_pairwise.attr.gradient import make_path
from captum_pairwise.estimators.jagged_index import share_dividends
from captum_pairwise.estimators.paths.derivatives import differentiable
from captum_pairwise.estimators.paths.independent import integrate_towers
from captum_pairwise.estimators.paths.integrated import integrate_gradients
from captum_pairwise.games.game import TwoTowerGame, make_one_image_games


def integrate(game, n_steps):
    with differentiable():
        return integrate_towers(game, make_path("gausslegendre", n_steps))


def double_loop(game, n_steps):
    """`Σ_k Σ_l a_k a_l ∂²_ij v(s_k, t_l)` by the Hessian of the value, at every pair of points of the two paths."""
    total = torch.zeros(game.n_query, game.n_retrieved, dtype=torch.float64)
    for s, first in gauss_legendre(n_steps):
        for t, second in gauss_legendre(n_steps):
            at = torch.tensor([s] * game.n_query + [t] * game.n_retrieved, dtype=torch.float64)
            hessian = torch.autograd.functional.hessian(lambda z: game.values(z[None])[0], at)
            total += first * second * hessian[: game.n_query, game.n_query :]
    return total


@pytest.mark.parametrize("sizes", [(5, 4), (2, 9), (9, 2)])  # more players than channels take Jacobians in reverse mode
def test_pairs_match_a_double_loop_over_both_paths(sizes):
    game = smooth_game(*sizes, seed=1)
    torch.testing.assert_close(integrate(game, 5).between[0], double_loop(game, 5), rtol=0, atol=1e-13)


def test_pairs_sum_to_the_mixed_difference_and_all_credit_to_the_similarity():
    game = smooth_game(4, 3, seed=2)
    found = integrate(game, 24)
    corners = torch.tensor([[query] * 4 + [retrieved] * 3 for query in (0, 1) for retrieved in (0, 1)], dtype=torch.float64)
    empty, retrieved, query, full = game.values(corners)
    assert (found.between.sum() - (full - query - retrieved + empty)).abs() < 1e-7
    assert found.completeness_gap.abs() < 1e-7
    torch.testing.assert_close(found.predict(corners.bool())[0], torch.stack([empty, retrieved, query, full]), rtol=0, atol=1e-7)
    torch.testing.assert_close(torch.stack([found.without_query, found.without_retrieved])[:, 0], torch.stack([retrieved, query]))


def test_heat_maps_are_integrated_gradients_with_the_other_image_whole():
    game, path = smooth_game(4, 3, seed=3), make_path("gausslegendre", 6)
    with differentiable():
        maps = torch.cat([integrate_gradients(one, path)["marginal"] for one in make_one_image_games(game)], 1)
    torch.testing.assert_close(integrate(game, 6).given_other, maps, rtol=0, atol=1e-13)


def test_credit_of_multilinear_towers_is_the_jagged_index():
    game = multilinear_towers(3, 4)
    found, expected = integrate(game, 4), share_dividends(game, 2**7)
    for name in ("between", "first_order", "marginal", "given_other"):
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=1e-12)


def test_an_image_without_players_has_no_pairs():
    towers = smooth_game(3, 2, seed=4)
    game = TwoTowerGame(3, 0, towers.embed_query, lambda z: towers.embed_retrieved(z.new_ones(len(z), 2)))
    assert integrate(game, 2).between.shape == (1, 3, 0)


def test_other_games_and_networks_without_gradients_are_refused():
    game = smooth_game(3, 2, seed=5)
    with pytest.raises(ValueError, match="Expected two towers whose similarity is an inner product"):
        integrate(opaque(game), 2)
    with pytest.raises(ValueError, match="no gradient arrives"):
        integrate(TwoTowerGame(3, 2, lambda z: game.embed_query(z).detach(), game.embed_retrieved), 2)
