"""Interaction indices of a two-tower game from the summaries of both towers.

A random coalition in which every player is present with some probability is independent between the two images. So for a query player `i`
and a retrieved player `j` every interaction index splits (compare Owen's multilinear extension):

    φ_ij = Σ_k pairs_k < E_k[u(A∪i) - u(A)], E_k[w(B∪j) - w(B)] >

with the nodes and weights of `IndexPath`. So do the indices within an image, `Σ pairs_k <E_k[δ_ii' u], E_k[w]>`, and the credit of players,
`Σ players_k <E_k[u(A∪i) - u(A)], E_k[w]>`. All integrands are polynomials of degree below `n` in `p`: Gauss–Legendre nodes, half as many as
players, integrate them exactly. They are sums of binomial bells of width `1/√n`, so `4√n` nodes are already exact up to rounding.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.estimators.independent_presence import repeat_sides
from captum_pairwise.estimators.index_path import IndexPath, Nodes
from captum_pairwise.estimators.towers.summary import Curves, Products, TowerSummary, average_nodes, multiply_curves
from captum_pairwise.results.credits import Credits, get_blocks, sum_pairs
from captum_pairwise.results.index import CO_MOEBIUS, Index
from captum_pairwise.results.interactions import Interactions, make_interactions


@dataclass(frozen=True)
class Shared:
    """The credit of a game.

    Attributes:
        credits: a batch of one.
        errors: standard errors.
        constant: the constant of the prediction and its standard error; None stands for `v(∅)`.
    """

    credits: Credits
    errors: Credits
    constant: tuple[Tensor, Tensor] | None = None


Share = Callable[[TowerSummary, TowerSummary, IndexPath, bool], Shared]


def combine(query: TowerSummary, retrieved: TowerSummary, path: IndexPath, within: bool = False) -> Shared:
    """The index of the game `<u, w>`: players, pairs between the images, and on request pairs within each image if they are available.

    `"banzhaf"` predicts best with the pairs that are computed: its players and its constant depend on whether pairs within an image are.
    """
    between = multiply_curves(query.slopes, retrieved.slopes, path.pairs)
    pairs: dict[str, Products] = {"between": between}
    if within and query.within is not None and retrieved.within is not None:
        pairs["within_query"] = query.within(retrieved.mean.values[0], path.pairs)
        pairs["within_retrieved"] = retrieved.within(query.mean.values[0], path.pairs)
    first, constant = _credit_players(query, retrieved, path, pairs)
    if path.index.is_efficient:
        marginal = _multiply_means(query, retrieved, path.shapley)
    else:
        halves = _sum_pairs(pairs, torch.full_like(first[0], 0.5))
        marginal = first[0] + halves[0], (first[1].square() + halves[1].square()).sqrt()
    maps = _multiply_whole(query, retrieved, path)
    blocks = {"first_order": first, "marginal": marginal, "given_other": maps} | pairs
    values, errors = ({name: products[part][None] for name, products in blocks.items()} for part in (0, 1))
    return Shared(Credits(**values), Credits(**errors), constant)


def _credit_players(
    query: TowerSummary, retrieved: TowerSummary, path: IndexPath, pairs: dict[str, Products]
) -> tuple[Products, Products | None]:
    """The credit of the players of both images, and the constant, with their standard errors."""
    starts = [_extrapolate_mean(tower, share) for tower, share in zip((query, retrieved), path.shares, strict=True)]
    first = _join_images(multiply_curves(query.slopes, starts[1], path.players), multiply_curves(retrieved.slopes, starts[0], path.players))
    if path.index.name == CO_MOEBIUS:
        full = query.full @ retrieved.full
        return first, (full, torch.zeros_like(full))
    if path.index.p is None:
        return first, None
    constant, error = (product[0, 0] for product in multiply_curves(starts[0], starts[1], path.players))
    if len(pairs) > 1:
        no_pairs = torch.zeros_like(pairs["between"][0])
        shares = repeat_sides(path.shares, *no_pairs.shape).to(no_pairs)
        taken, taken_error = _sum_pairs(pairs | {"between": (no_pairs, no_pairs)}, shares)
        first = first[0] - taken, (first[1].square() + taken_error.square()).sqrt()
        constant = constant + taken @ shares / 2
    return first, (constant, error)


def _extrapolate_mean(tower: TowerSummary, share: float) -> Curves:
    """`E[u] - share Σ_i E[u(A∪i) - u(A)]`: the linear approximation of a tower around its mean, at the empty coalition."""
    if not share:
        return tower.mean

    def variance(others: Tensor, weights: Nodes) -> Tensor:
        return tower.mean.variance(others, weights) + share**2 * tower.slopes.variance(others, weights).sum(0, keepdim=True)

    return Curves(tower.mean.values - share * tower.slopes.values.sum(0, keepdim=True), variance)


def _sum_pairs(pairs: dict[str, Products], weights: Float[Tensor, " players"]) -> Products:
    """The weighted sum of the pairs of each player, as `sum_pairs`, and its standard error."""
    values, variances = {name: pair[0] for name, pair in pairs.items()}, {name: pair[1].square() for name, pair in pairs.items()}
    return sum_pairs(values, weights), sum_pairs(variances, weights.square()).sqrt()


def combine_between(query: TowerSummary, retrieved: TowerSummary, path: IndexPath, within: bool = False) -> Shared:
    """The credit of the game `<u, w>` shared by single players and pairs between the images, a batch of one: see `share_dividends`.

    `φ_ij = <φ_i(u), φ_j(w)>` with the Shapley values of the embeddings, `φ_i(u) = ∫ E_p[u(A∪i) - u(A)] dp`, whose sums are exact.
    """
    left, right = average_nodes(query.slopes, path.shapley), average_nodes(retrieved.slopes, path.shapley)
    unit = left.values.new_ones(1)

    def multiply(query_side: Tensor, retrieved_side: Tensor) -> Products:
        other = [Curves(embedding.expand(1, 1, -1)) for embedding in (query_side, retrieved_side)]
        return _join_images(multiply_curves(left, other[1], unit), multiply_curves(right, other[0], unit))

    blocks = {
        "first_order": multiply(query.empty, retrieved.empty),
        "marginal": multiply((query.empty + query.full) / 2, (retrieved.empty + retrieved.full) / 2),
        "between": multiply_curves(left, right, unit),
        "given_other": _multiply_whole(query, retrieved, path),
    }
    values, errors = ({name: products[part][None] for name, products in blocks.items()} for part in (0, 1))
    return Shared(Credits(**values), Credits(**errors))


def _multiply_means(query: TowerSummary, retrieved: TowerSummary, weights: Nodes) -> Products:
    """`Σ_k weights_k <E[u(A∪i) - u(A)], E[w]>` of the players of both images."""
    return _join_images(multiply_curves(query.slopes, retrieved.mean, weights), multiply_curves(retrieved.slopes, query.mean, weights))


def _multiply_whole(query: TowerSummary, retrieved: TowerSummary, path: IndexPath) -> Products:
    """The Shapley values of each image's players with the whole other image, `∫ <E_p[u(A∪i) - u(A)], w(N)> dp`, and their errors."""
    wholes = [Curves(tower.full.expand(1, len(path.query), -1)) for tower in (query, retrieved)]
    return _join_images(multiply_curves(query.slopes, wholes[1], path.shapley), multiply_curves(retrieved.slopes, wholes[0], path.shapley))


def _join_images(query: Products, retrieved: Products) -> Products:
    """Values and errors of the players of both images."""
    return torch.cat([query[0], retrieved[0]])[:, 0], torch.cat([query[1], retrieved[1]])[:, 0]


def tower_interactions(
    query: TowerSummary, retrieved: TowerSummary, shared: Shared, index: Index | None, n_evaluations: int, *, has_errors: bool = True
) -> Interactions:
    """The interactions, a batch of one, from two summaries and the credit of their game; without errors if everything is exact."""
    ends = torch.stack([query.empty @ retrieved.empty, query.full @ retrieved.full])
    blocks: dict[str, Any] = get_blocks(shared.credits) | {
        "without_query": (query.empty @ retrieved.full)[None],
        "without_retrieved": (query.full @ retrieved.empty)[None],
        "constant": None if shared.constant is None else shared.constant[0][None],
        "standard_error": shared.errors if has_errors else None,
    }
    if has_errors and shared.constant is not None:
        blocks["constant_error"] = shared.constant[1][None]
    return make_interactions(ends, len(query.slopes.values), n_evaluations, index=index, **blocks)
