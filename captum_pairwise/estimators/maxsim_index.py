"""Interactions of tokens under MaxSim, exactly: every token keeps its embedding, and coalitions choose which tokens are compared.

The game of one query token `q` with the scores `s_(1) ≥ … ≥ s_(n)` of the retrieved tokens is a sum of games "the query token and one of
the best `k` retrieved tokens are present":

    v_q(S) = [q ∈ S] (s_(n+1) + Σ_k (s_(k) - s_(k+1)) [S holds one of the best k]),    s_(n+1): the value of an empty maximum

An index `∫ f(p) E_p[δ v] dp` of such a game depends on `k` alone, because `E_p[δ_qd] = (1-p)^(k-1)` and `E_p[δ_dd'] = -p (1-p)^(k-2)`. So
every pair follows from one sort of the scores of each query token. The pairs of the Shapley–Taylor index, for example, get `2 / (k+1)`.
"""

from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from captum_pairwise.estimators.index_path import make_index_path
from captum_pairwise.results.index import CO_MOEBIUS, Index
from captum_pairwise.results.interactions import Interactions

Ranks = Float[Tensor, " ranks"]
Scores = Float[Tensor, "batch query retrieved"]
Gains = Float[Tensor, "batch query ranks"]  # `s_(k) - s_(k+1)`


@dataclass(frozen=True)
class TokenCoefficients:
    """The coefficients of an index for `k = 1 … n`, of games in which one of the best `k` tokens is needed.

    Attributes:
        between: of the query token and each of the `k` tokens.
        within: of every two of the `k` tokens, for `k ≥ 2`; never positive.
        query: of the query token alone.
        retrieved: of each of the `k` tokens alone.
        constant: of the constant of the prediction, if it is not an end of the game.
    """

    between: Ranks
    within: Ranks
    query: Ranks
    retrieved: Ranks
    constant: Ranks | None


def make_coefficients(index: Index, n_tokens: int) -> TokenCoefficients:
    """The coefficients of an index for up to `n_tokens` retrieved tokens, in float64 on the CPU."""
    path, k = make_index_path(index, n_tokens + 1), torch.arange(1, n_tokens + 1, dtype=torch.float64, device="cpu")
    (share_query, share_retrieved), p, absent = path.shares, path.query[:, None], 1 - path.retrieved[:, None]
    between, within = path.pairs @ absent ** (k - 1), -path.pairs @ (p * absent ** (k - 2).clamp(min=0))
    return TokenCoefficients(
        between,
        within,
        query=path.players @ (1 - absent**k) - share_retrieved * k * between,
        retrieved=path.players @ (p * absent ** (k - 1)) - share_query * between - share_retrieved * (k - 1) * within,
        constant=None if index.p is None else share_retrieved**2 * k * (k - 1) / 2 * within,
    )


def match_tokens(
    scores: Scores,
    is_query: Bool[Tensor, "batch query"],
    is_retrieved: Bool[Tensor, "batch retrieved"],
    index: Index,
    empty: float | Float[Tensor, " batch"] = 0.0,
) -> Interactions:
    """The interactions of the tokens of both sides, their heat maps and the ends of the game; the scores are kept for other indices.

    Args:
        scores: the product of every query token with every retrieved token.
        is_query: True for each query token; the others are padding, and have no credit.
        is_retrieved: True for each retrieved token.
        index: the index.
        empty: the value of an empty maximum, or one for each pair of the batch.
    """
    empty = torch.as_tensor(empty, dtype=scores.dtype, device=scores.device).expand(len(scores))
    game, coefficients = _sort_scores(scores, is_query, is_retrieved, empty), make_coefficients(index, scores.shape[2])
    heat = 1 / torch.arange(1, scores.shape[2] + 1, dtype=torch.float64, device="cpu")
    best = game.sum_gains(torch.ones_like(heat), empty)
    own, full = game.sum_gains(coefficients.query, empty), best.sum(1)
    constant = None if coefficients.constant is None else game.sum_gains(coefficients.constant).sum(1)
    rows = scores.split(1), is_query.split(1), is_retrieved.split(1), empty.split(1)
    return Interactions(
        n_query=scores.shape[1],
        empty=torch.zeros_like(full),
        full=full,
        without_query=torch.zeros_like(full),
        without_retrieved=empty * is_query.sum(1),
        n_evaluations=torch.full((len(scores),), 2, device="cpu"),
        first_order=torch.cat([own, game.share(coefficients.retrieved).sum(1)], 1),
        given_other=torch.cat([best, game.share(heat).sum(1)], 1),
        between=game.share(coefficients.between),
        within_query=scores.new_zeros(len(scores), scores.shape[1], scores.shape[1]),
        within_retrieved=game.pair(coefficients.within),
        index=index,
        constant=full if index.name == CO_MOEBIUS else constant,
        sources=tuple(partial(match_tokens, *pair, empty=end) for *pair, end in zip(*rows, strict=True)),
    )


@dataclass(frozen=True)
class _SortedScores:
    """The scores of each query token in falling order.

    Attributes:
        ranks: the place of each retrieved token in this order, from 0.
        gains: `s_(k) - s_(k+1)`, 0 for a query token that is padding, and beyond the last token.
        is_query: True for each query token.
        is_retrieved: True for each retrieved token.
    """

    ranks: Tensor
    gains: Gains
    is_query: Bool[Tensor, "batch query"]
    is_retrieved: Bool[Tensor, "batch retrieved"]

    def sum_gains(self, coefficients: Ranks, empty: Float[Tensor, " batch"] | None = None) -> Float[Tensor, "batch query"]:
        """`Σ_k c_k (s_(k) - s_(k+1))` of each query token, above the value of an empty maximum, or above 0."""
        sums = (self.gains * coefficients.to(self.gains)).sum(2)
        return sums if empty is None else (empty[:, None] + sums) * self.is_query

    def share(self, coefficients: Ranks) -> Scores:
        """`Σ_{k ≥ rank(d)} c_k (s_(k) - s_(k+1))` of each query token and each retrieved token."""
        sums = (self.gains * coefficients.to(self.gains)).flip(2).cumsum(2).flip(2)
        return sums.gather(2, self.ranks) * self.is_retrieved[:, None]

    def pair(self, coefficients: Ranks) -> Float[Tensor, "batch retrieved retrieved"]:
        """`Σ_q Σ_{k ≥ ranks of both} c_k (s_(k) - s_(k+1))` of every two retrieved tokens; the coefficients are not positive.

        All gains but the last are positive, so the sum from the later of two ranks on is the larger of the sums from each rank.
        """
        n_tokens = self.is_retrieved.sum(1)
        last = torch.arange(self.gains.shape[2], device=self.gains.device) == n_tokens[:, None] - 1
        last_gains = (self.gains * coefficients.to(self.gains) * last[:, None]).sum((1, 2))
        sums = replace(self, gains=self.gains * ~last[:, None]).share(coefficients)
        total = torch.stack([_add_larger(rows) for rows in sums]) + last_gains[:, None, None]
        pairs = total * (self.is_retrieved[:, None] & self.is_retrieved[:, :, None])
        return pairs - torch.diag_embed(pairs.diagonal(dim1=1, dim2=2))


def _add_larger(rows: Float[Tensor, "query retrieved"]) -> Float[Tensor, "retrieved retrieved"]:
    """The sum over rows of the larger of every two numbers of a row."""
    total, larger = rows.new_zeros(rows.shape[1], rows.shape[1]), rows.new_empty(rows.shape[1], rows.shape[1])
    for row in rows:
        total += torch.maximum(row[:, None], row, out=larger)
    return total


def _sort_scores(scores: Scores, is_query: Tensor, is_retrieved: Tensor, empty: Float[Tensor, " batch"]) -> _SortedScores:
    falling, order = scores.masked_fill(~is_retrieved[:, None], -torch.inf).sort(dim=2, descending=True)
    nothing = empty[:, None, None].expand(-1, scores.shape[1], 1)
    falling = torch.where(falling == -torch.inf, nothing, falling)
    following = torch.cat([falling[:, :, 1:], nothing], 2)
    gains = (falling - following) * is_query[..., None]
    return _SortedScores(order.argsort(2), gains, is_query, is_retrieved)
