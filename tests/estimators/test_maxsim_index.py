"""MaxSim in closed form, against the definitions of the indices on all coalitions."""

from collections.abc import Callable
from itertools import combinations
from math import comb, prod

import pytest
import torch
from conftest import random_tensor
from formulas import Coalition, first_order, heat_maps, shapley_values, subsets, taylor_pairs, value_function
from torch import Tensor

from captum_pairwise.estimators.maxsim_index import match_tokens
from captum_pairwise.games.game import CallableGame
from captum_pairwise.results.index import CO_MOEBIUS, EFFICIENT, NAMES, Index, parse_index

N_QUERY, N_RETRIEVED, P = 3, 4, 0.3
INDICES = {name: parse_index(name, P) for name in NAMES} | {"two probabilities": parse_index("banzhaf", (0.3, 0.6))}
WEIGHTS = {  # `f(p)` of `∫ f(p) E_p[δ v] dp`, as coefficients of 1, p, p²
    "shapley-taylor": (2.0, -2.0, 0.0),
    "shapley": (1.0, 0.0, 0.0),
    "k-sii": (1.0, 0.0, 0.0),
    "faith-shap": (0.0, 6.0, -6.0),
    "chaining": (0.0, 2.0, 0.0),
}
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
    "shapley-taylor": (shapley_taylor, 1e-12),
    "shapley": (shapley, 1e-12),
    "k-sii": (aggregated, 1e-12),
    "faith-shap": (lambda game: regress(game, weigh_faithfully), 1e-8),
    "banzhaf": (lambda game: regress(game, lambda row: P ** len(row) * (1 - P) ** (game.n_players - len(row))), 1e-12),
}


@pytest.mark.parametrize("name", DEFINITIONS)
@pytest.mark.parametrize("empty", [0.0, 0.25, -1.0])
def test_every_index_follows_its_definition(name: str, empty: float) -> None:
    """Some maxima are below the value of the empty one, and two tokens have equal scores."""
    define, tolerance = DEFINITIONS[name]
    scores = random_tensor(N_QUERY, N_RETRIEVED, seed=3)
    scores[0, 1], scores[2] = scores[0, 2], -scores[2].abs() - 1
    game, found = token_game(scores, empty), match_tokens(scores[None], *ALL, INDICES[name], empty)
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


@pytest.mark.parametrize("index", INDICES.values(), ids=list(INDICES))
def test_padding_has_no_credit_and_changes_none(index: Index) -> None:
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
    for name in ("full", "empty", "without_query", "without_retrieved", "constant"):
        if getattr(expected, name) is None:
            continue
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=0, atol=1e-12)


def test_a_side_of_padding_alone() -> None:
    nothing = torch.zeros(1, N_RETRIEVED, dtype=torch.bool)
    found = match_tokens(random_tensor(1, N_QUERY, N_RETRIEVED), ALL[0], nothing, INDICES["shapley-taylor"], 0.5)
    assert found.full.item() == found.without_retrieved.item() == N_QUERY * 0.5
    assert found.second_order.count_nonzero() == 0 and found.completeness_gap.abs().item() < 1e-12


def list_dividends(scores: Tensor, empty: float) -> dict[Coalition, float]:
    """The dividends of all coalitions of tokens, from the values of all coalitions."""
    game = token_game(scores, empty)
    coalitions = list(subsets(range(game.n_players)))
    rows = torch.tensor([[k in coalition for k in range(game.n_players)] for coalition in coalitions])
    left = dict(zip(coalitions, game.values(rows).tolist(), strict=True))
    for player in range(game.n_players):  # the Moebius transform, one player after the other
        left = {row: value - (left[row - {player}] if player in row else 0) for row, value in left.items()}
    return left


def integrate(size: int, name: str) -> float:
    """`∫ f(p) p^size dp`."""
    return sum(weight / (size + power + 1) for power, weight in enumerate(WEIGHTS[name]))


def share_dividends_slowly(dividends: dict[Coalition, float], name: str, index: Index, n_query: int) -> tuple[Tensor, Tensor, float]:
    """Single players, pairs and the constant of an index, by its definition on the dividends."""
    players = sorted(max(dividends, key=len))
    ps = [(index.p or (0.0, 0.0))[int(k >= n_query)] for k in players]

    def presence(others: Coalition) -> float:
        return prod(ps[k] for k in others)

    def weigh(others: Coalition, integral: float) -> float:
        at_one = {"moebius": float(not others), "co-moebius": 1.0}
        return presence(others) if index.p is not None else at_one.get(name, integral)

    pairs, first = torch.zeros(len(players), len(players), dtype=torch.float64), torch.zeros(len(players), dtype=torch.float64)
    for row, value in dividends.items():
        for i, j in combinations(row, 2):
            pairs[i, j] += value * weigh(row - {i, j}, integrate(len(row) - 2, name) if name in WEIGHTS else 0.0)
        for i in row:  # the Shapley value, or the mean effect at the index's own probabilities
            first[i] += value * weigh(row - {i}, 1 / len(row))
    pairs = pairs + pairs.T
    if index.is_efficient:
        first = first - pairs.sum(1) / 2
    constant = dividends[frozenset()] if name != CO_MOEBIUS else sum(dividends.values())
    if index.p is not None:
        p = torch.tensor(ps, dtype=torch.float64)
        first = first - pairs @ p
        constant = sum(value * presence(row) for row, value in dividends.items()) - (p @ first + p @ pairs @ p / 2).item()
    return first, pairs, constant


@pytest.fixture(scope="module")
def dividends() -> tuple[Tensor, float, dict[Coalition, float]]:
    """Scores of five and six tokens, with the value of an empty maximum, and the dividends of their game."""
    scores, empty = random_tensor(5, 6, seed=7), 0.2
    scores[1] = -scores[1].abs()  # every maximum is below the empty one
    scores[2, 3] = scores[2, 4]
    return scores, empty, list_dividends(scores, empty)


@pytest.mark.parametrize("name", INDICES)
def test_every_index_follows_from_the_dividends_of_five_and_six_tokens(
    name: str, dividends: tuple[Tensor, float, dict[Coalition, float]]
) -> None:
    scores, empty, shares = dividends
    tokens = torch.ones(1, 5, dtype=torch.bool), torch.ones(1, 6, dtype=torch.bool)
    found = match_tokens(scores[None], *tokens, INDICES[name], empty)
    first, pairs, constant = share_dividends_slowly(shares, name, INDICES[name], 5)
    torch.testing.assert_close(found.second_order[0], pairs, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.first_order[0], first, rtol=0, atol=1e-12)
    assert (found.empty if found.constant is None else found.constant).item() == pytest.approx(constant, abs=1e-12)
    assert found.index == INDICES[name]
    if INDICES[name].name in EFFICIENT:
        assert found.completeness_gap.abs().item() < 1e-12


@pytest.mark.parametrize("name", NAMES)
def test_kept_scores_give_every_other_index(name: str) -> None:
    scores, empty = random_tensor(2, N_QUERY, N_RETRIEVED, seed=5), torch.tensor([0.1, -0.2], dtype=torch.float64)
    tokens = torch.tensor([[True, True, False]] * 2), torch.tensor([[True] * 4, [True, False, True, True]])
    found = match_tokens(scores, *tokens, INDICES["faith-shap"], empty).as_index(name, P)
    expected = match_tokens(scores, *tokens, INDICES[name], empty)
    for block in ("first_order", "between", "within_retrieved", "given_other", "full", "without_retrieved", "constant"):
        torch.testing.assert_close(getattr(found, block), getattr(expected, block), rtol=0, atol=0)
    assert found.index == expected.index
    torch.testing.assert_close(found.as_index("faith-shap").between, match_tokens(scores, *tokens, INDICES["faith-shap"], empty).between)


def test_the_prediction_at_its_own_probability_is_unbiased() -> None:
    """Banzhaf is a regression with a constant: over coalitions of its law, its prediction has the mean of the similarity."""
    scores = random_tensor(N_QUERY, N_RETRIEVED, seed=2)
    found, game = match_tokens(scores[None], *ALL, INDICES["two probabilities"], 0.3), token_game(scores, 0.3)
    rows = torch.cartesian_prod(*[torch.tensor([False, True])] * game.n_players)
    present = torch.where(torch.arange(game.n_players) < N_QUERY, 0.3, 0.6).double()
    law = torch.where(rows, present, 1 - present).prod(1)
    left = game.values(rows) - found.predict(rows)[0]
    assert abs((law @ left).item()) < 1e-12
    moments = law @ (left[:, None] * rows.double())
    assert moments.abs().max() < 1e-12  # least squares: what is left is orthogonal to every player
