"""Interaction indices as weighted means over the sizes of coalitions, for estimators that draw coalitions by their size."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.estimators.index_path import Nodes, make_index_path
from captum_pairwise.estimators.quadrature import size_probabilities
from captum_pairwise.results.index import Index

Sizes = Float[Tensor, " sizes"]


@dataclass(frozen=True)
class SizeWeights:
    r"""The weights of the mean mixed difference $D_{ij}(a)$ over the coalitions of $a = 0, \dots, n - 2$ other players.

    $$\phi_{ij} = \sum_a w_a D_{ij}(a), \quad \phi_i = v(i) - v(\emptyset) + \sum_{j, a} w'_a D_{ij}(a), \quad
    \phi_\emptyset = v(\emptyset) + \sum_{i, j, a} w''_a D_{ij}(a)$$

    Players and the constant have such sums because $\mathbb{E}_p[\Delta_i v]$ is the integral of $\sum_j \mathbb{E}_p[\delta_{ij} v]$
    along $p$. The constant of `"co-moebius"`, $v(N)$, is not among them.

    Attributes:
        pairs: `w`.
        players: `w'`.
        constant: `w''`; 0 but for `"banzhaf"`.
    """

    pairs: Sizes
    players: Sizes
    constant: Sizes


def refuse_two_probabilities(index: Index) -> None:
    """Refuse an index with a probability for each image.

    Raises:
        ValueError: the probabilities differ.
    """
    if index.p is not None and index.p[0] != index.p[1]:
        raise ValueError(
            f"Expected one probability p for both images, got {index.p}, with fewer coalitions than all. Take FactorisedInteractions for a "
            "SimilarityWrapper, KernelShapleyTaylor for another function, or ExactShapleyTaylor for few parts."
        )


def weigh_sizes(index: Index, n_players: int) -> SizeWeights:
    """The weights of an index with one probability for all players, in float64 on the CPU.

    >>> from captum_pairwise.results.index import Index
    >>> weigh_sizes(Index("shapley"), 3).pairs
    tensor([0.5000, 0.5000], dtype=torch.float64)
    """
    path = make_index_path(index, n_players)
    pairs = path.pairs @ size_probabilities(n_players - 2, path.query)
    p = path.shares[0]
    players = path.players @ _integrate(n_players - 1, path.query) - p * pairs
    if index.p is None:
        return SizeWeights(pairs, players, torch.zeros_like(pairs))
    twice = _sum_larger(_integrate(n_players, torch.full_like(path.query[:1], p))[0]) / (n_players - 1)
    return SizeWeights(pairs, players, twice - p * players - p**2 / 2 * pairs)


def _integrate(n_players: int, nodes: Nodes) -> Float[Tensor, "nodes sizes"]:
    """The integral from 0 to each node of the probability of each size `0 … n-1` of `n - 1` players."""
    return _sum_larger(size_probabilities(n_players, nodes)) / n_players


def _sum_larger(numbers: Float[Tensor, "*nodes sizes"]) -> Float[Tensor, "*nodes fewer"]:
    """The sum of the numbers of all larger sizes, for each size but the largest."""
    return numbers.flip(-1).cumsum(-1).flip(-1)[..., 1:]
