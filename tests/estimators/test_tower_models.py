"""Every interaction index of two towers from one sample, against brute force, and with standard errors that hold."""

import pytest
import torch
from conftest import relu_game
from torch import Tensor
from torch.testing import assert_close

from captum_pairwise.estimators.coalitions import all_coalitions, interaction_index
from captum_pairwise.estimators.enumeration import exact
from captum_pairwise.estimators.towers.factorisation import factorise
from captum_pairwise.estimators.towers.sampled_tower import TowerOptions
from captum_pairwise.games.game import CallableGame, TwoTowerGame
from captum_pairwise.results.index import NAMES, Index, parse_index
from captum_pairwise.results.interactions import Interactions

INDICES = [parse_index(name) for name in NAMES] + [parse_index("banzhaf", (0.3, 0.7))]
every_index = pytest.mark.parametrize("index", INDICES, ids=str)
sizes = pytest.mark.parametrize("sizes", [(4, 4), (3, 5)])


def opaque(game: TwoTowerGame) -> CallableGame:
    return CallableGame(game.n_query, game.n_retrieved, game.values)


def truth(game: TwoTowerGame, index: Index) -> tuple[Tensor, Tensor, Tensor]:
    """The constant, the players and the pairs, from the dividends of all coalitions of both images."""
    return interaction_index(game.values(all_coalitions(game.n_players)), index, game.n_query)


def get_constant(result: Interactions) -> Tensor:
    return result.empty[0] if result.constant is None else result.constant[0]


@every_index
@sizes
def test_enumerated_towers_and_opaque_games_match_the_dividends(index: Index, sizes: tuple[int, int]) -> None:
    constant, first, second = truth(relu_game(*sizes, 0), index)
    for game in (relu_game(*sizes, 0), opaque(relu_game(*sizes, 0))):
        result = exact(game, index=index)
        assert_close(result.second_order[0], second, rtol=0, atol=1e-12)
        assert_close(result.first_order[0], first, rtol=0, atol=1e-12)
        assert_close(get_constant(result), constant, rtol=0, atol=1e-12)
        assert result.index == index
        if index.is_efficient:
            assert result.completeness_gap.abs() < 1e-12


@every_index
@sizes
def test_one_sample_gives_every_index(index: Index, sizes: tuple[int, int]) -> None:
    game = relu_game(*sizes, 0)
    sample = factorise(game, 2**5, TowerOptions(within=True))
    other, (constant, first, second) = sample.as_index(index.name, index.p or 0.5), truth(game, index)
    assert_close(other.second_order[0], second, rtol=0, atol=1e-12)
    assert_close(other.first_order[0], first, rtol=0, atol=1e-12)
    assert_close(get_constant(other), constant, rtol=0, atol=1e-12)
    assert other.n_evaluations == sample.n_evaluations == 2 ** sizes[0] + 2 ** sizes[1]


@sizes
@pytest.mark.parametrize("p", [0.5, (0.3, 0.7)])
def test_banzhaf_without_pairs_within_an_image_is_the_best_fit_of_the_other_terms(sizes: tuple[int, int], p: float) -> None:
    """Weighted least squares of the values of all coalitions on 1, every player and every pair between the images."""
    game, index = relu_game(*sizes, 0), parse_index("banzhaf", p)
    members = all_coalitions(game.n_players).double()
    query, retrieved = members[:, : sizes[0]], members[:, sizes[0] :]
    pairs = (query[:, :, None] * retrieved[:, None]).flatten(1)
    presence = torch.tensor([index.probabilities[0]] * sizes[0] + [index.probabilities[1]] * sizes[1], dtype=torch.float64)
    root = torch.where(members > 0, presence, 1 - presence).prod(1, keepdim=True).sqrt()
    columns = root * torch.cat([torch.ones(len(members), 1).double(), members, pairs], 1)
    fit = torch.linalg.lstsq(columns, root * game.values(members.bool())[:, None], driver="gelsd").solution[:, 0]
    result = factorise(game, 2**5, TowerOptions(index=index))
    assert_close(get_constant(result), fit[0], rtol=0, atol=1e-12)
    assert_close(result.first_order[0], fit[1 : 1 + game.n_players], rtol=0, atol=1e-12)
    assert_close(result.between[0].flatten(), fit[1 + game.n_players :], rtol=0, atol=1e-12)


@every_index
def test_sampled_credit_of_an_efficient_index_sums_to_the_gain(index: Index) -> None:
    result = factorise(relu_game(9, 8, 0), 60, TowerOptions(within=True, index=index))
    if index.is_efficient:
        assert result.completeness_gap.abs() < 1e-9
        pairs = result.second_order.triu(1).sum()
        assert_close(result.first_order.sum() + pairs, (result.full - result.empty)[0], rtol=0, atol=1e-9)


@pytest.mark.slow
@every_index
def test_two_standard_errors_cover_the_truth(index: Index) -> None:
    inside: dict[str, list[Tensor]] = {}
    for seed in range(6):
        game, options = relu_game(9, 8, seed), TowerOptions(within=True, index=index)
        result, (constant, first, second) = factorise(game, 100, options), truth(relu_game(9, 8, seed), index)
        blocks = {
            "first_order": (result.first_order[0], first, result.errors["first_order"][0]),
            "between": (result.between[0], second[:9, 9:], result.errors["between"][0]),
            "within_query": (result.within_query[0], second[:9, :9], result.errors["within_query"][0]),
        }
        if result.constant is not None:
            assert (result.constant[0] - constant).abs() <= 4 * result.constant_error[0] + 1e-9
        for name, (estimate, expected, error) in blocks.items():
            inside.setdefault(name, []).append(((estimate - expected).abs() <= 2 * error + 1e-9).double().mean())
    coverage = {name: torch.stack(shares).mean().item() for name, shares in inside.items()}
    assert all(share >= 0.85 for share in coverage.values()), coverage
