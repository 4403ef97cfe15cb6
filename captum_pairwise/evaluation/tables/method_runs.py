"""One run of a public attribution class on one pair of images."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import nn

from captum_pairwise.evaluation.tables.image_pair import ImagePair
from captum_pairwise.evaluation.tables.row_cache import RowCache
from captum_pairwise.evaluation.tables.settings import Settings
from captum_pairwise.models.similarity import SimilarityWrapper

ONE_PLAYER = torch.tensor(0)  # a mask: the tables explain the retrieved image, so the query takes no coalitions of its own


@dataclass(frozen=True)
class MethodRun:
    """The arguments of one run.

    Attributes:
        pair: the images.
        settings: sizes and budgets.
        generator: the source of randomness.
    """

    pair: ImagePair
    settings: Settings
    generator: torch.Generator

    @cached_property
    def model(self) -> SimilarityWrapper:
        """The similarity for methods that mask images; it embeds each distinct image once."""
        return SimilarityWrapper(RowCache(self.pair.model.encoder))

    @property
    def n_passes(self) -> int:
        """Number of images that `model` embedded."""
        return sum(tower.n_rows for tower in (self.model.query_encoder, self.model.retrieved_encoder) if isinstance(tower, RowCache))

    @property
    def layer(self) -> tuple[SimilarityWrapper, nn.Module]:
        """The similarity and the layer of the feature maps, for methods that explain a layer."""
        return self.pair.model.wrapper, self.pair.model.encoder.features

    @property
    def pixels(self) -> torch.Tensor:
        """A mask of the retrieved image in which every pixel is a player."""
        height, width = self.pair.images[1].shape[2:]
        return torch.arange(height * width).reshape(1, 1, height, width)

    @property
    def windows(self) -> dict[str, Any]:
        """The windows of SBSM, in the mean colour of the encoder's training images: 0 once they are normalised (§A.2)."""
        fill = self.pair.model.encoder.mean.expand_as(self.pair.images[0])
        return {"sliding_window_shapes": self.settings.window, "strides": self.settings.stride, "baselines": (fill, fill)}

    def parts(self, n_samples: int, retrieved_mask: torch.Tensor | None = None) -> dict[str, Any]:
        """Arguments of a first-order method for parts of the retrieved image; None is superpixels."""
        mask = self.pair.superpixels[1] if retrieved_mask is None else retrieved_mask
        return {**self.draws(n_samples), "feature_mask": (ONE_PLAYER, mask)}

    def part_pairs(self, n_samples: int) -> dict[str, Any]:
        """Arguments of a second-order method for superpixels of both images."""
        return {**self.draws(n_samples), "feature_mask": self.pair.superpixels}

    def cells(self, n_samples: int) -> dict[str, Any]:
        """Arguments of a first-order method for cells of the retrieved image's feature map."""
        return {**self.draws(n_samples), "layer_mask": (ONE_PLAYER, None)}

    def draws(self, n_samples: int) -> dict[str, Any]:
        """Arguments of a second-order method for cells of both feature maps."""
        return {"inputs": self.pair.images, "n_samples": n_samples, "generator": self.generator}
