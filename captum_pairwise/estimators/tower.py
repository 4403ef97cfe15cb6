"""Two-tower games, factorised: what each tower does on its own, and how two such summaries make interaction indices.

A player set that keeps every player with probability `p` is a product over the two images, so for a query player `i` and a retrieved
player `j` the Shapley–Taylor index splits (in the sense of Owen's multilinear extension):

    φ_ij = ∫₀¹ 2(1-p) < E_p[u(A∪i) - u(A)], E_p[w(B∪j) - w(B)] > dp

and so do the within-image indices, `∫ 2(1-p) <E_p[δ_ii' u], E_p[w]> dp`, and the Shapley values, `∫ <E_p[u(A∪i) - u(A)], E_p[w]> dp`.
All are polynomials of degree below `n` in `p`: Gauss–Legendre nodes, half as many as players, integrate them exactly. Their parts
are binomial bells of width `1/√n`, so that `4√n` nodes already do to rounding.
"""

from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.interactions import Credits


@dataclass(frozen=True)
class Path:
    """Quadrature along the diagonal of the cube: `∫₀¹ f(p) dp = Σ_k weights[k] f(nodes[k])`."""

    nodes: Float[Tensor, " nodes"]
    weights: Float[Tensor, " nodes"]


def diagonal_path(n_players: int) -> Path:
    """Gauss–Legendre nodes for the games of `n_players` players, on the CPU in float64, as are all weights made of them."""
    nodes, weights = np.polynomial.legendre.leggauss(max(1, min(ceil(n_players / 2), ceil(4 * sqrt(n_players)))))
    return Path(torch.tensor((nodes + 1) / 2), torch.tensor(weights / 2))


@dataclass(frozen=True)
class TowerSummary:
    """One tower along the diagonal path.

    Attributes:
        empty: the embedding of no player.
        full: the embedding of all.
        singles: the embedding of each player alone.
        slopes: `E_p[u(A∪i) - u(A)]` at each node: how much a player moves the embedding.
        means: `E_p[u(A)]` at each node.
    """

    empty: Float[Tensor, " channels"]
    full: Float[Tensor, " channels"]
    singles: Float[Tensor, "players channels"]
    slopes: Float[Tensor, "players nodes channels"]
    means: Float[Tensor, "nodes channels"]


def combine(query: TowerSummary, retrieved: TowerSummary, path: Path) -> Credits:
    """The indices of the game `<u, w>`, a batch of one: exact first order, Shapley values, and pairs between the images."""
    weights = path.weights.to(query.slopes)[:, None]
    taylor = (2 * path.weights * (1 - path.nodes)).to(query.slopes)[:, None]
    first = [(query.singles - query.empty) @ retrieved.empty, (retrieved.singles - retrieved.empty) @ query.empty]
    # sums over nodes and channels together are matrix products
    left, right = query.slopes.flatten(1), retrieved.slopes.flatten(1)
    marginal = [left @ (weights * retrieved.means).flatten(), right @ (weights * query.means).flatten()]
    between = (taylor * query.slopes).flatten(1) @ right.T
    return Credits(first_order=torch.cat(first)[None], marginal=torch.cat(marginal)[None], between=between[None])


def combine_between(query: TowerSummary, retrieved: TowerSummary, path: Path) -> Credits:
    """The credit of the game `<u, w>` shared by single players and pairs between the images alone, a batch of one: see `jagged`.

    `φ_ij = <φ_i(u), φ_j(w)>` with the Shapley values of the embeddings, `φ_i(u) = ∫ E_p[u(A∪i) - u(A)] dp`.
    """
    left, right = (torch.einsum("k,pkc->pc", path.weights.to(tower.slopes), tower.slopes) for tower in (query, retrieved))
    first, between = torch.cat([left @ retrieved.empty, right @ query.empty]), left @ right.T
    marginal = first + torch.cat([between.sum(1), between.sum(0)]) / 2
    return Credits(first_order=first[None], marginal=marginal[None], between=between[None])
