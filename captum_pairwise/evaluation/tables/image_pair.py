"""One pair of images for one model, with everything that all methods and metrics share."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from captum_pairwise.datasets.embeddings import fingerprint
from captum_pairwise.datasets.masks import open_mask
from captum_pairwise.datasets.pair_list import Pair
from captum_pairwise.models.backbones import ImageEncoder
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.players.baselines import blur_baseline
from captum_pairwise.players.regions import superpixels


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
    """

    model: Model
    images: tuple[Float[Tensor, "1 3 height width"], Float[Tensor, "1 3 height width"]]
    superpixels: tuple[Int[Tensor, "1 1 height width"], Int[Tensor, "1 1 height width"]]
    full: Float[Tensor, " 1"]
    empty: tuple[Float[Tensor, " 1"], Float[Tensor, " 1"]]
    masks: tuple[Bool[Tensor, "1 height width"], Bool[Tensor, "1 height width"]] | None = None
    void: Bool[Tensor, "1 height width"] | None = None


@torch.no_grad()
def open_pair(pair: Pair, model: Model, n_segments: int = 50) -> ImagePair:
    """Read a pair of image files and their masks, and compute what all methods share.

    Raises:
        ValueError: an image cannot be read, a mask is empty, or only one of two masks is there.
    """
    query, retrieved = (model.encoder.preprocess(path) for path in (pair.query, pair.retrieved))
    masks = void = None
    if (pair.query_mask is None) != (pair.retrieved_mask is None):
        raise ValueError(f"Expected no mask or two, got one for {pair.query.name} and {pair.retrieved.name}. Add the other mask.")
    if pair.query_mask is not None and pair.retrieved_mask is not None:
        query_mask, _ = _read_mask(pair.query_mask, pair.label, query)
        retrieved_mask, void = _read_mask(pair.retrieved_mask, pair.label, retrieved)
        masks = query_mask, retrieved_mask
    query_blur, retrieved_blur = blur_baseline(query), blur_baseline(retrieved)
    similarity = model.wrapper
    empty = similarity(query, retrieved_blur), similarity(query_blur, retrieved_blur)
    regions = superpixels(query, n_segments), superpixels(retrieved, n_segments)
    return ImagePair(model, (query, retrieved), regions, similarity(query, retrieved), empty, masks, void)


def _read_mask(path: Path, label: int | None, image: Tensor) -> tuple[Tensor, Tensor]:
    """The object's pixels and the void pixels of an image."""
    mask, void = open_mask(path, label, (image.shape[2], image.shape[3]))
    if not mask.any():
        raise ValueError(f"Expected the object{'' if label is None else f' {label}'} in {path.name}, got no pixel of it. Check the mask.")
    return mask.to(image.device), void.to(image.device)
