"""How two embeddings become one similarity."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Score = Callable[[Tensor, Tensor], Tensor]
Lift = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Head:
    """How two embeddings become one similarity, larger meaning more alike.

    A head that is bilinear in *lifted* embeddings, `score(u, w) = <lift_query(u), lift_retrieved(w)>`, makes a two-tower
    game: each tower is then embedded alone, whatever the other keeps. The lifts are None for a head that is not.
    `frozen_norm` says whether the lift divides by a norm that SAM freezes at the full image, None where SAM has no form.
    """

    score: Score
    lift_query: Lift | None = None
    lift_retrieved: Lift | None = None
    frozen_norm: bool | None = None


def normalize_rows(embeddings: Float[Tensor, "rows channels"]) -> Float[Tensor, "rows channels"]:
    """Divide every row by its norm.

    Raises:
        ValueError: a row is zero, so it has no direction.
    """
    norms = torch.linalg.vector_norm(embeddings, dim=1, keepdim=True)
    zero = (norms[:, 0] == 0).nonzero()
    if len(zero):
        raise ValueError(
            f"Expected embeddings with a direction, as cosine similarity needs one, but row {zero[0, 0].item()} of "
            f"{len(norms)} is zero. A baseline whose embedding is zero causes this: take the default (a blurred image), "
            "or `similarity='dot'`."
        )
    return embeddings / norms


def pool(output: object) -> Float[Tensor, "batch channels"]:
    """Turn what an encoder returns into embeddings: `[B, C]` as it is, a map `[B, C, H, W]` by global average pooling.

    Raises:
        ValueError: the output is neither.
    """
    if isinstance(output, Tensor) and output.dim() == 4:
        return output.mean((2, 3))
    if isinstance(output, Tensor) and output.dim() == 2:
        return output
    shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    raise ValueError(
        f"Expected the encoder to return embeddings [B, C] or a map [B, C, H, W], got {shape}. "
        "Wrap the encoder in a module that returns one of these."
    )


def _squared_norm(embeddings: Tensor) -> Tensor:
    return embeddings.square().sum(1, keepdim=True)


def _euclidean_query(u: Tensor) -> Tensor:
    """`(√2 u, -|u|², 1)`, whose product with `_euclidean_retrieved(w)` is `-|u - w|²`."""
    u = u.double()  # the squared norms cancel
    return torch.cat([2**0.5 * u, -_squared_norm(u), torch.ones_like(u[:, :1])], 1)


def _euclidean_retrieved(w: Tensor) -> Tensor:
    w = w.double()
    return torch.cat([2**0.5 * w, torch.ones_like(w[:, :1]), -_squared_norm(w)], 1)


def _identity(embeddings: Tensor) -> Tensor:
    return embeddings


def _dot(u: Tensor, w: Tensor) -> Tensor:
    return (u * w).sum(-1)


def _negative_squared_distance(u: Tensor, w: Tensor) -> Tensor:
    return -(u - w).square().sum(-1)


HEADS = {
    "cosine": Head(F.cosine_similarity, normalize_rows, normalize_rows, frozen_norm=True),
    "dot": Head(_dot, _identity, _identity, frozen_norm=False),
    "euclidean": Head(_negative_squared_distance, _euclidean_query, _euclidean_retrieved),
}


def make_head(similarity: str | Score) -> Head:
    """Look up a named head, or wrap a callable `f(u, w) -> [B]`.

    Raises:
        ValueError: the name is unknown.
    """
    if callable(similarity):
        return Head(similarity)
    if similarity not in HEADS:
        raise ValueError(f"Expected similarity to be one of {sorted(HEADS)} or a callable f(u, w) -> [B], got {similarity!r}.")
    return HEADS[similarity]
