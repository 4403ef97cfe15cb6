"""Nodes and weights for integrals along the diagonal of the cube."""

from dataclasses import dataclass
from math import ceil, comb, sqrt

import numpy as np
import scipy
import torch
from jaxtyping import Float
from torch import Tensor

MOST_NODES = 250  # with more nodes the moments underflow


@dataclass(frozen=True)
class Path:
    """Quadrature along the diagonal of the cube, `Σ_k weights[k] f(nodes[k])`, for `∫₀¹ f(t) dt` or an integral with a weight function."""

    nodes: Float[Tensor, " nodes"]
    weights: Float[Tensor, " nodes"]


def diagonal_path(n_players: int) -> Path:
    """Gauss–Legendre nodes for games of `n_players` players, in float64 on the CPU."""
    nodes, weights = np.polynomial.legendre.leggauss(max(1, min(ceil(n_players / 2), ceil(4 * sqrt(n_players)))))
    return Path(torch.tensor((nodes + 1) / 2, device="cpu"), torch.tensor(weights / 2, device="cpu"))


def logarithmic_path(n_nodes: int) -> Path:
    """Gauss nodes for `∫₀¹ -ln(t) f(t) dt`: exact for polynomials of degree below `2 n_nodes`.

    The weight is the density of a product of two uniform numbers, `∫∫ f(αβ) dα dβ`: it turns the double integral of Integrated Hessians
    into a single one.

    >>> path = logarithmic_path(2)
    >>> [round((path.weights * path.nodes**k).sum().item() * (k + 1) ** 2, 9) for k in range(4)]
    [1.0, 1.0, 1.0, 1.0]
    """
    _refuse_nodes(n_nodes)
    legendre = [1.0] + [(-1) ** k / (k * (k + 1)) for k in range(1, 2 * n_nodes)]
    return _gauss([moment / comb(2 * k, k) for k, moment in enumerate(legendre)], n_nodes)


def beta_path(n_nodes: int, a: int, b: int) -> Path:
    """Gauss nodes for the mean `E f(t)` under the Beta density of `t^a (1-t)^b`: exact for polynomials of degree below `2 n_nodes`.

    >>> path = beta_path(2, 0, 1)  # the density 2 (1-t)
    >>> [round((path.weights * path.nodes**k).sum().item() * (k + 1) * (k + 2), 9) for k in range(4)]
    [2.0, 2.0, 2.0, 2.0]
    """
    _refuse_nodes(n_nodes)
    nodes, weights = scipy.special.roots_sh_jacobi(n_nodes, a + b + 1, a + 1)
    return Path(torch.tensor(nodes, device="cpu"), torch.tensor(weights / weights.sum(), device="cpu"))


def size_probabilities(n_players: int, p: Float[Tensor, "*nodes"]) -> Float[Tensor, "*nodes sizes"]:
    """The binomial probability of each coalition size `0…n` if each of `n` players is present with probability `p`."""
    binomial = torch.distributions.Binomial(n_players, p[..., None])
    return binomial.log_prob(torch.arange(n_players + 1, dtype=p.dtype, device=p.device)).exp()


def _refuse_nodes(n_nodes: object) -> None:
    if not isinstance(n_nodes, int) or not 1 <= n_nodes <= MOST_NODES:
        raise ValueError(f"Expected n_steps to be a whole number from 1 to {MOST_NODES}, got {n_nodes!r}. Take 8, for example.")


def _gauss(moments: list[float], n_nodes: int) -> Path:
    """Gauss nodes from the moments of the monic Legendre polynomials on [0, 1] (Golub and Welsch 1969).

    The modified Chebyshev algorithm (Gautschi 1982) computes the recurrence of the orthogonal polynomials from these moments. It keeps all
    digits; moments of powers of `t` would lose them.
    """
    b = [k * k / (4 * (4 * k * k - 1)) for k in range(2 * n_nodes)]  # p_k+1 = (t - ½) p_k - b_k p_k-1
    before, now = np.zeros(2 * n_nodes), np.array(moments)
    alpha, beta = [0.5 + now[1] / now[0]], [now[0]]
    for k in range(1, n_nodes):
        following, middle = np.zeros(2 * n_nodes), slice(k, 2 * n_nodes - k)
        following[middle] = now[k + 1 : 2 * n_nodes - k + 1] - (alpha[-1] - 0.5) * now[middle] - beta[-1] * before[middle]
        following[middle] += np.array(b[middle]) * now[k - 1 : 2 * n_nodes - k - 1]
        alpha.append(0.5 + following[k + 1] / following[k] - now[k] / now[k - 1])
        beta.append(following[k] / now[k - 1])
        before, now = now, following
    off_diagonal = np.sqrt(beta[1:])
    nodes, vectors = np.linalg.eigh(np.diag(alpha) + np.diag(off_diagonal, 1) + np.diag(off_diagonal, -1))
    return Path(torch.tensor(nodes, device="cpu"), torch.tensor(beta[0] * vectors[0] ** 2, device="cpu"))
