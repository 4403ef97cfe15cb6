"""Gauss nodes for weight functions, compared with the moments and with dense sums."""

from functools import partial
from math import prod

import pytest
import torch

from captum_pairwise.estimators.quadrature import beta_path, diagonal_path, logarithmic_path

SIZES = (1, 2, 5, 24, 250)


DENSITIES = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 1)]


def beta_moment(k, a, b):
    """`E t^k` under the density of `t^a (1-t)^b`."""
    return prod((a + 1 + step) / (a + b + 2 + step) for step in range(k))


@pytest.mark.parametrize("n_nodes", SIZES)
@pytest.mark.parametrize(
    ("path", "moment"),
    [
        (logarithmic_path, lambda k: 1 / (k + 1) ** 2),
        *((partial(beta_path, a=a, b=b), partial(beta_moment, a=a, b=b)) for a, b in DENSITIES),
    ],
)
def test_powers_below_twice_the_nodes_are_exact(n_nodes, path, moment):
    found = path(n_nodes)
    for k in range(2 * n_nodes):
        assert (found.weights * found.nodes**k).sum().item() == pytest.approx(moment(k), rel=1e-11)


@pytest.mark.parametrize("n_players", [1, 2, 3, 6, 7, 11])
def test_powers_below_the_number_of_players_are_exact_on_the_diagonal(n_players):
    path = diagonal_path(n_players)
    for k in range(n_players):
        assert (path.weights * path.nodes**k).sum().item() == pytest.approx(1 / (k + 1), rel=1e-12)


@pytest.mark.parametrize("path", [logarithmic_path, *(partial(beta_path, a=a, b=b) for a, b in DENSITIES)])
@pytest.mark.parametrize("n_nodes", SIZES)
def test_nodes_are_inside_with_positive_weights(n_nodes, path):
    found = path(n_nodes)
    assert ((found.nodes > 0) & (found.nodes < 1)).all() and (found.weights > 0).all() and len(found.nodes) == n_nodes


def test_weights_match_densities_of_two_uniform_numbers():
    """`-ln t` is the density of their product, `2(1-t)` the density of the smaller one."""
    alpha, beta = torch.meshgrid(*[(torch.arange(2000, dtype=torch.float64) + 0.5) / 2000] * 2, indexing="ij")
    for path, of in ((logarithmic_path(40), alpha * beta), (beta_path(40, 0, 1), torch.minimum(alpha, beta))):
        assert (path.weights * path.nodes.cos()).sum().item() == pytest.approx(of.cos().mean().item(), rel=1e-6)


@pytest.mark.parametrize("n_nodes", [0, 251])
def test_invalid_numbers_of_nodes_are_refused(n_nodes):
    with pytest.raises(ValueError, match=rf"Expected n_steps to be a whole number from 1 to 250, got {n_nodes}"):
        logarithmic_path(n_nodes)
    with pytest.raises(ValueError, match=rf"from 1 to 250, got {n_nodes}"):
        beta_path(n_nodes, 0, 1)
