"""One run of public attribution classes on one pair of images."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from captum_pairwise.evaluation.tables.image_pair import ImagePair
from captum_pairwise.evaluation.tables.retrieved_map import RetrievedMap, paint_retrieved
from captum_pairwise.evaluation.tables.row_cache import RowCache
from captum_pairwise.evaluation.tables.settings import Settings
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.results.interactions import Interactions

AnyResult = TypeVar("AnyResult")
ONE_PLAYER = torch.tensor(0, device="cpu")  # a mask: first order explains the retrieved image, so the query needs no coalitions


@dataclass(frozen=True)
class MethodRun:
    """Runs attribution classes on one pair: `cls(model)` for parts of images, `cls(model, layer)` for cells of a layer's output.

    Attributes:
        pair: the images.
        settings: sizes and budgets.
        generator: the source of randomness.
        results: of `call_once`; a run is of one method.
    """

    pair: ImagePair
    settings: Settings
    generator: torch.Generator
    results: list[Any] = field(default_factory=list)

    def call_once(self, explain: Callable[[], AnyResult]) -> AnyResult:
        """The result that both orders of the method share: the first call computes it."""
        if not self.results:
            self.results.append(explain())
        return self.results[0]

    @cached_property
    def model(self) -> SimilarityWrapper:
        """The similarity for methods that mask images; it embeds each distinct image once."""
        return SimilarityWrapper(RowCache(self.pair.model.encoder))

    @property
    def n_passes(self) -> int:
        """Number of images that `model` embedded."""
        encoder = self.model.query_encoder
        return encoder.n_rows if isinstance(encoder, RowCache) else 0

    @property
    def layer(self) -> tuple[SimilarityWrapper, nn.Module]:
        """The similarity and the layer of the feature maps."""
        return self.pair.model.wrapper, self.pair.model.encoder.features

    @property
    def windows(self) -> dict[str, Any]:
        """The windows of SBSM, in the mean colour of the encoder's training images: 0 once they are normalised (§A.2)."""
        fill = self.pair.model.encoder.mean.expand_as(self.pair.images[0])
        return {"sliding_window_shapes": self.settings.window, "strides": self.settings.stride, "baselines": (fill, fill)}

    def budget(self, n_samples: int) -> dict[str, Any]:
        """The images, the number of samples and their source."""
        return {"inputs": self.pair.images, "n_samples": n_samples, "generator": self.generator}

    def explain_parts(self, cls: Any, n_samples: int, mask: Tensor | None) -> RetrievedMap:
        """First order of the parts in a mask of the retrieved image, or of the players that the class chooses."""
        return paint_retrieved(cls(self.model).interactions(**self.budget(n_samples), feature_mask=(ONE_PLAYER, mask)))

    def explain_cells(self, cls: Any, n_samples: int) -> RetrievedMap:
        """First order of cells."""
        return paint_retrieved(cls(*self.layer).interactions(**self.budget(n_samples), layer_mask=(ONE_PLAYER, None)))

    def pair_parts(self, cls: Any, n_samples: int, **options: Any) -> Interactions:
        """Second order of superpixels."""
        return cls(self.model, **options).interactions(**self.budget(n_samples), feature_mask=self.pair.superpixels)

    def pair_cells(self, cls: Any, n_samples: int, **options: Any) -> Interactions:
        """Second order of cells."""
        return cls(*self.layer, **options).interactions(**self.budget(n_samples))
