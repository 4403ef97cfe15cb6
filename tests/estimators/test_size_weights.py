from itertools import combinations
from math import comb

import pytest
import torch
from conftest import random_game
from formulas import first_order, interaction_index, subsets, value_function

from captum_pairwise.estimators.size_weights import weigh_sizes
from captum_pairwise.results.index import NAMES, parse_index

INDICES = [parse_index(name, 0.3) for name in NAMES]


def mean_differences(game):
    """`D_ij(a)`, the mean of `δ_ij v` over the coalitions of `a` other players: `[n, n, n - 1]`."""
    n_players, value = game.n_players, value_function(game)
    means = torch.zeros(n_players, n_players, n_players - 1, dtype=torch.float64)
    for i, j in combinations(range(n_players), 2):
        for subset in subsets(set(range(n_players)) - {i, j}):
            derivative = value(subset | {i, j}) - value(subset | {i}) - value(subset | {j}) + value(subset)
            means[i, j, len(subset)] += derivative / comb(n_players - 2, len(subset))
    return means + means.transpose(0, 1)


@pytest.mark.parametrize("n_players", [2, 3, 6])
@pytest.mark.parametrize("index", INDICES, ids=str)
def test_the_sums_over_sizes_are_the_index(index, n_players):
    game = random_game(1, n_players - 1, seed=n_players)
    means, weights = mean_differences(game), weigh_sizes(index, n_players)
    constant, first, second = interaction_index(game, index.name, index.probabilities)
    torch.testing.assert_close(means @ weights.pairs, second, rtol=0, atol=1e-9)
    torch.testing.assert_close(first_order(game) + (means @ weights.players).sum(1), first, rtol=0, atol=1e-9)
    if index.name != "co-moebius":
        assert value_function(game)([]) + (means @ weights.constant).sum().item() == pytest.approx(constant, abs=1e-9)
