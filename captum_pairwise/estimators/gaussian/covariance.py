"""Covariance between coalitions. Its expectations under independent presence with probability `p` have closed forms."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from captum_pairwise.estimators.gaussian.trends import N_COMMON, N_OWN, ExpectedTrends, trend_expectations, trends

Rows = Float[Tensor, "rows players"]
Nodes = Float[Tensor, " nodes"]
Pairs = Float[Tensor, "players players"]
NUMBERS_AT_ONCE = 2**20
SMALL_RATES = 0.1  # of the smoother part, relative to the smooth one
NEARLY_CERTAIN = 1e-13  # relative changes have no limit at p = 0 and 1; the expectations are polynomials in p and move by as little


class ExpectedProduct(NamedTuple):
    """The expectation of a product with some rows.

    Attributes:
        present: its relative change by each player, for rows that have the player.
        absent: the same for rows that do not have it.
        mean: the expectation for each row.
    """

    present: Float[Tensor, " players"]
    absent: Float[Tensor, " players"]
    mean: Float[Tensor, " rows"]

    def steps(self, rows: Rows) -> Rows:
        """The relative change by each player, for each of the same rows."""
        return torch.lerp(self.absent, self.present, rows)


@dataclass(frozen=True)
class Walsh:
    """A product over players: `e^{-rates_l}` if one of `A` and `B` has player `l`, `e^{-fading}` if both have it, `e^{fading}` if neither.

    Interactions decrease with their order, and players with a high rate matter most. With a fading above 0 the function changes most where
    few players are present, as networks do when most of an image is hidden.
    """

    rates: Float[Tensor, " players"]
    fading: Float[Tensor, ""]

    def gram(self, rows: Rows) -> Float[Tensor, "rows rows"]:
        """The product for every two rows."""
        distance = (rows * self.rates) @ (1 - rows).T - self._log_scales(rows)[:, None]
        return torch.exp(-distance - distance.T)

    def variances(self, rows: Rows) -> Float[Tensor, " rows"]:
        """The product of each row with itself."""
        return (2 * self._log_scales(rows)).exp()

    def _log_scales(self, rows: Rows) -> Float[Tensor, " rows"]:
        return self.fading * (rows.shape[1] / 2 - rows.sum(1))

    def expectation(self, p: Tensor, rows: Rows) -> ExpectedProduct:
        """`E_p` of the product with every row, and its relative change by each player."""
        p, differs = _shrink(p), torch.exp(-self.rates)
        both, neither = torch.exp(-self.fading), self.fading.exp()
        with_player, without = p * both + (1 - p) * differs, p * differs + (1 - p) * neither
        logarithms = rows @ (with_player.log() - without.log()) + without.log().sum()
        return ExpectedProduct((both - differs) / with_player, (differs - neither) / without, logarithms.exp())

    def overlap(self, nodes: Nodes) -> tuple[Float[Tensor, "players nodes nodes"], Float[Tensor, "nodes nodes"]]:
        """The relative change of `E_p E_p'` by a player in both coalitions, and `E_p E_p'` of two independent coalitions."""
        nodes = _shrink(nodes)
        p, q, differs = nodes[:, None], nodes, torch.exp(-self.rates)[:, None, None]
        absent, present = self.fading.exp(), torch.exp(-self.fading)
        mean = (1 - p) * (1 - q) * absent + p * q * present + (p + q - 2 * p * q) * differs
        return (absent + present - 2 * differs) / mean, mean.prod(0)


def _shrink(p: Tensor) -> Tensor:
    """Probabilities that differ from 0 and 1."""
    return p.clamp(NEARLY_CERTAIN, 1 - NEARLY_CERTAIN)


@dataclass(frozen=True)
class CoalitionKernel:
    """The prior covariance of a function of coalitions: trends along the size, a smooth part, and a rough part.

    `k(A, B) = smooth(A, B) + wide smoother(A, B) + rough smooth(A, A) [A = B] + Σ_f scale_f f(A) f(B)`. The features `f` are `trends`:
    coalitions of the same size have something in common, and so have the effects of a player at the same size. Few coalitions suffice to
    estimate them. `smoother` has a tenth of the rates of `smooth`: with one product alone, rates that fit similar coalitions would make
    distant ones independent. The rough part stands for interactions among many players. It belongs to the function and is not noise, so the
    process reproduces its data.

    Attributes:
        smooth: interactions among few players.
        wide: prior variance of the smoother part, relative to the smooth part.
        rough: prior variance of the rough part, relative to the smooth part.
        common: prior variance of the trends of the size.
        own: prior variance of the trends of all players together, for each degree. The players share it in proportion to their rates.
    """

    smooth: Walsh
    wide: Float[Tensor, ""]
    rough: Float[Tensor, ""]
    common: Float[Tensor, ""]
    own: Float[Tensor, " degrees"]

    @property
    def n_players(self) -> int:
        """The number of players."""
        return len(self.smooth.rates)

    def gram(self, rows: Rows) -> Float[Tensor, "rows rows"]:
        """`k` of every two of distinct rows of presences."""
        features, rough = trends(rows), self.rough * self.smooth.variances(rows)
        smooth = self.smooth.gram(rows) + self.wide * self._smoother.gram(rows)
        return smooth + rough.diag() + (features * self._scales()) @ features.T

    @property
    def _smoother(self) -> Walsh:
        return Walsh(SMALL_RATES * self.smooth.rates, self.smooth.fading)

    def _scales(self) -> Float[Tensor, " trends"]:
        return torch.cat([self.common.expand(N_COMMON), self._own_scales().flatten()])

    def _own_scales(self) -> Float[Tensor, "players degrees"]:
        rates = self.smooth.rates
        return (4 / self.n_players * rates / rates.log().mean().exp())[:, None] * self.own

    def _terms(self) -> list[tuple[Tensor, Walsh]]:
        """The products with their scales. The rough part is a product with infinite rates."""
        rough = Walsh(self.smooth.rates + torch.inf, self.smooth.fading)
        return [(torch.ones_like(self.rough), self.smooth), (self.wide, self._smoother), (self.rough, rough)]

    def expectations(self, nodes: Nodes, rows: Rows) -> tuple[Float[Tensor, "nodes rows"], Float[Tensor, "players nodes rows"]]:
        """`E_p[k(·, row)]`, and `E_p[k(A∪i, row) - k(A, row)]` of each player, at every node.

        A slope depends on whether its row has the player. In both cases the table of players and rows is a product of two thin matrices.
        """
        sizes, transposed, own = trends(rows)[:, :N_COMMON], rows.T.contiguous(), self._own_scales()
        degrees = sizes[:, :N_OWN]
        own_sums = degrees * ((rows - 0.5) @ own)
        means, slopes = rows.new_empty(len(nodes), len(rows)), rows.new_empty(self.n_players, len(nodes), len(rows))
        for number, p in enumerate(nodes):
            scales, products = zip(*((scale, product.expectation(p, rows)) for scale, product in self._terms()), strict=True)
            expected = [scale * product.mean for scale, product in zip(scales, products, strict=True)]
            constant, changed = (trend_expectations(order, p, self.n_players) for order in (0, 1))
            means[number] = sizes @ (self.common * constant.common) + own_sums @ constant.other + sum(expected)
            of_trends = own * (changed.own - changed.other) / 2  # of rows with the player; without it the opposite
            absent = torch.cat([-of_trends, torch.stack([product.absent for product in products], 1)], 1)
            present = torch.cat([of_trends, torch.stack([product.present for product in products], 1)], 1)
            of_rows = torch.stack([*degrees.T, *expected])
            for_all = sizes @ (self.common * changed.common) + own_sums @ changed.other
            slopes[:, number] = torch.lerp(absent @ of_rows, present @ of_rows, transposed).add_(for_all)
        return means, slopes

    def pairs(self, p: Tensor, rows: Rows, weights: Float[Tensor, " rows"]) -> Pairs:
        """`Σ_r weights_r E_p[δ_ij k(·, row_r)]`. Its diagonal has no meaning."""
        same, share = trend_expectations(2, p, self.n_players).multiply(self._scales() * (trends(rows).T @ weights))
        total = same + share[:, None] + share
        for scale, product in self._terms():
            expected = product.expectation(p, rows)
            steps = expected.steps(rows)
            total = total + steps.T @ ((scale * weights * expected.mean)[:, None] * steps)
        return total

    def mean_covariance(self, nodes: Nodes) -> Float[Tensor, "nodes nodes"]:
        """The prior covariance of `E_p[f]` between nodes."""
        products = (scale * product.overlap(nodes)[1] for scale, product in self._terms())
        return sum(products, self._trend_covariance(0, nodes)[0])

    def slope_covariance(self, nodes: Nodes) -> Float[Tensor, "players nodes nodes"]:
        """The prior covariance of `E_p[f(A∪i) - f(A)]` between nodes."""
        total = self._trend_covariance(1, nodes)
        for scale, product in self._terms():
            changes, overlap = product.overlap(nodes)
            total = total + scale * changes * overlap
        return total

    def _trend_covariance(self, order: int, nodes: Nodes) -> Float[Tensor, "players nodes nodes"]:
        """The part of the trends in a covariance between nodes; with order 1, for each player that changes."""
        common, own, other = trend_expectations(order, nodes, self.n_players)
        of_size, of_players = self._scales()[:N_COMMON], self._scales()[N_COMMON:].unflatten(0, (-1, N_OWN))
        changing = of_players if order else torch.zeros_like(of_players)
        total = torch.einsum("kd,d,ld->kl", common, of_size, common)
        for scales, features in ((of_players.sum(0) - changing, other), (changing, own)):
            total = total + torch.einsum("id,kd,ld->ikl", scales, features, features)
        return total

    def pair_covariances(
        self, nodes: Nodes, weights: Nodes, rows: Rows, at_once: int
    ) -> Iterator[tuple[Float[Tensor, "some players rows"], Float[Tensor, "some players"]]]:
        """The prior covariances of `F_ij = Σ_k weights_k E_{p_k}[δ_ij f]` with the rows, and its variance. `i = j` has no meaning.

        Args:
            nodes: `p_k`.
            weights: `weights_k`.
            rows: the coalitions.
            at_once: number of players `i` in each item, each with every `j`.

        Yields:
            covariances and variances of the next players.
        """
        features = ExpectedTrends(*(weights @ numbers for numbers in trend_expectations(2, nodes, self.n_players)))
        variances = self._pair_variances(nodes, weights, features)
        batches = rows.split(max(1, NUMBERS_AT_ONCE // (len(nodes) * self.n_players)))
        for some in torch.arange(self.n_players, device="cpu").split(at_once):
            covariances = []
            for batch in batches:
                same, share = features.multiply(trends(batch) * self._scales())
                of_trends = (same[:, None] + share[:, some])[..., None], share[:, None]
                covariances.append(self._step_products(nodes, weights, batch, some).add_(of_trends[0]).add_(of_trends[1]))
            yield torch.cat(covariances).permute(1, 2, 0), variances[some]

    def _pair_variances(self, nodes: Nodes, weights: Nodes, features: ExpectedTrends) -> Pairs:
        same, share = ExpectedTrends(*(numbers.square() for numbers in features)).multiply(self._scales())
        both_weights, variances = weights[:, None] * weights, same + share[:, None] + share
        for scale, product in self._terms():
            changes, overlap = product.overlap(nodes)
            variances = variances + scale * (changes * (both_weights * overlap)).flatten(1) @ changes.flatten(1).T
        return variances

    def _step_products(self, nodes: Nodes, weights: Nodes, rows: Rows, some: Int[Tensor, " some"]) -> Float[Tensor, "rows some players"]:
        """The products of the steps of two players, summed over the nodes: a matrix product for each row."""
        total = torch.zeros(len(rows), len(some), self.n_players, dtype=rows.dtype, device=rows.device)
        for scale, product in self._terms():
            expected = [product.expectation(p, rows) for p in nodes]
            means, steps = torch.stack([one.mean for one in expected], 1), torch.stack([one.steps(rows) for one in expected], 1)
            total.baddbmm_(((scale * weights * means)[..., None] * steps[..., some]).mT, steps)
        return total
