"""Similarity models of one image, with the other image or a gallery fixed."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from captum_pairwise.models.embedder import Embedder
from captum_pairwise.models.heads import Head, check_scores


def _tile(fixed: Float[Tensor, "fixed ..."], n_rows: int) -> Float[Tensor, "rows ..."]:
    """The fixed embeddings, repeated in the order in which Captum repeats inputs: `[b0, b1, b0, b1, ...]`."""
    if n_rows % len(fixed):
        raise ValueError(f"Expected a multiple of the {len(fixed)} fixed images, got {n_rows}. Pass as many images, or fix a single one.")
    return fixed.repeat(n_rows // len(fixed), *[1] * (fixed.dim() - 1))


class OneSided(nn.Module):
    """A similarity model with one image fixed, `f(other) -> [B]`.

    The fixed embedding is a buffer, computed once: it does not follow later changes of the weights. The other image runs through the
    user's own encoder, so Captum's classes take its layers directly.
    """

    query: Tensor | None
    retrieved: Tensor | None

    def __init__(self, embedder: Embedder, head: Head, *, query: Tensor | None = None, retrieved: Tensor | None = None) -> None:
        super().__init__()
        self.encoder, self.head, self.similarity = embedder.encoder, head, head.module
        self._embedder = embedder
        self.register_buffer("query", query)
        self.register_buffer("retrieved", retrieved)

    @property
    def n_fixed(self) -> int:
        """The number of fixed images."""
        return next(len(fixed) for fixed in (self.query, self.retrieved) if fixed is not None)

    def forward(self, images: Tensor) -> Float[Tensor, " batch"]:
        """The similarity of each image of the batch to its fixed embedding."""
        embeddings = replace(self._embedder, encoder=self.encoder).embed(images)
        u, w = (embeddings if fixed is None else _tile(fixed, len(embeddings)) for fixed in (self.query, self.retrieved))
        return check_scores(self.head.score(u, w), len(embeddings))


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

    def __init__(self, embedder: Embedder, head: Head, gallery: Float[Tensor, "items ..."]) -> None:
        super().__init__()
        self.encoder, self.head, self.similarity = embedder.encoder, head, head.module
        self._embedder = embedder
        self.register_buffer("gallery", gallery)

    def forward(self, query: Tensor) -> Float[Tensor, "batch items"]:
        """Score each query of the batch against each item."""
        u = replace(self._embedder, encoder=self.encoder).embed(query)
        if self.head.lift_query is not None and self.head.lift_retrieved is not None:
            return (self.head.lift_query(u) @ self.head.lift_retrieved(self.gallery).T).to(u)
        return torch.stack([self.head.score(u, item.expand(len(u), *item.shape)) for item in self.gallery], 1)

    def margins(self) -> Margins:
        """The module `f(query) -> [B, K, K]`: the similarity of item `i` minus the similarity of item `j`."""
        return Margins(self)
