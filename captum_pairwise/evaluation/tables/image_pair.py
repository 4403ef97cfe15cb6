"""One pair of images for one model, with everything that all methods and metrics share."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from captum_pairwise.datasets.embeddings import fingerprint
from captum_pairwise.datasets.masks import open_mask, open_regions
from captum_pairwise.datasets.pair_list import Pair
from captum_pairwise.evaluation.tables.row_cache import RowCache
from captum_pairwise.evaluation.tables.shared_game import SharedGame
from captum_pairwise.models.backbones import ImageEncoder
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.players.baselines import blur_baseline
from captum_pairwise.players.regions import grid, superpixels

SHAPE = (2, 4)  # 256 coalitions of each image


@dataclass(frozen=True)
class Model:
    """An encoder and its name in the tables."""

    name: str
    encoder: ImageEncoder

    @cached_property
    def wrapper(self) -> SimilarityWrapper:
        """The similarity of two images: the cosine of their embeddings."""
        return SimilarityWrapper(self.encoder)

    @cached_property
    def weights(self) -> str:
        """A digest of the weights and of the normalisation of images."""
        return fingerprint(self.encoder, self.encoder.preprocessing)[:12]


@dataclass(frozen=True)
class ImagePair:
    """One pair of images, a batch of one, for one model.

    Attributes:
        model: the model.
        images: the query, whose object is looked for, and the retrieved image, which is explained.
        superpixels: SLIC superpixels of each image.
        full: `v(N)`.
        empty: `v(∅)` of first and of second order: the retrieved image blurred, or both images blurred (§A.2).
        masks: the pixels of the object in each image, or None.
        void: pixels of the retrieved image that the metrics ignore.
        regions: the numbers in both masks of a mosaic or a planted pair, or None.
        points: row and column of matched points in the query and in the retrieved image, in pixels, or None.
        before: the retrieved image without the planted patches, or None.
        protocol: how explanations are measured, see `Pair`.
        shape: rows and columns of the equal parts that all methods share.
    """

    model: Model
    images: tuple[Float[Tensor, "1 3 height width"], Float[Tensor, "1 3 height width"]]
    superpixels: tuple[Int[Tensor, "1 1 height width"], Int[Tensor, "1 1 height width"]]
    full: Float[Tensor, " 1"]
    empty: tuple[Float[Tensor, " 1"], Float[Tensor, " 1"]]
    masks: tuple[Bool[Tensor, "1 height width"], Bool[Tensor, "1 height width"]] | None = None
    void: Bool[Tensor, "1 height width"] | None = None
    regions: tuple[Int[Tensor, "1 height width"], Int[Tensor, "1 height width"]] | None = None
    points: Float[Tensor, "points 4"] | None = None
    before: Float[Tensor, "1 3 height width"] | None = None
    protocol: str = "object"
    shape: tuple[int, int] = SHAPE

    @cached_property
    def similarity(self) -> SimilarityWrapper:
        """The similarity for metrics: one image at a time, each distinct one once for all methods."""
        return SimilarityWrapper(RowCache(self.model.encoder))

    @cached_property
    def game(self) -> SharedGame:
        """The game of equal parts of both images, for metrics that compare methods with different parts."""
        query, retrieved = (grid(image.shape[2], image.shape[3], *self.shape).to(image.device) for image in self.images)
        return SharedGame(self.model.wrapper, self.images, (query, retrieved))


@torch.no_grad()
def open_pair(pair: Pair, model: Model, n_segments: int = 50, shape: tuple[int, int] = SHAPE) -> ImagePair:
    """Read a pair of image files and their masks, and compute what all methods share.

    Raises:
        ValueError: an image cannot be read, a mask is empty, or only one of two masks is there.
    """
    query, retrieved = (model.encoder.preprocess(path) for path in (pair.query, pair.retrieved))
    masks, void = _read_masks(pair, query, retrieved) if pair.protocol == "object" else (None, None)
    query_blur, retrieved_blur = blur_baseline(query), blur_baseline(retrieved)
    similarity = model.wrapper
    empty = similarity(query, retrieved_blur), similarity(query_blur, retrieved_blur)
    regions = superpixels(query, n_segments), superpixels(retrieved, n_segments)
    truth = _read_truth(pair, (query, retrieved), model)
    full = similarity(query, retrieved)
    return ImagePair(model, (query, retrieved), regions, full, empty, masks, void, **truth, shape=shape)


def _read_masks(pair: Pair, query: Tensor, retrieved: Tensor) -> tuple[tuple[Tensor, Tensor] | None, Tensor | None]:
    """The object in both images and the void pixels of the retrieved image; None without masks."""
    if (pair.query_mask is None) != (pair.retrieved_mask is None):
        raise ValueError(f"Expected no mask or two, got one for {pair.query.name} and {pair.retrieved.name}. Add the other mask.")
    if pair.query_mask is None or pair.retrieved_mask is None:
        return None, None
    query_mask, _ = _read_mask(pair.query_mask, pair.label, query)
    retrieved_mask, void = _read_mask(pair.retrieved_mask, pair.label, retrieved)
    return (query_mask, retrieved_mask), void


def _read_truth(pair: Pair, images: tuple[Tensor, Tensor], model: Model) -> dict[str, Any]:
    """The fields of an `ImagePair` that a pair with a known truth has."""
    truth: dict[str, Any] = {"protocol": pair.protocol}
    if pair.protocol in ("mosaic", "planted"):
        files = (pair.query_mask, pair.retrieved_mask)
        sides = zip(files, images, strict=True)
        truth["regions"] = tuple(
            open_regions(file, (image.shape[2], image.shape[3])).to(image.device) for file, image in sides if file is not None
        )
    if pair.before is not None:
        truth["before"] = model.encoder.preprocess(pair.before)
    if pair.points:
        sides = torch.tensor([size - 1 for image in images for size in image.shape[2:]], device=images[0].device)
        truth["points"] = torch.tensor(pair.points, dtype=torch.float32, device=images[0].device) * sides
    return truth


def _read_mask(path: Path, label: int | None, image: Tensor) -> tuple[Tensor, Tensor]:
    """The object's pixels and the void pixels of an image."""
    mask, void = open_mask(path, label, (image.shape[2], image.shape[3]))
    if not mask.any():
        raise ValueError(f"Expected the object{'' if label is None else f' {label}'} in {path.name}, got no pixel of it. Check the mask.")
    return mask.to(image.device), void.to(image.device)
