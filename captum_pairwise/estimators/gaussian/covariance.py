"""A covariance between coalitions, and its expectations when every player is in with probability `p`, in closed form."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from captum_pairwise.estimators.gaussian.trends import N_COMMON, N_OWN, ExpectedTrends, sum_expectations, trend_expectations, trends

Rows = Float[Tensor, "rows players"]
NUMBERS_AT_ONCE = 2**20


@dataclass(frozen=True)
class Walsh:
    """A product over players, with the factor `e^{-rates_l}` where `A` and `B` differ in player `l`.

    Interactions fade with their order, and players of high rate matter most.
    """

    rates: Float[Tensor, " players"]

    def gram(self, rows: Rows) -> Float[Tensor, "rows rows"]:
        """The product for every two rows."""
        apart = (rows * self.rates) @ (1 - rows).T
        return torch.exp(-apart - apart.T)

    def expected(self, p: Tensor, rows: Rows) -> tuple[Rows, Float[Tensor, " rows"]]:
        """`E_p` with every row, and the factor by which it becomes the expectation of each player's difference."""
        differs = torch.exp(-self.rates)
        present, absent = torch.where(rows > 0, 1.0, differs), torch.where(rows > 0, differs, 1.0)
        mean = p * present + (1 - p) * absent
        return (present - absent) / mean, mean.prod(1)

    def overlap(self, nodes: Float[Tensor, " nodes"]) -> tuple[Float[Tensor, "players nodes nodes"], Float[Tensor, "nodes nodes"]]:
        """`E_p E_p'` over two independent coalitions, and the factor by which it becomes that of a player's difference in both."""
        p, q, differs = nodes[:, None], nodes, torch.exp(-self.rates)[:, None, None]
        mean = 1 - (p + q - 2 * p * q) * (1 - differs)
        return 2 * (1 - differs) / mean, mean.prod(0)


@dataclass(frozen=True)
class CoalitionKernel:
    """What a function of coalitions is expected to be like: trends along the size of the coalition, a smooth rest, and a rough one.

    `k(A, B) = smooth(A, B) + rough [A = B] + Σ_f scale_f f(A) f(B)`. The features `f` are those of `trends`: all coalitions of a size have
    something in common, and so has what a player does at a size. They are what few coalitions can tell. The rough term is that of
    interactions among many players; as it belongs to the function, and is no noise, what was seen is reproduced.

    Attributes:
        smooth: interactions among few players.
        rough: the prior variance of what coalitions do not share.
        common: that of the trends of the size.
        own: that of the trends of all players together, for each degree, shared among the players by their rates.
    """

    smooth: Walsh
    rough: Float[Tensor, ""]
    common: Float[Tensor, ""]
    own: Float[Tensor, " degrees"]

    @property
    def n_players(self) -> int:
        """How many players there are."""
        return len(self.smooth.rates)

    def gram(self, rows: Rows) -> Float[Tensor, "rows rows"]:
        """`k` of every two of distinct rows of presences."""
        features = trends(rows)
        rough = self.rough * torch.eye(len(rows), dtype=rows.dtype)
        return self.smooth.gram(rows) + rough + (features * self._scales()) @ features.T

    def _scales(self) -> Float[Tensor, " trends"]:
        rates = self.smooth.rates
        share = 4 / self.n_players * rates / rates.log().mean().exp()
        return torch.cat([self.common.expand(N_COMMON), (share[:, None] * self.own).flatten()])

    def _terms(self) -> list[tuple[Tensor, Walsh]]:
        """The products, with their scales; the rough one is that of infinite rates."""
        return [(torch.ones_like(self.rough), self.smooth), (self.rough, Walsh(self.smooth.rates + torch.inf))]

    def expectations(
        self, nodes: Float[Tensor, " nodes"], rows: Rows
    ) -> tuple[Float[Tensor, "nodes rows"], Float[Tensor, "players nodes rows"]]:
        """`E_p[k(·, row)]`, and `E_p[k(A∪i, row) - k(A, row)]` of each player, at every node."""
        scaled = trends(rows) * self._scales()
        means, slopes = [], []
        for p in nodes:
            mean, _ = trend_expectations(0, p, self.n_players).parts(scaled)
            same, share = trend_expectations(1, p, self.n_players).parts(scaled)
            slope = share.T + same
            for scale, product in self._terms():
                steps, whole = product.expected(p, rows)
                mean, slope = mean + scale * whole, slope + (scale * steps * whole[:, None]).T
            means.append(mean)
            slopes.append(slope)
        return torch.stack(means), torch.stack(slopes, 1)

    def pairs(self, p: Tensor, rows: Rows, weights: Float[Tensor, " rows"]) -> Float[Tensor, "players players"]:
        """`Σ_r weights_r E_p[δ_ij k(·, row_r)]`; the diagonal means nothing."""
        same, share = trend_expectations(2, p, self.n_players).parts(self._scales() * (trends(rows).T @ weights))
        total = same + share[:, None] + share
        for scale, product in self._terms():
            steps, whole = product.expected(p, rows)
            total = total + steps.T @ ((scale * weights * whole)[:, None] * steps)
        return total

    def mean_covariance(self, nodes: Float[Tensor, " nodes"]) -> Float[Tensor, "nodes nodes"]:
        """The covariance of `E_p[f]` between nodes, before anything is known of `f`."""
        total = self._trend_covariance(0, nodes)[0]
        for scale, product in self._terms():
            total = total + scale * product.overlap(nodes)[1]
        return total

    def slope_covariance(self, nodes: Float[Tensor, " nodes"]) -> Float[Tensor, "players nodes nodes"]:
        """The covariance of `E_p[f(A∪i) - f(A)]` between nodes, before anything is known of `f`."""
        total = self._trend_covariance(1, nodes)
        for scale, product in self._terms():
            changes, whole = product.overlap(nodes)
            total = total + scale * changes * whole
        return total

    def _trend_covariance(self, order: int, nodes: Float[Tensor, " nodes"]) -> Float[Tensor, "players nodes nodes"]:
        """What the trends add to a covariance between nodes; of each player, where one changes."""
        expected = [trend_expectations(order, p, self.n_players) for p in nodes]
        common, own, other = (torch.stack([getattr(one, name) for one in expected]) for name in ("common", "own", "other"))
        of_size, of_players = self._scales()[:N_COMMON], self._scales()[N_COMMON:].unflatten(0, (-1, N_OWN))
        changing = of_players if order else torch.zeros_like(of_players)
        total = torch.einsum("kd,d,ld->kl", common, of_size, common)
        for each, features in ((of_players.sum(0) - changing, other), (changing, own)):
            total = total + torch.einsum("id,kd,ld->ikl", each, features, features)
        return total

    def pair_covariances(
        self, nodes: Float[Tensor, " nodes"], weights: Float[Tensor, " nodes"], rows: Rows, at_once: int
    ) -> Iterator[tuple[Float[Tensor, "some players rows"], Float[Tensor, "some players"]]]:
        """What `F_ij = Σ_k weights_k E_{p_k}[δ_ij f]` has to do with the rows, and its variance; `i = j` means nothing.

        Args:
            nodes: `p_k`.
            weights: `weights_k`.
            rows: the coalitions.
            at_once: how many players `i` to yield at a time, each with every `j`.

        Yields:
            both of the next players.
        """
        features = sum_expectations([trend_expectations(2, p, self.n_players) for p in nodes], weights)
        variances = self._pair_variances(nodes, weights, features)
        batches = rows.split(max(1, NUMBERS_AT_ONCE // (len(nodes) * self.n_players)))
        for some in torch.arange(self.n_players).split(at_once):
            found = []
            for batch in batches:
                same, share = features.parts(trends(batch) * self._scales())
                found.append(
                    self._steps(nodes, weights, batch, some).add_((same[:, None] + share[:, some])[..., None]).add_(share[:, None])
                )
            yield torch.cat(found).permute(1, 2, 0), variances[some]

    def _pair_variances(
        self, nodes: Float[Tensor, " nodes"], weights: Float[Tensor, " nodes"], features: ExpectedTrends
    ) -> Float[Tensor, "players players"]:
        same, share = features.squared().parts(self._scales())
        both_weights, variances = weights[:, None] * weights, same + share[:, None] + share
        for scale, product in self._terms():
            changes, whole = product.overlap(nodes)
            variances = variances + scale * (changes * (both_weights * whole)).flatten(1) @ changes.flatten(1).T
        return variances

    def _steps(
        self, nodes: Float[Tensor, " nodes"], weights: Float[Tensor, " nodes"], rows: Rows, some: Int[Tensor, " some"]
    ) -> Float[Tensor, "rows some players"]:
        """What the steps of two players have in common, summed over the nodes: a product of matrices for each row."""
        total = torch.zeros(len(rows), len(some), self.n_players, dtype=rows.dtype)
        for scale, product in self._terms():
            expected = [product.expected(p, rows) for p in nodes]
            steps, whole = torch.stack([step for step, _ in expected], 1), torch.stack([one for _, one in expected], 1)
            total.baddbmm_(((scale * weights * whole)[..., None] * steps[..., some]).mT, steps)
        return total
