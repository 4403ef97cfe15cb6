"""One pair of images as one model sees it: what all methods and metrics share, computed once."""

from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from captum_pairwise.datasets.embeddings import fingerprint
from captum_pairwise.datasets.masks import open_mask
from captum_pairwise.datasets.pair_list import Pair
from captum_pairwise.evaluation.tables.row_cache import Remembered
from captum_pairwise.models.backbones import ImageEncoder
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.players.baselines import blur_baseline
from captum_pairwise.players.regions import superpixels

Both = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Model:
    """An encoder as the tables need it.

    Attributes:
        name: what the tables call it.
        encoder: the encoder.
    """

    name: str
    encoder: ImageEncoder

    @cached_property
    def wrapper(self) -> SimilarityWrapper:
        """The similarity of two images: the cosine of their embeddings."""
        return SimilarityWrapper(self.encoder)

    @cached_property
    def weights(self) -> str:
        """What tells its weights, and what it does to images first, from others."""
        return fingerprint(self.encoder)[:12]

    @cached_property
    def cells(self) -> nn.Module:
        """The layer whose output is the feature map, in `tail`."""
        return nn.Identity()

    @cached_property
    def tail(self) -> SimilarityWrapper:
        """The similarity of two feature maps: what is left of the network after them."""
        return SimilarityWrapper(nn.Sequential(OrderedDict(cells=self.cells, head=self.encoder.head)).eval())


@dataclass(frozen=True)
class Subject:
    """One pair of images, a batch of one, as one model sees it.

    Every image that is not masked for a single method goes through the network once, and alone, so that what comes out does not depend on
    what came before.

    Attributes:
        model: the model.
        query: the reference, whose object is looked for.
        retrieved: the image that is explained.
        masks: where the object is in each, or None.
        void: of the retrieved image, what counts for nothing.
        n_segments: superpixels of each image to aim for.
    """

    model: Model
    query: Float[Tensor, "1 3 height width"]
    retrieved: Float[Tensor, "1 3 height width"]
    masks: tuple[Bool[Tensor, "1 height width"], Bool[Tensor, "1 height width"]] | None = None
    void: Bool[Tensor, "1 height width"] | None = None
    n_segments: int = 50

    @property
    def images(self) -> Both:
        """Both images."""
        return self.query, self.retrieved

    @cached_property
    def blurred(self) -> Both:
        """Both backgrounds (§A.2)."""
        return blur_baseline(self.query), blur_baseline(self.retrieved)

    @cached_property
    def _features(self) -> Remembered:
        return Remembered(lambda images: torch.cat([self.model.encoder.feature_maps(image[None]) for image in images]))

    @torch.no_grad()
    def maps(self, images: Both) -> Both:
        """The feature map of each of two images."""
        return self._features(images[0]), self._features(images[1])

    @torch.no_grad()
    def similarity(self, query: Tensor, retrieved: Tensor) -> Float[Tensor, " batch"]:
        """How similar other versions of both images are."""
        return self.model.tail(*self.maps((query, retrieved)))

    @cached_property
    def full(self) -> Float[Tensor, " 1"]:
        """`v(N)`."""
        return self.similarity(self.query, self.retrieved)

    def empty(self, order: int) -> Float[Tensor, " 1"]:
        """`v(∅)`: the retrieved image blurred, for pairs of parts the query too (§A.2)."""
        return self.similarity(self.query if order == 1 else self.blurred[0], self.blurred[1])

    def prepare(self) -> None:
        """Compute what all methods share, so that none of them is charged for it."""
        _ = self.full, self.empty(1), self.empty(2), self.superpixels

    @cached_property
    def superpixels(self) -> tuple[Int[Tensor, "1 1 height width"], Int[Tensor, "1 1 height width"]]:
        """SLIC superpixels of each image."""
        return superpixels(self.query, self.n_segments), superpixels(self.retrieved, self.n_segments)


def subject_of(pair: Pair, model: Model, n_segments: int = 50) -> Subject:
    """A pair of image files as a model sees it.

    Raises:
        ValueError: an image cannot be read, a mask is empty, or only one of two is there.
    """
    query, retrieved = (model.encoder.preprocess(path) for path in (pair.query, pair.retrieved))
    if pair.query_mask is None and pair.retrieved_mask is None:
        return Subject(model, query, retrieved, n_segments=n_segments)
    if pair.query_mask is None or pair.retrieved_mask is None:
        raise ValueError(f"Expected a mask of each image, or of none, got one for {pair.query.name} and {pair.retrieved.name}.")
    query_mask, _ = _object(pair.query_mask, pair.label, query)
    retrieved_mask, void = _object(pair.retrieved_mask, pair.label, retrieved)
    return Subject(model, query, retrieved, (query_mask, retrieved_mask), void, n_segments)


def _object(path: Path, label: int | None, image: Tensor) -> tuple[Tensor, Tensor]:
    """Where the object is in an image, and what is void."""
    height, width = image.shape[-2:]
    mask, void = open_mask(path, label, (height, width))
    if not mask.any():
        raise ValueError(f"Expected {path.name} to show the object{'' if label is None else f' {label}'}, but it is nowhere.")
    return mask.to(image.device), void.to(image.device)
