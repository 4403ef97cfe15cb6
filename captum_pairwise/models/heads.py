"""Heads: from the outputs of two encoders to one similarity."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

Score = Callable[[Tensor, Tensor], Tensor]
Lift = Callable[[Tensor], Tensor]
NUMBERS_AT_ONCE = 2**22  # products of tokens in memory


@dataclass(frozen=True)
class Head:
    """A function of two batches of embeddings; a larger value means a higher similarity.

    A head is bilinear if `score(u, w) = <lift_query(u), lift_retrieved(w)>` for *lifted* embeddings. It then makes a two-tower game, in
    which each tower is embedded without the other.

    Attributes:
        score: maps two batches of embeddings to similarities `[B]`.
        lift_query: the lift of the query's embeddings, None if the head is not bilinear.
        lift_retrieved: the lift of the retrieved embeddings, None if the head is not bilinear.
        frozen_norm: True if the lift divides by a norm, which SAM freezes at the full image; None if SAM has no closed form.
        keeps_tokens: True if the head also takes outputs `[B, T, C]`, unpooled.
        module: the score, if it is a module with parameters or a mode of its own.
        combine: maps `m` and `n` embeddings to the similarities of all combinations, `[m, n]`, faster than the score; None if there is no
            such function.
    """

    score: Score
    lift_query: Lift | None = None
    lift_retrieved: Lift | None = None
    frozen_norm: bool | None = None
    keeps_tokens: bool = False
    module: nn.Module | None = None
    combine: Score | None = None


def normalize_rows(embeddings: Float[Tensor, "rows channels"]) -> Float[Tensor, "rows channels"]:
    """Divide every row by its norm.

    Raises:
        ValueError: a row is zero, so it has no direction.
    """
    norms = torch.linalg.vector_norm(embeddings, dim=1, keepdim=True)
    zero = (norms[:, 0] == 0).nonzero()
    if len(zero):
        raise ValueError(
            f"Expected nonzero embeddings for the cosine, but row {zero[0, 0].item()} is zero. Take a blurred baseline or similarity='dot'."
        )
    return embeddings / norms


def _lift_euclidean_query(u: Tensor) -> Tensor:
    """`(√2 u, -|u|², 1)`; its product with `_lift_euclidean_retrieved(w)` is `-|u - w|²`."""
    u = u.double()  # the squared norms cancel
    return torch.cat([2**0.5 * u, -u.square().sum(1, keepdim=True), torch.ones_like(u[:, :1])], 1)


def _lift_euclidean_retrieved(w: Tensor) -> Tensor:
    w = w.double()
    return torch.cat([2**0.5 * w, torch.ones_like(w[:, :1]), -w.square().sum(1, keepdim=True)], 1)


def _identity(embeddings: Tensor) -> Tensor:
    return embeddings


def _dot(u: Tensor, w: Tensor) -> Tensor:
    return (u * w).sum(-1)


def _negative_squared_distance(u: Tensor, w: Tensor) -> Tensor:
    return -(u - w).square().sum(-1)


def find_tokens(embeddings: Float[Tensor, "batch tokens channels"]) -> Bool[Tensor, "batch tokens"]:
    """True for each token; a row that is exactly 0 is padding or a skipped token."""
    return embeddings.any(2)


def score_maxsim(u: Tensor, w: Tensor) -> Float[Tensor, " batch"]:
    """`Σ_q max_d <u_q, w_d>` over tokens (ColBERT, Khattab and Zaharia 2020).

    Tokens that are exactly 0 are padding or skipped: a skipped query token adds nothing, and a skipped retrieved token is in no maximum.
    The maximum of nothing is 0.

    Raises:
        ValueError: the embeddings are not `[B, T, C]`.
    """
    _refuse_pooled(u, w)
    products = torch.einsum("bqc,bdc->bqd", u, w)
    is_token = find_tokens(w)
    best = products.masked_fill(~is_token[:, None], -torch.inf).amax(2)
    return torch.where(is_token.any(1, keepdim=True), best, 0).sum(1)


def score_mean_maxsim(u: Tensor, w: Tensor) -> Float[Tensor, " batch"]:
    """The mean of the maxima in `score_maxsim`, over the query tokens that are not skipped.

    Raises:
        ValueError: the embeddings are not `[B, T, C]`.
    """
    return score_maxsim(u, w) / find_tokens(u).sum(1).clamp(min=1)


def combine_maxsim(u: Float[Tensor, "m tokens channels"], w: Float[Tensor, "n others channels"]) -> Float[Tensor, "m n"]:
    """`score_maxsim` of every two embeddings: the products of all their tokens are one matrix product."""
    _refuse_pooled(u, w)
    is_token, columns = find_tokens(w), w.flatten(0, 1).T
    absent = None if is_token.all() else ~is_token
    rows = max(1, NUMBERS_AT_ONCE // max(1, u.shape[1] * columns.shape[1]))
    return torch.cat([_sum_best((part.flatten(0, 1) @ columns).view(*part.shape[:2], *w.shape[:2]), absent) for part in u.split(rows)])


def _sum_best(products: Float[Tensor, "m tokens n others"], absent: Bool[Tensor, "n others"] | None) -> Float[Tensor, "m n"]:
    """The sum over the first tokens of the largest product with a token that is not absent."""
    if absent is None:
        return products.amax(3).sum(1)
    return torch.where(absent.all(1), 0, products.masked_fill_(absent, -torch.inf).amax(3)).sum(1)


def _combine_mean_maxsim(u: Tensor, w: Tensor) -> Float[Tensor, "m n"]:
    """`score_mean_maxsim` of every two embeddings."""
    return combine_maxsim(u, w) / find_tokens(u).sum(1, keepdim=True).clamp(min=1)


def _refuse_pooled(u: Tensor, w: Tensor) -> None:
    if u.dim() != 3 or w.dim() != 3:
        raise ValueError(
            f"Expected encoders that return tokens [B, T, C] for MaxSim, got embeddings {tuple(u.shape)} and {tuple(w.shape)}. Return the "
            "tokens before pooling, and give no layout; a map [B, C, H, W] becomes tokens by `output.flatten(2).mT`."
        )


HEADS = {
    "cosine": Head(F.cosine_similarity, normalize_rows, normalize_rows, frozen_norm=True),
    "dot": Head(_dot, _identity, _identity, frozen_norm=False),
    "euclidean": Head(_negative_squared_distance, _lift_euclidean_query, _lift_euclidean_retrieved),
    "maxsim": Head(score_maxsim, keeps_tokens=True, combine=combine_maxsim),
    "meanmaxsim": Head(score_mean_maxsim, keeps_tokens=True, combine=_combine_mean_maxsim),
}


def make_head(similarity: str | Score) -> Head:
    """Look up a named head, or wrap a callable `f(u, w) -> [B]`; PyTorch's own cosine similarity is the head `"cosine"`.

    Raises:
        ValueError: the name is unknown.
    """
    is_cosine = isinstance(similarity, nn.CosineSimilarity) and similarity.dim in (1, -1)
    if similarity is F.cosine_similarity or is_cosine:
        return HEADS["cosine"]
    if callable(similarity):
        return Head(similarity, keeps_tokens=True, module=similarity if isinstance(similarity, nn.Module) else None)
    if similarity not in HEADS:
        raise ValueError(f"Expected similarity to be one of {sorted(HEADS)} or a callable f(u, w) -> [B], got {similarity!r}.")
    return HEADS[similarity]


def check_scores(scores: object, n_pairs: int) -> Float[Tensor, " batch"]:
    """The similarities, one for each pair.

    Raises:
        ValueError: the head returned something else.
    """
    if not isinstance(scores, Tensor) or scores.shape != (n_pairs,):
        shape = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise ValueError(
            f"Expected one similarity for each pair, shape ({n_pairs},), got {shape}. Let `similarity` compare u[b] with w[b] alone."
        )
    return scores
