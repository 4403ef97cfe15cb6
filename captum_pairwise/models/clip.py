"""CLIP as two towers: an encoder of images and an encoder of sentences with a common embedding space."""

from typing import Any, final

from jaxtyping import Float, Int
from torch import Tensor, nn

from captum_pairwise.models.backbones import ImageEncoder
from captum_pairwise.models.text import TokenEncoder

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@final
class _ClipVision(nn.Module):
    """The image side of a `CLIPModel`, with its projection."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.network, self.projection = model.vision_model, model.visual_projection

    def forward(self, pixels: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch channels"]:
        """Embed a batch of normalised images."""
        return self.projection(self.network(pixel_values=pixels).pooler_output)


@final
class ClipTextEncoder(TokenEncoder):
    """The text side of a `CLIPModel`: the state of the last token, with its projection.

    Attention is causal, so padding at the end does not change the embedding.

    Args:
        model: a `CLIPModel` of transformers.
        tokenizer: its tokenizer.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__(model.text_model, tokenizer)
        self.projection = model.text_projection

    def forward(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch channels"]:
        """Embed a batch of token ids."""
        return self.projection(self.network(input_ids=ids).pooler_output)


def clip_encoders(model: Any, tokenizer: Any) -> tuple[ImageEncoder, ClipTextEncoder]:
    """The image encoder and the text encoder of a `CLIPModel`, for `SimilarityWrapper(image_encoder, text_encoder)`.

    The cosine of the wrapper is CLIP's own score without its temperature. Explain a pair of layers, such as
    `(image_encoder.features.network.encoder.layers[-2], text_encoder.embedding_layer)`, with the patches of the image and the tokens as
    players: `layer_mask=(token_grid(7, 7), text_encoder.layer_mask(ids))`. Do not take the last block of the image side, because the
    model uses only its class token.

    Args:
        model: a `CLIPModel` of transformers, in evaluation mode.
        tokenizer: its tokenizer.
    """
    size = model.config.vision_config.image_size
    return ImageEncoder(_ClipVision(model), CLIP_MEAN, CLIP_STD, (size, size)), ClipTextEncoder(model, tokenizer)
