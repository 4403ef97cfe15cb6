"""ColPali: patches of pages and words of queries, compared token by token."""

from collections.abc import Sequence
from functools import partial
from typing import Any, final

import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor, nn

from captum_pairwise.models.libraries.library_objects import is_of_class
from captum_pairwise.models.libraries.sentence_transformers_inputs import EXAMPLE
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.models.words.token_encoder import TokenEncoder


@final
class ColPaliQueryEncoder(TokenEncoder):
    """The tokens of queries by a `ColPaliForRetrieval`; the words of the query are the players, not its prefix and suffix.

    Args:
        model: the `ColPaliForRetrieval`.
        processor: its `ColPaliProcessor`.
    """

    marks_padding = True
    hides_tokens = True

    def __init__(self, model: Any, processor: Any) -> None:
        super().__init__(model, processor.tokenizer, encode=partial(_encode_query, processor))
        self._has_types = "token_type_ids" in processor.process_queries(text=[EXAMPLE])

    def forward(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens channels"]:
        """Embed the tokens of a batch of ids; padding is 0."""
        tokens, attended = self.separate_padding(ids)
        types = {"token_type_ids": torch.zeros_like(tokens)} if self._has_types else {}
        return self.network(input_ids=tokens, attention_mask=attended.long(), **types).embeddings


def _encode_query(processor: Any, texts: Sequence[str]) -> list[int]:
    """The ids of one query, with prefix and suffix."""
    return processor.process_queries(text=list(texts))["input_ids"][0].tolist()


@final
class ColPaliPageEncoder(nn.Module):
    """The tokens of pages by a `ColPaliForRetrieval`: of all patches, and of the text that the processor puts behind them.

    Args:
        model: the `ColPaliForRetrieval`.
        processor: its `ColPaliProcessor`.
    """

    def __init__(self, model: Any, processor: Any) -> None:
        super().__init__()
        self.network, self._processor = model, processor
        sizes = processor.image_processor.size
        self.size = sizes["height"], sizes["width"]
        features = processor.process_images(images=[Image.new("RGB", self.size[::-1])])
        self._features = {name: value for name, value in features.items() if name not in ("pixel_values", "labels")}  # of every page
        patch = model.vlm.config.vision_config.patch_size
        self._patch_size = (patch, patch) if isinstance(patch, int) else tuple(patch)

    @property
    def patch_layer(self) -> nn.Module:
        """The layer whose output holds the patches alone, before text is put behind them."""
        return self.network.vlm.multi_modal_projector

    @property
    def preprocessing(self) -> str:
        """The steps from a page to the network, in words."""
        return f"pages are resized to {self.size[0]} × {self.size[1]} and normalised by {type(self._processor).__name__}"

    def transform(self, page: Image.Image) -> Float[Tensor, "3 height width"]:
        """The normalised pixels of a page."""
        return self._processor.image_processor(images=[page.convert("RGB")], return_tensors="pt")["pixel_values"][0]

    def token_grid_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the patches of a page."""
        return height // self._patch_size[0], width // self._patch_size[1]

    def forward(self, pixels: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch tokens channels"]:
        """Embed the tokens of a batch of pages."""
        rows = {name: value.to(pixels.device).expand(len(pixels), -1) for name, value in self._features.items()}
        return self.network(pixel_values=pixels, **rows).embeddings


def is_colpali(model: object) -> bool:
    """True for a `ColPaliForRetrieval` of transformers."""
    return is_of_class(model, "transformers", "ColPaliForRetrieval")


def from_colpali(model: Any, processor: Any) -> SimilarityWrapper:
    """The similarity of a query in words and a page by ColPali, for `cp.explain` and `cp.explain_ranking`: words × patches.

    Args:
        model: a `ColPaliForRetrieval` of transformers.
        processor: its `ColPaliProcessor`.

    Raises:
        ValueError: the model is another.

    For example::

        name = "vidore/colpali-v1.3-hf"
        model = cp.models.from_colpali(ColPaliForRetrieval.from_pretrained(name).eval(), ColPaliProcessor.from_pretrained(name))
        cp.explain(model, "revenue by quarter", "page.png")

    See also `from_colbert` and `cp.MaxSimShapleyTaylor`.
    """
    if not is_colpali(model) or not hasattr(processor, "process_queries"):
        raise ValueError(
            f"Expected a ColPaliForRetrieval and its ColPaliProcessor, got {type(model).__name__} and {type(processor).__name__}. Wrap "
            "encoders of other models in modules that return tokens [B, T, C], and pass SimilarityWrapper(..., similarity='maxsim')."
        )
    return SimilarityWrapper(ColPaliQueryEncoder(model, processor), ColPaliPageEncoder(model, processor), similarity="maxsim")
