"""What functions of coalitions have in common along the size of the coalition: features, and their expectations in closed form.

The features are `T_k(|A|)`, and `(z_l - ½) T_k(|A|)` for each player `l`, with Chebyshev polynomials of the size scaled to [-1, 1].
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

DEGREE = 2
N_COMMON, N_OWN = DEGREE + 2, DEGREE + 1  # features of the size alone, and of each player


def trends(rows: Float[Tensor, "rows players"]) -> Float[Tensor, "rows trends"]:
    """The features of each row of presences."""
    n_players = rows.shape[1]
    by_size = _chebyshev(n_players)[rows.sum(1).long()]
    own = (rows - 0.5)[:, :, None] * by_size[:, None, :N_OWN]
    return torch.cat([by_size, own.flatten(1)], 1)


@dataclass(frozen=True)
class ExpectedTrends:
    """The expectation of the features, of what players `i` add to them, or of the mixed difference of two players: it has few numbers.

    Attributes:
        common: of the features of the size.
        own: of those of a player that changes.
        other: of those of every other player.
    """

    common: Float[Tensor, " common"]
    own: Float[Tensor, " degrees"]
    other: Float[Tensor, " degrees"]

    def parts(self, vectors: Float[Tensor, "*rows trends"]) -> tuple[Float[Tensor, "*rows"], Float[Tensor, "*rows players"]]:
        """The inner product with vectors, in two parts: the first, and the second of every player that changes, summed."""
        of_size, of_players = vectors[..., :N_COMMON], vectors[..., N_COMMON:].unflatten(-1, (-1, N_OWN))
        return of_size @ self.common + of_players.sum(-2) @ self.other, of_players @ (self.own - self.other)

    def squared(self) -> "ExpectedTrends":
        """Every number squared."""
        return ExpectedTrends(self.common.square(), self.own.square(), self.other.square())


def sum_expectations(expected: Sequence[ExpectedTrends], weights: Float[Tensor, " nodes"]) -> ExpectedTrends:
    """The sum over nodes."""
    common, own, other = (weights @ torch.stack([getattr(one, name) for one in expected]) for name in ("common", "own", "other"))
    return ExpectedTrends(common, own, other)


def trend_expectations(order: int, p: Tensor, n_players: int) -> ExpectedTrends:
    """The expectation at `p` of the features themselves, of what each player adds to them, or of each pair's mixed difference.

    Args:
        order: 0, 1 or 2, how many players change.
        p: the probability of each player to be in.
        n_players: how many players there are.
    """
    by_size = _chebyshev(n_players)
    change = by_size.diff(n=order, dim=0)
    common = _binomial(n_players - order, p) @ change
    own, other = torch.zeros(N_OWN, dtype=p.dtype), torch.zeros(N_OWN, dtype=p.dtype)
    if order > 0:  # a player whose presence changes stands for ½ with it and for -½ without
        less = by_size.diff(n=order - 1, dim=0)[:, :N_OWN]
        own = _binomial(n_players - order, p) @ (less[1:] + less[:-1]) / 2
    if n_players > order:
        chances, change = _binomial(n_players - order - 1, p), change[:, :N_OWN]
        other = (p * chances @ change[1:] - (1 - p) * chances @ change[:-1]) / 2
    return ExpectedTrends(common, own, other)


def _chebyshev(n_players: int) -> Float[Tensor, "sizes common"]:
    """`T_0 … T_{DEGREE+1}` of every size, scaled to [-1, 1]."""
    x = torch.linspace(-1, 1, n_players + 1, dtype=torch.float64)
    polynomials = [torch.ones_like(x), x]
    while len(polynomials) < N_COMMON:
        polynomials.append(2 * x * polynomials[-1] - polynomials[-2])
    return torch.stack(polynomials, 1)


def _binomial(n_players: int, p: Tensor) -> Float[Tensor, " sizes"]:
    return torch.distributions.Binomial(n_players, p).log_prob(torch.arange(n_players + 1, dtype=p.dtype)).exp()
