"""Similarity models of one image, with the other image or a gallery fixed."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from captum_pairwise.models.heads import Head, Score, pool


def _tile(fixed: Float[Tensor, "fixed channels"], n_rows: int) -> Float[Tensor, "rows channels"]:
    """The fixed embeddings, repeated in the order in which Captum repeats inputs: `[b0, b1, b0, b1, ...]`."""
    if n_rows % len(fixed):
        raise ValueError(f"Expected a multiple of the {len(fixed)} fixed images, got {n_rows}. Pass as many images, or fix a single one.")
    return fixed.repeat(n_rows // len(fixed), 1)


class OneSided(nn.Module):
    """A similarity model with one image fixed, `f(other) -> [B]`.

    The fixed embedding is a buffer, computed once: it does not follow later changes of the weights. The other image runs through the
    user's own encoder, so Captum's classes take its layers directly.
    """

    query: Tensor | None
    retrieved: Tensor | None

    def __init__(self, encoder: nn.Module, score: Score, *, query: Tensor | None = None, retrieved: Tensor | None = None) -> None:
        super().__init__()
        self.encoder, self.score = encoder, score
        self.register_buffer("query", query)
        self.register_buffer("retrieved", retrieved)

    @property
    def n_fixed(self) -> int:
        """The number of fixed images."""
        return next(len(fixed) for fixed in (self.query, self.retrieved) if fixed is not None)

    def forward(self, images: Tensor) -> Float[Tensor, " batch"]:
        """The similarity of each image of the batch to its fixed embedding."""
        embeddings = pool(self.encoder(images))
        u, w = (embeddings if fixed is None else _tile(fixed, len(embeddings)) for fixed in (self.query, self.retrieved))
        return self.score(u, w)


class Margins(nn.Module):
    """The differences between the similarities of all items, `f(query) -> [B, K, K]`; Captum's `target=(i, j)` picks two items.

    A row has `K²` numbers, so make a small gallery of the items to compare.
    """

    def __init__(self, gallery: "Gallery") -> None:
        super().__init__()
        self.gallery = gallery

    def forward(self, query: Tensor) -> Float[Tensor, "batch items items"]:
        """The similarity of each item minus the similarity of each other item."""
        similarities = self.gallery(query)
        return similarities[:, :, None] - similarities[:, None, :]


class Gallery(nn.Module):
    """The similarities of a query to every item of a gallery, `f(query) -> [B, K]`; the gallery is embedded once."""

    gallery: Tensor

    def __init__(self, encoder: nn.Module, head: Head, gallery: Float[Tensor, "items channels"]) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        self.register_buffer("gallery", gallery)

    def forward(self, query: Tensor) -> Float[Tensor, "batch items"]:
        """Score each query of the batch against each item."""
        u = pool(self.encoder(query))
        if self.head.lift_query is not None and self.head.lift_retrieved is not None:
            return (self.head.lift_query(u) @ self.head.lift_retrieved(self.gallery).T).to(u)
        return torch.stack([self.head.score(u, item.expand_as(u)) for item in self.gallery], 1)

    def margins(self) -> Margins:
        """The module `f(query) -> [B, K, K]`: the similarity of item `i` minus the similarity of item `j`."""
        return Margins(self)
