"""Interaction indices as sums over nodes at which every part is present with some probability."""

from collections.abc import Callable
from dataclasses import dataclass
from math import factorial

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.estimators.quadrature import diagonal_path
from captum_pairwise.results.index import CHAINING, CO_MOEBIUS, FAITH_SHAP, K_SII, MOEBIUS, SHAPLEY, SHAPLEY_TAYLOR, Index

Nodes = Float[Tensor, " nodes"]
# `E_p[δ_ij v]` of a pair has the density over `p` that is proportional to `p^a (1-p)^b`, with these `a` and `b`
EXPONENTS = {SHAPLEY_TAYLOR: (0, 1), SHAPLEY: (0, 0), K_SII: (0, 0), FAITH_SHAP: (1, 1), CHAINING: (1, 0)}
# `E_p[v(A∪i) - v(A)]` of a player has this density
PLAYER_DENSITIES: dict[str, Callable[[Nodes], Nodes]] = {
    SHAPLEY: torch.ones_like,
    K_SII: torch.ones_like,
    FAITH_SHAP: lambda p: 4 - 6 * p,
    CHAINING: torch.ones_like,
}
# single nodes beside the densities: `p`, its weight for pairs, and its weight for players
SINGLE_NODES = {
    SHAPLEY_TAYLOR: [(0.0, 0.0, 1.0)],
    K_SII: [(0.0, 0.0, 0.5), (1.0, 0.0, -0.5)],
    MOEBIUS: [(0.0, 1.0, 1.0)],
    CO_MOEBIUS: [(1.0, 1.0, 1.0)],
}


@dataclass(frozen=True)
class IndexPath:
    """An index as sums over nodes, with `h_i(k) = E[v(A∪i) - v(A)]` and `g_ij(k) = E[δ_ij v(A)]` for coalitions of node `k`.

    A pair gets `φ_ij = Σ_k pairs_k g_ij(k)`, a player `Σ_k players_k h_i(k) - Σ_j shares_j φ_ij` with the share of the image of `j`.

    Attributes:
        index: the index.
        query: the probability of presence of the query's players at each node.
        retrieved: the probability of presence of the retrieved players.
        pairs: weights of pairs.
        players: weights of players.
        shapley: weights of Shapley values, `∫₀¹ f(p) dp`.
        shares: for each image, the share of a pair that is taken from the credit of its other player: `p` of `"banzhaf"`, else 0.
    """

    index: Index
    query: Nodes
    retrieved: Nodes
    pairs: Nodes
    players: Nodes
    shapley: Nodes
    shares: tuple[float, float]


def weigh_pairs(index: Index, p: Nodes) -> Nodes:
    """The density of pairs at these probabilities; 0 for an index of single nodes."""
    if index.name not in EXPONENTS:
        return torch.zeros_like(p)
    a, b = EXPONENTS[index.name]
    return p**a * (1 - p) ** b * factorial(a + b + 1) / (factorial(a) * factorial(b))


def weigh_players(index: Index, p: Nodes) -> Nodes:
    """The density of players at these probabilities; 0 for an index of single nodes."""
    return PLAYER_DENSITIES.get(index.name, torch.zeros_like)(p)


def make_index_path(index: Index, n_players: int) -> IndexPath:
    """The nodes and weights of an index, in float64 on the CPU.

    The integrands are polynomials of degree below `n`, times the density: Gauss–Legendre nodes integrate them exactly.

    Args:
        index: the index.
        n_players: the number of players of both images.

    >>> path = make_index_path(Index("banzhaf", (0.3, 0.6)), 2)
    >>> path.query.tolist(), path.retrieved.tolist(), path.pairs.tolist()
    ([0.5, 0.3], [0.5, 0.6], [0.0, 1.0])
    """
    diagonal = diagonal_path(n_players + (index.name == FAITH_SHAP))  # its density has a degree more
    pairs, players = weigh_pairs(index, diagonal.nodes), weigh_players(index, diagonal.nodes)
    singles = [(p, p, pair, player) for p, pair, player in SINGLE_NODES.get(index.name, [])]
    if index.p is not None:
        singles = [(*index.p, 1.0, 1.0)]
    query, retrieved, of_pairs, of_players = torch.tensor(singles, dtype=torch.float64, device="cpu").reshape(-1, 4).T
    return IndexPath(
        index,
        torch.cat([diagonal.nodes, query]),
        torch.cat([diagonal.nodes, retrieved]),
        torch.cat([diagonal.weights * pairs, of_pairs]),
        torch.cat([diagonal.weights * players, of_players]),
        torch.cat([diagonal.weights, torch.zeros_like(query)]),
        (0.0, 0.0) if index.p is None else index.p,
    )
