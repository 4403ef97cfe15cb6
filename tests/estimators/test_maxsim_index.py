"""MaxSim in closed form, against the definitions of the indices on all coalitions."""

from collections.abc import Callable
from itertools import combinations
from math import comb

import pytest
import torch
from conftest import random_tensor
from formulas import Coalition, first_order, heat_maps, shapley_values, subsets, taylor_pairs, value_function
from torch import Tensor

from captum_pairwise.estimators.maxsim_index import INDICES, TokenIndex, make_banzhaf, match_tokens
from captum_pairwise.games.game import CallableGame

N_QUERY, N_RETRIEVED, P = 3, 4, 0.3
ALL = torch.ones(1, N_QUERY, dtype=torch.bool), torch.ones(1, N_RETRIEVED, dtype=torch.bool)


def token_game(scores: Tensor, empty: float) -> CallableGame:
    """`Σ_{q ∈ S} max_{d ∈ S} s_qd`, literally."""

    def value(row: Tensor) -> Tensor:
        query, retrieved = row[: len(scores)].bool(), row[len(scores) :].bool()
        best = [max(own[retrieved].tolist(), default=empty) for own in scores[query]]
        return torch.tensor(sum(best), dtype=torch.float64)

    return CallableGame(*scores.shape, lambda z: torch.stack(list(map(value, z))))


def interaction_pairs(game: CallableGame, weigh: Callable[[int], float]) -> Tensor:
    """`Σ_T weigh(|T|) δ_ij v(T)` over the coalitions without `i` and `j`."""
    value, n_players = value_function(game), game.n_players
    pairs = torch.zeros(n_players, n_players, dtype=torch.float64)
    for i, j in combinations(range(n_players), 2):
        for others in subsets(set(range(n_players)) - {i, j}):
            change = value(others | {i, j}) - value(others | {i}) - value(others | {j}) + value(others)
            pairs[i, j] += weigh(len(others)) * change
    return pairs + pairs.T


def regress(game: CallableGame, weigh: Callable[[Coalition], float]) -> tuple[Tensor, Tensor]:
    """The best fit of single players and pairs to the values of all coalitions; very large weights stand for constraints."""
    n_players, value = game.n_players, value_function(game)
    terms = [frozenset(term) for size in (0, 1, 2) for term in combinations(range(n_players), size)]
    coalitions = list(subsets(range(n_players)))
    table = torch.tensor([[float(term <= row) for term in terms] for row in coalitions], dtype=torch.float64)
    roots = torch.tensor([weigh(row) for row in coalitions], dtype=torch.float64).sqrt()[:, None]
    values = torch.tensor([[value(row)] for row in coalitions], dtype=torch.float64)
    fitted = torch.linalg.lstsq(roots * table, roots * values).solution[:, 0]
    first, pairs = fitted[1 : n_players + 1], torch.zeros(n_players, n_players, dtype=torch.float64)
    for term, credit in zip(terms[n_players + 1 :], fitted[n_players + 1 :], strict=True):
        i, j = term
        pairs[i, j] = pairs[j, i] = credit
    return first, pairs


def shapley_interactions(game: CallableGame) -> Tensor:
    """The Shapley interaction index of Grabisch and Roubens: `1 / ((n-1) C(n-2, t))`."""
    return interaction_pairs(game, lambda size: 1 / ((game.n_players - 1) * comb(game.n_players - 2, size)))


def weigh_faithfully(row: Coalition) -> float:
    """The weights of Faith-Shap (Tsai et al. 2023); the ends are constraints."""
    n, size = N_QUERY + N_RETRIEVED, len(row)
    return 1e12 if size in (0, n) else (n - 1) / (comb(n, size) * size * (n - size))


def shapley_taylor(game: CallableGame) -> tuple[Tensor, Tensor]:
    return first_order(game), taylor_pairs(game)


def shapley(game: CallableGame) -> tuple[Tensor, Tensor]:
    return shapley_values(game), shapley_interactions(game)


def aggregated(game: CallableGame) -> tuple[Tensor, Tensor]:
    """The n-Shapley values of order 2 (Bordt and von Luxburg 2023): half of each interaction is taken from both players."""
    pairs = shapley_interactions(game)
    return shapley_values(game) - pairs.sum(1) / 2, pairs


DEFINITIONS = {
    "shapley-taylor": (INDICES["shapley-taylor"], shapley_taylor, 1e-12),
    "shapley": (INDICES["shapley"], shapley, 1e-12),
    "k-sii": (INDICES["k-sii"], aggregated, 1e-12),
    "faith-shap": (INDICES["faith-shap"], lambda game: regress(game, weigh_faithfully), 1e-8),
    "banzhaf": (make_banzhaf(P), lambda game: regress(game, lambda row: P ** len(row) * (1 - P) ** (game.n_players - len(row))), 1e-12),
}


@pytest.mark.parametrize("name", DEFINITIONS)
@pytest.mark.parametrize("empty", [0.0, 0.25, -1.0])
def test_every_index_follows_its_definition(name: str, empty: float) -> None:
    """Some maxima are below the value of the empty one, and two tokens have equal scores."""
    index, define, tolerance = DEFINITIONS[name]
    scores = random_tensor(N_QUERY, N_RETRIEVED, seed=3)
    scores[0, 1], scores[2] = scores[0, 2], -scores[2].abs() - 1
    game, found = token_game(scores, empty), match_tokens(scores[None], *ALL, index, empty)
    first, pairs = define(game)
    torch.testing.assert_close(found.first_order[0], first, rtol=0, atol=tolerance)
    torch.testing.assert_close(found.second_order[0], pairs, rtol=0, atol=tolerance)
    torch.testing.assert_close(found.given_other[0], heat_maps(game), rtol=0, atol=1e-12)
    assert torch.cat(found.map_gaps).abs().max() < 1e-12
    assert found.full.item() == pytest.approx(value_function(game)(range(game.n_players)), abs=1e-12)


@pytest.mark.parametrize("name", ["shapley-taylor", "k-sii", "faith-shap"])
def test_efficient_indices_sum_to_the_similarity(name: str) -> None:
    scores = random_tensor(2, N_QUERY, N_RETRIEVED)
    found = match_tokens(scores, *(tokens.expand(2, -1) for tokens in ALL), INDICES[name])
    assert found.completeness_gap.abs().max() < 1e-12


@pytest.mark.parametrize("index", [entry[0] for entry in DEFINITIONS.values()], ids=list(DEFINITIONS))
def test_padding_has_no_credit_and_changes_none(index: TokenIndex) -> None:
    scores, empty = random_tensor(1, N_QUERY, N_RETRIEVED, seed=1), 0.5
    padded = torch.full((1, N_QUERY + 2, N_RETRIEVED + 1), 7.0, dtype=torch.float64)
    query, retrieved = torch.tensor([[True, False, True, True, False]]), torch.tensor([[True, True, False, True, True]])
    rows, columns = query[0].nonzero()[:, 0], retrieved[0].nonzero()[:, 0]
    padded[0, rows[:, None], columns] = scores[0]
    found, expected = match_tokens(padded, query, retrieved, index, empty), match_tokens(scores, *ALL, index, empty)
    kept = torch.cat([rows, len(query[0]) + columns])
    for name in ("first_order", "given_other"):
        torch.testing.assert_close(found[name][:, kept], expected[name], rtol=0, atol=1e-12)
        assert found[name].count_nonzero() <= len(kept)
    torch.testing.assert_close(found.second_order[:, kept[:, None], kept], expected.second_order, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.second_order.abs().sum(), expected.second_order.abs().sum(), rtol=1e-12, atol=0)
    for name in ("full", "empty", "without_query", "without_retrieved"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=0, atol=1e-12)


def test_a_side_of_padding_alone() -> None:
    nothing = torch.zeros(1, N_RETRIEVED, dtype=torch.bool)
    found = match_tokens(random_tensor(1, N_QUERY, N_RETRIEVED), ALL[0], nothing, INDICES["shapley-taylor"], 0.5)
    assert found.full.item() == found.without_retrieved.item() == N_QUERY * 0.5
    assert found.second_order.count_nonzero() == 0 and found.completeness_gap.abs().item() < 1e-12
