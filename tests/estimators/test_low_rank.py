"""Pairs of low rank against products of whole Jacobians, and their errors against the true ones."""

import pytest
import torch
from conftest import random_tensor

from captum_pairwise.estimators.paths.continuous_index import gauss_index
from captum_pairwise.estimators.paths.derivatives import differentiable
from captum_pairwise.estimators.paths.integrated import integrate_hessians
from captum_pairwise.estimators.paths.low_rank import MOST_EXACT, sum_low_rank
from captum_pairwise.estimators.quadrature import diagonal_path
from captum_pairwise.games.game import TwoTowerGame
from captum_pairwise.results.index import TAYLOR_INDEX, parse_index

N_QUERY, N_RETRIEVED, N_CHANNELS = MOST_EXACT + 6, MOST_EXACT + 1, 96
INDEX = gauss_index(TAYLOR_INDEX, 3)


@pytest.fixture(autouse=True)
def take_derivatives():
    with differentiable():
        yield


def make_tower(n_players, seed, decay):
    """A smooth tower whose directions have sizes `decay^k`."""
    first, second = random_tensor(n_players, N_CHANNELS, seed=seed), random_tensor(N_CHANNELS, N_CHANNELS, seed=seed + 1)
    sizes = decay ** torch.arange(N_CHANNELS, dtype=torch.float64)
    return lambda z: torch.tanh(z.double() @ first / n_players**0.5) @ second * sizes


def make_game(decay, n_query=N_QUERY):
    return TwoTowerGame(n_query, N_RETRIEVED, make_tower(n_query, 0, decay), make_tower(N_RETRIEVED, 5, decay))


def compute_exactly(game, index=INDEX):
    return integrate_hessians(game, index, diagonal_path(4))


@pytest.mark.parametrize("decay", [0.5, 0.9, 1.0])
def test_pairs_are_within_the_tolerance(decay):
    game = make_game(decay)
    exact = compute_exactly(game).between
    for tolerance in (0.1, 1e-3):
        credits, errors = sum_low_rank(game, INDEX, tolerance)
        true_error = (credits["between"] - exact).square().mean().sqrt()
        assert true_error <= 2 * tolerance * exact.square().mean().sqrt()  # the error is measured with 4 random products
        assert errors["between"].shape == exact.shape
        assert true_error / 3 <= errors["between"].max() + 1e-12 * exact.abs().max()


def test_all_directions_give_the_exact_pairs():
    game = make_game(1.0)
    exact = compute_exactly(game).between
    pairs = sum_low_rank(game, INDEX, 1e-13)[0]["between"]
    torch.testing.assert_close(pairs, exact, rtol=0, atol=1e-10 * exact.abs().max().item())


def test_the_measured_error_is_unbiased():
    """With one block of directions: its square is the mean square of random products with the true error."""
    game = make_game(0.97)
    credits, errors = sum_low_rank(game, INDEX, 10.0)
    true_error = (credits["between"] - compute_exactly(game).between).square().mean().sqrt()
    assert true_error > 0.05 * credits["between"].square().mean().sqrt()
    assert 0.5 < (errors["between"].max() / true_error).item() < 2


def test_fewer_products_are_computed_than_players():
    game, exact = make_game(0.5), make_game(0.5)
    sum_low_rank(game, INDEX, 0.01)
    compute_exactly(exact)
    assert 0 < game.n_evaluations < exact.n_evaluations / 2


def test_few_players_affine_and_other_games_are_left_to_exact_products():
    assert sum_low_rank(make_game(0.5, MOST_EXACT), INDEX, 0.1) is None
    towers = make_game(0.5)
    affine = TwoTowerGame(N_QUERY, N_RETRIEVED, towers.embed_query, towers.embed_retrieved, is_affine=True)
    assert sum_low_rank(affine, INDEX, 0.1) is None


class WithoutForwardMode(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values):
        return values.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient.clone()


def test_a_tower_without_forward_mode_has_exact_pairs():
    game = make_game(0.5)
    plain = make_tower(N_RETRIEVED, 5, 0.5)
    other = TwoTowerGame(N_QUERY, N_RETRIEVED, make_tower(N_QUERY, 0, 0.5), lambda z: plain(WithoutForwardMode.apply(z)))
    assert sum_low_rank(other, INDEX, 0.1) is None
    found = integrate_hessians(other, INDEX, diagonal_path(4), tolerance=0.1)
    torch.testing.assert_close(found.between, compute_exactly(game).between)
    assert found.standard_error is None


@pytest.mark.parametrize("name", ["faith-shap", "banzhaf"])
def test_other_indices_and_the_credit_of_players_follow(name):
    game, index = make_game(0.5), gauss_index(parse_index(name, 0.5), 3)
    exact, found = compute_exactly(game, index), integrate_hessians(game, index, diagonal_path(4), tolerance=1e-6)
    for block in ("between", "first_order", "marginal"):
        if getattr(exact, block) is not None:
            scale = exact[block].abs().max().item()
            torch.testing.assert_close(found[block], exact[block], rtol=0, atol=1e-5 * scale)
