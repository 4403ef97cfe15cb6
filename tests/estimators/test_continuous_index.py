"""Interaction indices along the diagonal: of multilinear games they are the discrete indices, by their dividends."""

from itertools import combinations
from math import prod

import pytest
import torch
from conftest import opaque, random_tensor, seeded, smooth_game

from captum_pairwise.attr.gradient import make_path
from captum_pairwise.estimators.coalitions import all_coalitions
from captum_pairwise.estimators.index_path import EXPONENTS
from captum_pairwise.estimators.paths.continuous_index import gauss_index, random_index
from captum_pairwise.estimators.paths.derivatives import differentiable
from captum_pairwise.estimators.paths.integrated import integrate_hessians, integrate_with_maps
from captum_pairwise.games.game import TwoTowerGame
from captum_pairwise.results.index import NAMES, Index, parse_index

INDICES = [*(parse_index(name) for name in NAMES), parse_index("banzhaf", 0.3), parse_index("banzhaf", (0.2, 0.7))]
EFFICIENT = [index for index in INDICES if index.is_efficient]
OTHERS = [index for index in INDICES if not index.is_efficient]
PATH = make_path("gausslegendre", 8)
# the share of a dividend of t players: for each two of them, and for each of them
PAIRS = {
    "shapley-taylor": lambda t: 2 / (t * (t - 1)),
    "shapley": lambda t: 1 / (t - 1),
    "k-sii": lambda t: 1 / (t - 1),
    "faith-shap": lambda t: 6 / (t * (t + 1)),
    "chaining": lambda t: 2 / t,
    "moebius": lambda t: float(t == 2),
    "co-moebius": lambda t: 1.0,
}
SINGLES = {
    "shapley-taylor": lambda t: float(t == 1),
    "shapley": lambda t: 1 / t,
    "k-sii": lambda t: 1 / t - (t > 1) / 2,
    "faith-shap": lambda t: 4 / t - 6 / (t + 1),
    "chaining": lambda t: 1 / t,
    "moebius": lambda t: float(t == 1),
    "co-moebius": lambda t: 1.0,
}


def multilinear_towers(n_query, n_retrieved, seed=0):
    """Towers with a random embedding for each coalition, and between them Owen's extension."""

    def tower(n_players, seed):
        table, members = random_tensor(2**n_players, 5, seed=seed), all_coalitions(n_players)
        return lambda z: torch.where(members, z.double()[:, None], 1 - z.double()[:, None]).prod(2) @ table

    return TwoTowerGame(n_query, n_retrieved, tower(n_query, 2 * seed), tower(n_retrieved, 2 * seed + 1))


def list_dividends(game):
    """`d(T) = Σ_{S⊆T} (-1)^{|T|-|S|} v(S)`, one coalition at a time."""
    players = range(game.n_players)
    coalitions = [frozenset(chosen) for size in range(game.n_players + 1) for chosen in combinations(players, size)]
    values = game.values(torch.tensor([[player in one for player in players] for one in coalitions]))
    value = dict(zip(coalitions, values.tolist(), strict=True))
    dividends = {}
    for whole in coalitions:
        parts = (frozenset(chosen) for size in range(len(whole)) for chosen in combinations(whole, size))
        dividends[whole] = value[whole] - sum(dividends[part] for part in parts)
    return dividends


def compute_index(game, index, between_only):
    """Constant, first order and all pairs by the definition, from the dividends."""
    n_players, n_query, dividends = game.n_players, game.n_query, list_dividends(game)
    first, second = torch.zeros(n_players, dtype=torch.float64), torch.zeros(n_players, n_players, dtype=torch.float64)
    present = [index.probabilities[player >= n_query] for player in range(n_players)]
    for whole, dividend in dividends.items():
        for i in whole:
            first[i] += dividend * (prod(present[k] for k in whole - {i}) if index.p else SINGLES[index.name](len(whole)))
        for i, j in combinations(sorted(whole), 2):
            second[i, j] += dividend * (prod(present[k] for k in whole - {i, j}) if index.p else PAIRS[index.name](len(whole)))
    if between_only:
        second[:n_query, :n_query] = second[n_query:, n_query:] = 0
    second = second + second.T
    constant = dividends[frozenset()]
    if index.p:
        weights = torch.tensor(present, dtype=torch.float64)
        first = first - second @ weights
        mean = sum(dividend * prod(present[k] for k in whole) for whole, dividend in dividends.items())
        constant = (mean - first @ weights - weights @ second @ weights / 2).item()
    return sum(dividends.values()) if index.name == "co-moebius" else constant, first, second


@pytest.fixture(scope="module", params=[(4, 4), (3, 5)], ids=["4+4", "3+5"])
def towers(request):
    return multilinear_towers(*request.param)


@pytest.mark.parametrize("as_towers", [True, False], ids=["towers", "opaque"])
@pytest.mark.parametrize("index", INDICES, ids=str)
def test_complete_indices_of_multilinear_games_are_the_discrete_ones(index, as_towers, towers):
    constant, first, second = compute_index(towers, index, between_only=False)
    with differentiable():
        found = integrate_hessians(towers if as_towers else opaque(towers), gauss_index(index, 5), None)
    assert found.index == index
    torch.testing.assert_close(found.second_order[0], second, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.first_order[0], first, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.marginal[0], first + second.sum(1) / 2, rtol=0, atol=1e-9)
    assert (found.empty if found.constant is None else found.constant).item() == pytest.approx(constant, abs=1e-9)
    if index.is_efficient:
        assert found.completeness_gap.abs() < 1e-9


@pytest.mark.parametrize("index", OTHERS, ids=str)
def test_cross_pairs_alone_have_first_order_if_it_does_not_depend_on_the_pairs_within(index, towers):
    constant, first, second = compute_index(towers, index, between_only=True)
    with differentiable():
        found = integrate_with_maps(towers, gauss_index(index, 5), PATH, within=False)
    torch.testing.assert_close(found.between[0], second[: towers.n_query, towers.n_query :], rtol=0, atol=1e-9)
    torch.testing.assert_close(found.first_order[0], first, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.marginal[0], first + second.sum(1) / 2, rtol=0, atol=1e-9)
    assert (found.empty if found.constant is None else found.constant).item() == pytest.approx(constant, abs=1e-9)
    assert found.within_query is None and found.within_retrieved is None


@pytest.mark.parametrize("index", EFFICIENT, ids=str)
def test_cross_pairs_of_an_efficient_index_come_with_integrated_gradients(index, towers):
    with differentiable():
        found, whole = (integrate_hessians(towers, gauss_index(index, 5), path) for path in (PATH, None))
    torch.testing.assert_close(found.between, whole.between, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.marginal, whole.marginal, rtol=0, atol=1e-9)
    assert found.first_order is None


@pytest.mark.parametrize("index", EFFICIENT, ids=str)
def test_efficient_indices_of_smooth_games_sum_to_the_similarity(index):
    """The players' own second derivatives, which a multilinear game does not have, belong to their credit."""
    with differentiable():
        found = integrate_hessians(smooth_game(3, 4, 0), gauss_index(index, 24), None)
    assert found.completeness_gap.abs() < 1e-7 < 1e-3 < found.first_order.abs().max()


def test_banzhaf_predicts_the_mean_at_its_presence(towers):
    """The surrogate and the game agree at the point of the derivatives: its constant has the rest of the mean."""
    index = parse_index("banzhaf", (0.2, 0.7))
    with differentiable():
        found = integrate_hessians(towers, gauss_index(index, 1), PATH)
    members, present = all_coalitions(8), torch.tensor([0.2] * towers.n_query + [0.7] * towers.n_retrieved, dtype=torch.float64)
    law = torch.where(members, present, 1 - present).prod(1)
    assert (law * (found.predict(members)[0] - towers.values(members))).sum().abs() < 1e-12


@pytest.mark.parametrize("name", EXPONENTS)
def test_random_nodes_have_the_density_of_the_weight_function(name):
    """Their moments are those of the Gauss nodes, within four standard errors."""
    n_samples, gauss = 4000, gauss_index(Index(name), 4)
    drawn = random_index(Index(name), n_samples, seeded(0))
    assert drawn.pairs.sum().item() == pytest.approx(1) and torch.equal(drawn.ends, random_index(Index(name), 2, None).ends)
    for power in (1, 2, 3):
        samples, mean = drawn.nodes[:, 0] ** power, (gauss.pairs * gauss.nodes[:, 0] ** power).sum()
        assert (samples.mean() - mean).abs() < 4 * samples.std() / n_samples**0.5


def test_random_nodes_have_standard_errors_of_all_credit(towers):
    nodes = random_index(Index("chaining"), 50, seeded(1))
    with differentiable():
        exact = integrate_hessians(towers, gauss_index(Index("chaining"), 5), PATH)
        found = integrate_hessians(towers, nodes, PATH, is_random=True)
    for name in ("between", "marginal"):
        assert ((found[name] - exact[name]).abs() < 5 * found.errors[name]).all() and (found.errors[name] > 0).all()
    torch.testing.assert_close(found.first_order, exact.first_order, rtol=0, atol=1e-9)
    assert (found.errors["first_order"] == 0).all()  # of points that are not random
