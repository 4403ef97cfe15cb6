"""The `InferenceModel` of pytorch-metric-learning: a trunk, an embedder, and a normalisation of their embeddings."""

from typing import Any, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from captum_pairwise.models.libraries.library_objects import is_of_class


@final
class TrunkAndEmbedder(nn.Module):
    """The encoder `embedder(trunk(images))`, divided by its norm if asked.

    Args:
        trunk: maps images to features `[B, F]`.
        embedder: maps features to embeddings `[B, C]`; None leaves the features as they are.
        is_normalised: True to divide each embedding by its norm.
    """

    def __init__(self, trunk: nn.Module, embedder: nn.Module | None = None, is_normalised: bool = True) -> None:
        super().__init__()
        self.trunk, self.embedder, self.is_normalised = trunk, nn.Identity() if embedder is None else embedder, is_normalised

    def forward(self, images: Tensor) -> Float[Tensor, "batch channels"]:
        """Encode a batch."""
        embeddings = self.embedder(self.trunk(images))
        return F.normalize(embeddings, dim=1) if self.is_normalised else embeddings


def is_inference_model(model: object) -> bool:
    """True for an `InferenceModel` of pytorch-metric-learning."""
    return is_of_class(model, "pytorch_metric_learning", "InferenceModel")


def convert_inference_model(model: Any) -> TrunkAndEmbedder:
    """The encoder of an `InferenceModel`, in evaluation mode, to which `get_embeddings` switches it, too.

    Raises:
        ValueError: it has a data type of its own.
    """
    if model.dtype not in (None, torch.float32):
        raise ValueError(f"Expected an InferenceModel without a dtype, got {model.dtype}. Convert its trunk and embedder instead.")
    return TrunkAndEmbedder(model.trunk.eval(), model.embedder.eval(), model.normalize_embeddings)
