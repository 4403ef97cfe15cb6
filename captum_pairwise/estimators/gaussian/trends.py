"""Trends of a function along the size of the coalition: features, and their expectations in closed form.

The features are `T_k(|A|)`, and `(z_l - ½) T_k(|A|)` for each player `l`, with Chebyshev polynomials `T_k` of the size scaled to [-1, 1].
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.estimators.quadrature import size_probabilities

DEGREE = 2
N_COMMON, N_OWN = DEGREE + 2, DEGREE + 1  # number of features of the size, and of features of each player


def trends(rows: Float[Tensor, "rows players"]) -> Float[Tensor, "rows trends"]:
    """The features of each row of presences."""
    n_players = rows.shape[1]
    by_size = _chebyshev(n_players)[rows.sum(1).long()]
    own = (rows - 0.5)[:, :, None] * by_size[:, None, :N_OWN]
    return torch.cat([by_size, own.flatten(1)], 1)


class ExpectedTrends(NamedTuple):
    """The expectation of the features, of their change by one player, or of their mixed difference for two players.

    It has few distinct numbers, because all players are alike.

    Attributes:
        common: for the features of the size.
        own: for the features of a player that changes.
        other: for the features of any other player.
    """

    common: Float[Tensor, "*nodes common"]
    own: Float[Tensor, "*nodes degrees"]
    other: Float[Tensor, "*nodes degrees"]

    def multiply(self, vectors: Float[Tensor, "*rows trends"]) -> tuple[Float[Tensor, "*rows"], Float[Tensor, "*rows players"]]:
        """The inner product with vectors, in two parts: a common part, and a part for each player, to be added for those that change."""
        of_size, of_players = vectors[..., :N_COMMON], vectors[..., N_COMMON:].unflatten(-1, (-1, N_OWN))
        return of_size @ self.common + of_players.sum(-2) @ self.other, of_players @ (self.own - self.other)


def trend_expectations(order: int, p: Float[Tensor, "*nodes"], n_players: int) -> ExpectedTrends:
    """The expectation at `p` of the features, of their change by each player, or of their mixed difference for each pair.

    Args:
        order: number of players that change, 0, 1 or 2.
        p: probability that a player is present.
        n_players: number of players.
    """
    by_size = _chebyshev(n_players)
    change, probabilities = by_size.diff(n=order, dim=0), size_probabilities(n_players - order, p)
    own = other = p.new_zeros(*p.shape, N_OWN)
    if order > 0:  # the feature of a player that changes is ½ with it and -½ without it
        lower = by_size.diff(n=order - 1, dim=0)[:, :N_OWN]
        own = probabilities @ (lower[1:] + lower[:-1]) / 2
    if n_players > order:
        fewer, change_own = size_probabilities(n_players - order - 1, p), change[:, :N_OWN]
        other = (p[..., None] * fewer @ change_own[1:] - (1 - p[..., None]) * fewer @ change_own[:-1]) / 2
    return ExpectedTrends(probabilities @ change, own, other)


def _chebyshev(n_players: int) -> Float[Tensor, "sizes common"]:
    """`T_0 … T_{DEGREE+1}` of every size, scaled to [-1, 1]."""
    x = torch.linspace(-1, 1, n_players + 1, dtype=torch.float64, device="cpu")
    polynomials = [torch.ones_like(x), x]
    while len(polynomials) < N_COMMON:
        polynomials.append(2 * x * polynomials[-1] - polynomials[-2])
    return torch.stack(polynomials, 1)
