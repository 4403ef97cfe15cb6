"""The fit of maps on coalitions, against its definition written out."""

import pytest
import torch
from conftest import relu_game, seeded
from explanation_cases import make_pair

from captum_pairwise.estimators.enumeration import exact
from captum_pairwise.explanations.held_out import measure_fit
from captum_pairwise.games.game import CallableGame

N_QUERY, N_RETRIEVED = 4, 3


def slow_fit(game, credits, coalitions, side):
    """One minus the variance that is left, with the other image whole."""
    values, left = [], []
    for row in coalitions:
        whole = torch.ones(N_RETRIEVED if side == 0 else N_QUERY, dtype=torch.bool)
        z = torch.cat([row, whole] if side == 0 else [whole, row])
        values.append(game.values(z[None]).item())
        left.append(values[-1] - sum(credit for credit, is_present in zip(credits.tolist(), row, strict=True) if is_present))
    return 1 - torch.tensor(left).var().item() / torch.tensor(values).var().item()


def test_the_fit_is_the_share_of_the_variance():
    game, n_coalitions = relu_game(N_QUERY, N_RETRIEVED, 3), 20
    interactions = exact(game)
    generator = seeded(5)
    query = torch.rand(n_coalitions, N_QUERY, generator=generator) < 0.5
    retrieved = torch.rand(n_coalitions, N_RETRIEVED, generator=generator) < 0.5
    expected = slow_fit(game, interactions.query_map[0], query, 0), slow_fit(game, interactions.retrieved_map[0], retrieved, 1)
    assert measure_fit(game, interactions, seeded(5), n_coalitions) == pytest.approx(expected, abs=1e-6)


def test_the_fit_of_an_additive_game_is_perfect():
    weights = torch.tensor([0.3, -0.1, 0.2, 0.4, 0.5, -0.6, 0.1], dtype=torch.float64)
    game = CallableGame(N_QUERY, N_RETRIEVED, lambda z: 2.0 + z.double() @ weights)
    assert measure_fit(game, exact(game), seeded(0)) == pytest.approx((1, 1), abs=1e-9)


def test_the_constant_is_free():
    game = CallableGame(2, 1, lambda z: z.double().sum(1) + 7)
    interactions = make_pair([1.0, 1.0], [1.0])  # the right credits, with ends of another game
    assert measure_fit(game, interactions, seeded(0)) == pytest.approx((1, 1), abs=1e-9)


def test_wrong_credits_have_a_negative_fit():
    game = CallableGame(2, 1, lambda z: z.double().sum(1))
    assert measure_fit(game, make_pair([-1.0, -1.0], [1.0]), seeded(0))[0] < 0


def test_the_fit_is_unknown_where_nothing_changes_and_without_maps():
    constant = CallableGame(2, 1, lambda z: torch.ones(len(z)))
    assert all(torch.tensor(measure_fit(constant, make_pair([0.0, 0.0], [0.0]), seeded(0))).isnan())
