"""Heads: from the outputs of two encoders to one similarity."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Score = Callable[[Tensor, Tensor], Tensor]
Lift = Callable[[Tensor], Tensor]


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
            f"Expected nonzero embeddings for the cosine, but row {zero[0, 0].item()} is zero. Take a blurred baseline or similarity='dot'."
        )
    return embeddings / norms


def pool(output: object) -> Float[Tensor, "batch channels"]:
    """The embeddings from the output of an encoder: `[B, C]` unchanged, a map `[B, C, H, W]` averaged over its cells.

    Raises:
        ValueError: the output is neither.
    """
    if isinstance(output, Tensor) and output.dim() in (2, 4):
        return output.mean((2, 3)) if output.dim() == 4 else output
    raise ValueError(
        f"Expected the encoder to return embeddings [B, C] or a map [B, C, H, W], got {_describe_output(output)}. Wrap it in a module that "
        "returns one of these."
    )


def _describe_output(output: Any) -> str:
    """The shape of a tensor; the type of a container, and the name or index and the shape of each member."""
    if isinstance(output, Tensor):
        return str(tuple(output.shape))
    fields = output._asdict() if hasattr(output, "_asdict") else output  # a named tuple
    members = fields.items() if isinstance(fields, Mapping) else enumerate(fields) if isinstance(fields, (tuple, list)) else ()
    listed = ", ".join(
        f"{name}: {tuple(member.shape) if isinstance(member, Tensor) else type(member).__name__}" for name, member in members
    )
    return f"{type(output).__name__} with {listed}" if listed else type(output).__name__


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


HEADS = {
    "cosine": Head(F.cosine_similarity, normalize_rows, normalize_rows, frozen_norm=True),
    "dot": Head(_dot, _identity, _identity, frozen_norm=False),
    "euclidean": Head(_negative_squared_distance, _lift_euclidean_query, _lift_euclidean_retrieved),
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
