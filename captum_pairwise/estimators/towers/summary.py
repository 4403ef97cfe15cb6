"""Summaries of one tower: its embedding along the presence probabilities of its players, and products of the summaries of two towers."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.estimators.coalitions import all_coalitions
from captum_pairwise.estimators.index_path import Nodes

Variance = Callable[[Float[Tensor, "others nodes channels"], Nodes], Float[Tensor, "rows others"]]
Members = Float[Tensor, "coalitions players"]
Products = tuple[Tensor, Tensor]  # values [left, right] and their standard errors


def _no_variance(others: Tensor, weights: Tensor) -> Tensor:
    return others.new_zeros(1, len(others))


@dataclass(frozen=True)
class CurveCovariance:
    """The posterior covariance `V_i(k, l) Σ` of the channels of curve `i` at the nodes `k` and `l`, with `Σ = channelsᵀ channels`.

    Attributes:
        nodes: `V`.
        channels: a factor of `Σ`.
        inflate: for weights of the nodes, the factor by which the variance of `Σ_k weights_k curve(k)` is larger for each row.
    """

    nodes: Float[Tensor, "rows nodes nodes"]
    channels: Float[Tensor, "factors channels"]
    inflate: Callable[[Nodes], Float[Tensor, " rows"]]

    def weigh(self, weights: Nodes) -> "CurveCovariance":
        """The covariance of `Σ_k weights_k curve(k)`, a single node."""
        factors, of_nodes = self.inflate(weights), weights.to(self.nodes)
        weighted = factors * (of_nodes @ self.nodes @ of_nodes)
        return CurveCovariance(weighted[:, None, None], self.channels, lambda _: torch.ones_like(factors))

    def project(self, others: Float[Tensor, "others nodes channels"], weights: Nodes) -> Float[Tensor, "rows others"]:
        """`Σ_kl weights_k weights_l V_i(k, l) <other_j(k), Σ other_j(l)>`: the variance of products with known curves."""
        scaled = torch.einsum("fc,jkc->jkf", self.channels, weights.to(others)[:, None] * others)
        return self.inflate(weights)[:, None] * (self.nodes.flatten(1) @ (scaled @ scaled.mT).flatten(1).T)

    def trace(self, other: "CurveCovariance", weights: Nodes) -> Float[Tensor, "rows others"]:
        """`Σ_kl weights_k weights_l tr(V_i(k, l) Σ V'_j(k, l) Σ')` with every curve of another tower."""
        factors, of_nodes = self.inflate(weights)[:, None] * other.inflate(weights), weights.to(self.nodes)
        weighted = (of_nodes[:, None] * of_nodes * self.nodes).flatten(1)
        return factors * (self.channels @ other.channels.T).square().sum() * (weighted @ other.nodes.flatten(1).T)


@dataclass(frozen=True)
class Curves:
    """Embeddings along the path, with their uncertainty.

    Attributes:
        values: one curve for each row.
        variance: for other curves and weights, the variance of `Σ_k weights_k <curve(k), other(k)>` for each row and each other curve.
            By default it is 0.
        covariance: of a posterior; None for curves that are known or unbiased.
    """

    values: Float[Tensor, "rows nodes channels"]
    variance: Variance = _no_variance
    covariance: CurveCovariance | None = None


def make_posterior(mean: Float[Tensor, "rows nodes channels"], covariance: CurveCovariance) -> Curves:
    """The curves of a posterior."""
    return Curves(mean, covariance.project, covariance)


def average_nodes(curves: Curves, weights: Nodes) -> Curves:
    """`Σ_k weights_k curve(k)` of each row, as a curve with a single node."""
    values = torch.einsum("k,rkc->rc", weights.to(curves.values), curves.values)[:, None]
    if curves.covariance is not None:
        return make_posterior(values, curves.covariance.weigh(weights))

    def variance(others: Tensor, weight: Tensor) -> Tensor:
        return weight.square() * curves.variance(others.expand(-1, len(weights), -1), weights)

    return Curves(values, variance)


def multiply_curves(left: Curves, right: Curves, weights: Nodes) -> Products:
    """`Σ_k weights_k <left(k), right(k)>` of every two curves, and its standard error. The two towers are independent samples.

    The variance of a product of two posteriors is `m'Σm + m̃'Σ̃m̃ + tr ΣΣ̃`. For unbiased estimates the last part is left out, because the
    squares of their noisy values already contain it, in each of the first two parts.
    """
    weighted = weights.to(left.values)[:, None] * left.values  # the sum over nodes and channels together is a matrix product
    variance = left.variance(right.values, weights) + right.variance(left.values, weights).T
    if left.covariance is not None and right.covariance is not None:
        variance = variance + left.covariance.trace(right.covariance, weights)
    return weighted.flatten(1) @ right.values.flatten(1).T, variance.clamp(min=0).sqrt().expand(len(left.values), len(right.values))


@dataclass(frozen=True)
class TowerSummary:
    """One tower at the nodes of a path.

    Attributes:
        empty: the embedding without players.
        full: the embedding with all players.
        slopes: `E_p[u(A∪i) - u(A)]` for each player.
        mean: `E_p[u(A)]`, a single curve.
        within: a function from the other tower's mean curve and weights to `Σ_k weights_k <E_p[δ_ii' u], mean(k)>` of every two players of
            this tower, and its standard error; None if they are not available.
    """

    empty: Float[Tensor, " channels"]
    full: Float[Tensor, " channels"]
    slopes: Curves
    mean: Curves
    within: Callable[[Float[Tensor, "nodes channels"], Nodes], Products] | None = None


def enumerate_tower(embeddings: Float[Tensor, "coalitions channels"], nodes: Nodes) -> TowerSummary:
    """The summary of a tower from the embeddings of all coalitions, in the order of `all_coalitions`."""
    n_players = len(embeddings).bit_length() - 1
    members = all_coalitions(n_players).to(nodes)
    slopes = [_weigh_steps(members, p).T.to(embeddings) @ embeddings for p in nodes]
    means = [_weigh_sizes(members.sum(1), n_players, p).to(embeddings) @ embeddings for p in nodes]

    def within(other_mean: Tensor, weights: Nodes) -> Products:
        values = (embeddings @ other_mean.T).to(members)  # one scalar game for each node
        total = members.new_zeros(n_players, n_players)
        for p, weight, value in zip(nodes, weights, values.T, strict=True):
            total += weight * _average_mixed_differences(members, p, value)
        pairs = ((total + total.T) / 2).fill_diagonal_(0).to(embeddings)  # symmetric to the last digit
        return pairs, torch.zeros_like(pairs)

    return TowerSummary(embeddings[0], embeddings[-1], Curves(torch.stack(slopes, 1)), Curves(torch.stack(means)[None]), within)


def _weigh_sizes(size: Tensor, n_players: int, p: Tensor) -> Tensor:
    """The probability of a coalition of this size of `n_players` players that are present with probability `p`."""
    return p ** size.clamp(min=0) * (1 - p) ** (n_players - size).clamp(min=0)


def _weigh_steps(members: Members, p: Tensor) -> Members:
    """The weights with which the values of all coalitions sum to the slope in each player: it is present or absent, the others random."""
    others = members.sum(1, keepdim=True) - members
    return (2 * members - 1) * _weigh_sizes(others, members.shape[1] - 1, p)


def _average_mixed_differences(members: Members, p: Tensor, values: Float[Tensor, " coalitions"]) -> Float[Tensor, "players players"]:
    """`E_p[δ_ii' v]` of every two players. Its diagonal has no meaning."""
    size, absent = members.sum(1), 1 - members
    both, one, neither = (_weigh_sizes(size - n_present, members.shape[1] - 2, p) * values for n_present in (2, 1, 0))
    mixed = members.T @ (one[:, None] * absent)
    return members.T @ (both[:, None] * members) + absent.T @ (neither[:, None] * absent) - mixed - mixed.T
