"""Interaction indices of games that are smooth along the diagonal of the cube, as sums of derivatives at points of it.

With the same presence `t` of all players, an index of pairs is an integral of second derivatives along the diagonal,

    φ_ij = ∫ f(t) ∂²_ij v(t·1) dt .

For an index of `results/index.py`, `f` is its weight function, and the credit of single players has its slopes `∂_i v`. All are those
of the discrete index if `v` is multilinear, because `∂_i v(t·1)` is then the mean of `Δ_i v`, and `∂²_ij v(t·1)` that of `δ_ij v`, over
coalitions in which each player is present with the probability `t`. If they sum to `v(1) - v(0)`, the slopes follow from `φ_i = ∫ ∂_i v - ½
Σ_j φ_ij` by integration by parts,

    φ_i = ½ f(0) ∂_i v(0) - ½ f(1) ∂_i v(1·1) + ∫ (1 + ½ f'(t)) ∂_i v(t·1) dt + ½ ∫ f(t) ∂²_ii v(t·1) dt .

So a player's own credit and half of its pairs are its integrated gradient, for games that are not multilinear too.

Integrated Hessians (paper A.14, eq. 14-15) are no such index: `f = -2 t ln t`, and the slopes have the density `-ln t`. Their double
integral is a single one, because a product of two uniform numbers has this density. An entry here is the full pair, `Γ_ij + Γ_ji`.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.estimators.draws import default_generator
from captum_pairwise.estimators.index_path import EXPONENTS, SINGLE_NODES, weigh_players
from captum_pairwise.estimators.quadrature import Path, beta_path, logarithmic_path
from captum_pairwise.files.arguments import check_count
from captum_pairwise.results.index import CO_MOEBIUS, TAYLOR_INDEX, Index

SideNodes = Float[Tensor, "nodes sides"]  # the presence of the query's players, and of the retrieved ones
Weights = Float[Tensor, " nodes"]
WEIGHTS = {"hessian": None, "taylor": TAYLOR_INDEX}  # names of the paper's weight and of the index that is a remainder of Taylor's
STEPS = 16


@dataclass(frozen=True)
class ContinuousIndex:
    """An index as sums over points whose players all have the same presence, or one presence in each image.

    Attributes:
        index: the interaction index, or None for Integrated Hessians.
        nodes: the points.
        pairs: weights of `∂²_ij v` at the points, both orders together.
        slopes: weights of `∂_i v` at the same points, for `φ_i`.
        ends: more points, for `φ_i` alone.
        end_slopes: weights of `∂_i v` there.
    """

    index: Index | None
    nodes: SideNodes
    pairs: Weights
    slopes: Weights
    ends: Float[Tensor, "points sides"]
    end_slopes: Float[Tensor, " points"]

    @property
    def is_efficient(self) -> bool:
        """True if all credits sum to `v(1) - v(0)`; `φ_i` then has `½ ∂²_ii v` with the weights of the pairs."""
        return self.index is None or self.index.is_efficient


def gauss_index(index: Index | None, n_steps: int) -> ContinuousIndex:
    """The index, or Integrated Hessians if it is None, from `n_steps` Gauss nodes for its weight function, or its single node."""
    n_steps = check_count(n_steps, "n_steps")
    if index is None:
        return _make_hessian(logarithmic_path(n_steps))
    if index.name in EXPONENTS:
        path = beta_path(n_steps, *EXPONENTS[index.name])
        return _make_index(index, _repeat_nodes(path.nodes), path.weights, n_steps)
    sides = index.p if index.p is not None else (float(index.name == CO_MOEBIUS),) * 2
    node = torch.tensor([sides], dtype=torch.float64, device="cpu")
    return _make_index(index, node, torch.ones_like(node[:, 0]), n_steps)


def random_index(index: Index | None, n_samples: int, generator: torch.Generator | None, n_steps: int = STEPS) -> ContinuousIndex:
    """The index from `n_samples` random nodes, for an index that has more than one: expected Hessians.

    A node is the product of two uniform numbers for Integrated Hessians, else the `a+1`-th smallest of `a+b+1`, whose density is that of
    `t^a (1-t)^b`. Slopes at points that are not random take `n_steps` Gauss nodes.
    """
    generator = default_generator(generator)
    a, b = EXPONENTS[index.name] if index is not None else (0, 1)
    uniform = torch.rand(a + b + 1, n_samples, generator=generator, device=generator.device, dtype=torch.float64).cpu()
    nodes = uniform.prod(0) if index is None else uniform.sort(0).values[a]
    path = Path(nodes, torch.full_like(nodes, 1 / n_samples))
    return _make_hessian(path) if index is None else _make_index(index, _repeat_nodes(path.nodes), path.weights, n_steps)


def _make_hessian(path: Path) -> ContinuousIndex:
    """Integrated Hessians from nodes and weights for an integral with `-ln t`."""
    nodes = _repeat_nodes(path.nodes)
    return ContinuousIndex(None, nodes, 2 * path.weights * path.nodes, path.weights, nodes[:0], path.weights[:0])


def _make_index(index: Index, nodes: SideNodes, pairs: Weights, n_steps: int) -> ContinuousIndex:
    """The index with these nodes of its pairs, and the points and weights of its slopes."""
    if index.p is not None:  # the slopes at the single node
        return ContinuousIndex(index, nodes, pairs, torch.zeros_like(pairs), nodes, pairs)
    path = beta_path(n_steps, 0, 0)
    singles = [(p, player) for p, _, player in SINGLE_NODES.get(index.name, [])]
    points, weights = torch.tensor(singles, dtype=torch.float64, device="cpu").reshape(-1, 2).T
    points, weights = torch.cat([path.nodes, points]), torch.cat([path.weights * weigh_players(index, path.nodes), weights])
    is_used = weights != 0
    return ContinuousIndex(index, nodes, pairs, torch.zeros_like(pairs), _repeat_nodes(points[is_used]), weights[is_used])


def _repeat_nodes(nodes: Weights) -> SideNodes:
    """The same presence in both images."""
    return nodes[:, None].expand(-1, 2)
