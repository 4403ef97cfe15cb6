"""The nodes of every index, against the published share of a dividend in its players and pairs."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from captum_pairwise.estimators.index_path import make_index_path
from captum_pairwise.results.index import NAMES, Index, parse_index

# the share of the dividend of `t` players in each of its players and in each of its pairs
PUBLISHED: dict[str, Callable[[Tensor], tuple[Tensor, Tensor]]] = {
    "shapley-taylor": lambda t: (t == 1, 2 / (t * (t - 1))),  # Sundararajan et al. 2020
    "shapley": lambda t: (1 / t, 1 / (t - 1)),  # Grabisch and Roubens 1999
    "k-sii": lambda t: (1 / t - (t > 1) / 2, 1 / (t - 1)),  # Bordt and von Luxburg 2023
    "faith-shap": lambda t: (2 * (2 - t) / (t * (t + 1)), 6 / (t * (t + 1))),  # Tsai et al. 2023
    "chaining": lambda t: (1 / t, 2 / t),  # Marichal and Roubens 1999
    "moebius": lambda t: (t == 1, t == 2),
    "co-moebius": lambda t: (torch.ones_like(t), torch.ones_like(t)),
}


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("n_players", [2, 3, 8, 17])
def test_moments_are_the_published_shares_of_a_dividend(name: str, n_players: int) -> None:
    path, t = make_index_path(parse_index(name), n_players), torch.arange(1, n_players + 1, dtype=torch.float64)
    of_players, of_pairs = PUBLISHED[name](t)
    powers = path.query[:, None] ** torch.arange(n_players, dtype=torch.float64)
    torch.testing.assert_close(path.players @ powers, of_players.double(), rtol=0, atol=1e-14)
    torch.testing.assert_close(path.pairs @ powers[:, :-1], of_pairs[1:].double(), rtol=0, atol=1e-14)
    torch.testing.assert_close(path.shapley @ powers, 1 / t, rtol=0, atol=1e-14)
    assert path.shares == (0, 0) and torch.equal(path.query, path.retrieved)


def test_banzhaf_has_one_node_with_a_probability_for_each_image() -> None:
    path = make_index_path(Index("banzhaf", (0.3, 0.6)), 6)
    for weights in (path.pairs, path.players):
        assert weights.count_nonzero() == 1 and weights[-1] == 1
    assert (path.query[-1].item(), path.retrieved[-1].item()) == path.shares == (0.3, 0.6)
    assert {*PUBLISHED, "banzhaf"} == set(NAMES)
