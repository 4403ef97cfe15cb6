"""Two-tower games, factorised: what each tower does on its own, and how two such summaries make interaction indices.

A player set that keeps every player with probability `p` is a product over the two images, so for a query player `i` and a retrieved
player `j` the Shapley–Taylor index splits (in the sense of Owen's multilinear extension):

    φ_ij = ∫₀¹ 2(1-p) < E_p[u(A∪i) - u(A)], E_p[w(B∪j) - w(B)] > dp

and so do the within-image indices, `∫ 2(1-p) <E_p[δ_ii' u], E_p[w]> dp`, and the Shapley values, `∫ <E_p[u(A∪i) - u(A)], E_p[w]> dp`.
All are polynomials of degree below `n` in `p`: Gauss–Legendre nodes, half as many as players, integrate them exactly. Their parts
are binomial bells of width `1/√n`, so that `4√n` nodes already do to rounding.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.estimators.quadrature import Path
from captum_pairwise.results.interactions import Credits

CurveValues = Float[Tensor, "rows nodes channels"]
Variance = Callable[[Float[Tensor, "others nodes channels"], Float[Tensor, " nodes"]], Float[Tensor, "rows others"]]


def _none(others: Tensor, weights: Tensor) -> Tensor:
    return others.new_zeros(1, len(others))


@dataclass(frozen=True)
class Curves:
    """Embeddings along the path, and what is not known of them.

    Attributes:
        values: one curve for each row.
        variance: of `Σ_k weights_k <curve(k), other(k)>` for every row and every one of other, given curves; none where all is known.
    """

    values: CurveValues
    variance: Variance = _none


def constant(embedding: Float[Tensor, " channels"], n_nodes: int) -> Curves:
    """The one curve that is the same everywhere, and known."""
    return Curves(embedding.expand(1, n_nodes, -1))


def averaged(curves: Curves, weights: Float[Tensor, " nodes"]) -> Curves:
    """`Σ_k weights_k curve(k)` of each row, as a curve with a single node."""

    def variance(others: Tensor, weight: Tensor) -> Tensor:
        return weight.square() * curves.variance(others.expand(-1, len(weights), -1), weights)

    return Curves(torch.einsum("k,rkc->rc", weights.to(curves.values), curves.values)[:, None], variance)


def inner(left: Curves, right: Curves, weights: Float[Tensor, " nodes"]) -> tuple[Float[Tensor, "left right"], Float[Tensor, "left right"]]:
    """`Σ_k weights_k <left(k), right(k)>` of every two curves, and its standard error; the towers were drawn independently."""
    weighted = weights.to(left.values)[:, None] * left.values  # a sum over nodes and channels together is a matrix product
    variance = left.variance(right.values, weights) + right.variance(left.values, weights).T
    return weighted.flatten(1) @ right.values.flatten(1).T, variance.clamp(min=0).sqrt().expand(len(left.values), len(right.values))


@dataclass(frozen=True)
class TowerSummary:
    """One tower along the diagonal path.

    Attributes:
        empty: the embedding of no player.
        full: the embedding of all.
        singles: the embedding of each player alone.
        slopes: `E_p[u(A∪i) - u(A)]` for each player: how much it moves the embedding.
        mean: `E_p[u(A)]`, a single curve.
        within: the Shapley–Taylor indices of every two players of this tower, given the other's mean curve; None where they are not known.
    """

    empty: Float[Tensor, " channels"]
    full: Float[Tensor, " channels"]
    singles: Float[Tensor, "players channels"]
    slopes: Curves
    mean: Curves
    within: Callable[[Float[Tensor, "nodes channels"], Path], Float[Tensor, "players players"]] | None = None


Shared = tuple[Credits, Credits]


def combine(query: TowerSummary, retrieved: TowerSummary, path: Path) -> Shared:
    """The indices of the game `<u, w>`, a batch of one: exact first order, Shapley values, and pairs between the images.

    Returns:
        `(credits, standard_error)`; nothing is said of the error of the first order, which has none.
    """
    first = [(query.singles - query.empty) @ retrieved.empty, (retrieved.singles - retrieved.empty) @ query.empty]
    marginal = _both_sides(inner(query.slopes, retrieved.mean, path.weights), inner(retrieved.slopes, query.mean, path.weights))
    between, error = inner(query.slopes, retrieved.slopes, path.taylor)
    return Credits(first_order=torch.cat(first)[None], marginal=marginal[0], between=between[None]), Credits(
        marginal=marginal[1], between=error[None]
    )


def combine_between(query: TowerSummary, retrieved: TowerSummary, path: Path) -> Shared:
    """The credit of the game `<u, w>` shared by single players and pairs between the images alone, a batch of one: see `jagged`.

    `φ_ij = <φ_i(u), φ_j(w)>` with the Shapley values of the embeddings, `φ_i(u) = ∫ E_p[u(A∪i) - u(A)] dp`, whose sums are known.

    Returns:
        `(credits, standard_error)`.
    """
    one = torch.ones(1, dtype=path.weights.dtype)
    left, right = averaged(query.slopes, path.weights), averaged(retrieved.slopes, path.weights)
    first = _both_sides(inner(left, constant(retrieved.empty, 1), one), inner(right, constant(query.empty, 1), one))
    middle = [constant((tower.empty + tower.full) / 2, 1) for tower in (query, retrieved)]
    marginal = _both_sides(inner(left, middle[1], one), inner(right, middle[0], one))
    between, error = inner(left, right, one)
    return (
        Credits(first_order=first[0], marginal=marginal[0], between=between[None]),
        Credits(first_order=first[1], marginal=marginal[1], between=error[None]),
    )


def _both_sides(
    query: tuple[Float[Tensor, "query 1"], Float[Tensor, "query 1"]],
    retrieved: tuple[Float[Tensor, "retrieved 1"], Float[Tensor, "retrieved 1"]],
) -> tuple[Float[Tensor, "1 players"], Float[Tensor, "1 players"]]:
    """Values and errors of the players of both images, a batch of one."""
    values, errors = (torch.cat(both).T for both in zip(query, retrieved, strict=True))
    return values, errors
