"""Factorisation of two-tower games: a summary of each tower alone, and the interaction indices from two summaries.

A random coalition that contains every player with probability `p` is independent between the two images. So for a query player `i` and a
retrieved player `j` the Shapley–Taylor index splits (compare Owen's multilinear extension):

    φ_ij = ∫₀¹ 2(1-p) < E_p[u(A∪i) - u(A)], E_p[w(B∪j) - w(B)] > dp

So do the indices within an image, `∫ 2(1-p) <E_p[δ_ii' u], E_p[w]> dp`, and the Shapley values, `∫ <E_p[u(A∪i) - u(A)], E_p[w]> dp`. All
integrands are polynomials of degree below `n` in `p`: Gauss–Legendre nodes, half as many as players, integrate them exactly. They are sums
of binomial bells of width `1/√n`, so `4√n` nodes are already exact up to rounding.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.estimators.coalitions import all_coalitions
from captum_pairwise.estimators.quadrature import Path
from captum_pairwise.games.game import Game
from captum_pairwise.results.interactions import Credits, Interactions, get_blocks, make_interactions

Variance = Callable[[Float[Tensor, "others nodes channels"], Float[Tensor, " nodes"]], Float[Tensor, "rows others"]]
Members = Float[Tensor, "coalitions players"]
Shared = tuple[Credits, Credits]
Products = tuple[Tensor, Tensor]  # values [left, right] and their standard errors


def _no_variance(others: Tensor, weights: Tensor) -> Tensor:
    return others.new_zeros(1, len(others))


@dataclass(frozen=True)
class Curves:
    """Embeddings along the path, with their uncertainty.

    Attributes:
        values: one curve for each row.
        variance: for other curves and weights, the variance of `Σ_k weights_k <curve(k), other(k)>` for each row and each other curve.
            By default it is 0.
    """

    values: Float[Tensor, "rows nodes channels"]
    variance: Variance = _no_variance


def average_nodes(curves: Curves, weights: Float[Tensor, " nodes"]) -> Curves:
    """`Σ_k weights_k curve(k)` of each row, as a curve with a single node."""

    def variance(others: Tensor, weight: Tensor) -> Tensor:
        return weight.square() * curves.variance(others.expand(-1, len(weights), -1), weights)

    return Curves(torch.einsum("k,rkc->rc", weights.to(curves.values), curves.values)[:, None], variance)


def multiply_curves(left: Curves, right: Curves, weights: Float[Tensor, " nodes"]) -> Products:
    """`Σ_k weights_k <left(k), right(k)>` of every two curves, and its standard error. The two towers are independent samples."""
    weighted = weights.to(left.values)[:, None] * left.values  # the sum over nodes and channels together is a matrix product
    variance = left.variance(right.values, weights) + right.variance(left.values, weights).T
    return weighted.flatten(1) @ right.values.flatten(1).T, variance.clamp(min=0).sqrt().expand(len(left.values), len(right.values))


@dataclass(frozen=True)
class TowerSummary:
    """One tower along the diagonal path.

    Attributes:
        empty: the embedding without players.
        full: the embedding with all players.
        singles: the embedding of each player alone.
        slopes: `E_p[u(A∪i) - u(A)]` for each player.
        mean: `E_p[u(A)]`, a single curve.
        within: a function from the other tower's mean curve to the Shapley–Taylor indices of every two players of this tower; None if they
            are not available.
    """

    empty: Float[Tensor, " channels"]
    full: Float[Tensor, " channels"]
    singles: Float[Tensor, "players channels"]
    slopes: Curves
    mean: Curves
    within: Callable[[Float[Tensor, "nodes channels"]], Float[Tensor, "players players"]] | None = None


def enumerate_tower(embeddings: Float[Tensor, "coalitions channels"], path: Path) -> TowerSummary:
    """The summary of a tower from the embeddings of all coalitions, in the order of `all_coalitions`."""
    n_players = len(embeddings).bit_length() - 1
    members = all_coalitions(n_players).to(path.nodes)
    slopes, means = [], []
    for p in path.nodes:
        probability = _probabilities(members, p)
        slopes.append((probability[:, None] * _scores(members, p)).T.to(embeddings) @ embeddings)
        means.append(probability.to(embeddings) @ embeddings)

    def within(other_mean: Tensor) -> Tensor:
        values = (embeddings @ other_mean.T).to(members)  # one scalar game for each node
        total = members.new_zeros(n_players, n_players)
        for p, weight, value in zip(path.nodes, path.taylor, values.T, strict=True):
            scores = _scores(members, p)
            total += weight * scores.T @ ((_probabilities(members, p) * value)[:, None] * scores)
        return ((total + total.T) / 2).fill_diagonal_(0).to(embeddings)  # symmetric to the last digit

    singles = embeddings[2 ** torch.arange(n_players, device=embeddings.device)]
    return TowerSummary(embeddings[0], embeddings[-1], singles, Curves(torch.stack(slopes, 1)), Curves(torch.stack(means)[None]), within)


def _probabilities(members: Members, p: Tensor) -> Float[Tensor, " coalitions"]:
    size, n_players = members.sum(1), members.shape[1]
    return p**size * (1 - p) ** (n_players - size)


def _scores(members: Members, p: Tensor) -> Members:
    """`∂ log P_p(A) / ∂p_i`. An expectation weighted by it is the slope in player `i`."""
    return members / p - (1 - members) / (1 - p)


def combine(query: TowerSummary, retrieved: TowerSummary, path: Path) -> Shared:
    """The indices of the game `<u, w>`, a batch of one: exact first order, Shapley values, and pairs between the images.

    Returns:
        `(credits, standard_error)`; the first order is exact and has no standard error.
    """
    first = [(query.singles - query.empty) @ retrieved.empty, (retrieved.singles - retrieved.empty) @ query.empty]
    query_marginal = multiply_curves(query.slopes, retrieved.mean, path.weights)
    retrieved_marginal = multiply_curves(retrieved.slopes, query.mean, path.weights)
    marginal, marginal_error = _join_images(query_marginal, retrieved_marginal)
    maps, map_error = _multiply_whole(query, retrieved, path)
    between, error = multiply_curves(query.slopes, retrieved.slopes, path.taylor)
    credits = Credits(first_order=torch.cat(first)[None], marginal=marginal, given_other=maps, between=between[None])
    return credits, Credits(marginal=marginal_error, given_other=map_error, between=error[None])


def combine_between(query: TowerSummary, retrieved: TowerSummary, path: Path) -> Shared:
    """The credit of the game `<u, w>` shared by single players and pairs between the images, a batch of one: see `share_dividends`.

    `φ_ij = <φ_i(u), φ_j(w)>` with the Shapley values of the embeddings, `φ_i(u) = ∫ E_p[u(A∪i) - u(A)] dp`, whose sums are exact.

    Returns:
        `(credits, standard_error)`.
    """
    left, right = average_nodes(query.slopes, path.weights), average_nodes(retrieved.slopes, path.weights)
    unit = left.values.new_ones(1)

    def multiply(query_side: Tensor, retrieved_side: Tensor) -> tuple[Tensor, Tensor]:
        other = [Curves(embedding.expand(1, 1, -1)) for embedding in (query_side, retrieved_side)]
        return _join_images(multiply_curves(left, other[1], unit), multiply_curves(right, other[0], unit))

    first, first_error = multiply(query.empty, retrieved.empty)
    marginal, marginal_error = multiply((query.empty + query.full) / 2, (retrieved.empty + retrieved.full) / 2)
    between, error = multiply_curves(left, right, unit)
    maps, map_error = _multiply_whole(query, retrieved, path)
    credits = Credits(first_order=first, marginal=marginal, given_other=maps, between=between[None])
    return credits, Credits(first_order=first_error, marginal=marginal_error, given_other=map_error, between=error[None])


def _multiply_whole(
    query: TowerSummary, retrieved: TowerSummary, path: Path
) -> tuple[Float[Tensor, "1 players"], Float[Tensor, "1 players"]]:
    """The Shapley values of each image's players with the whole other image, `∫ <E_p[u(A∪i) - u(A)], w(N)> dp`, and their errors."""
    wholes = [Curves(tower.full.expand(1, len(path.nodes), -1)) for tower in (query, retrieved)]
    return _join_images(multiply_curves(query.slopes, wholes[1], path.weights), multiply_curves(retrieved.slopes, wholes[0], path.weights))


def _join_images(query: Products, retrieved: Products) -> tuple[Float[Tensor, "1 players"], Float[Tensor, "1 players"]]:
    """Values and errors of the players of both images, a batch of one."""
    return torch.cat([query[0], retrieved[0]]).T, torch.cat([query[1], retrieved[1]]).T


def tower_interactions(
    game: Game, query: TowerSummary, retrieved: TowerSummary, credits: Credits, errors: Credits | None = None, *, within: bool
) -> Interactions:
    """The interactions from two summaries and their combined credits; with `within`, also the pairs within each image if available."""
    sides = {"within_query": (query, retrieved), "within_retrieved": (retrieved, query)} if within else {}
    pairs = {name: own.within(other.mean.values[0])[None] for name, (own, other) in sides.items() if own.within is not None}
    ends = torch.stack([query.empty @ retrieved.empty, query.full @ retrieved.full])
    apart = {"without_query": query.empty @ retrieved.full, "without_retrieved": query.full @ retrieved.empty}
    known = get_blocks(credits) | pairs | {name: value[None] for name, value in apart.items()}
    return make_interactions(ends, game.n_query, game.n_evaluations, standard_error=errors, **known)
