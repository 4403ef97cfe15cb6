"""CLIP and SigLIP as two towers: an encoder of images and an encoder of sentences with a common embedding space."""

from typing import Any, final

from jaxtyping import Float, Int
from torch import Tensor, nn

from captum_pairwise.models.backbones import ImageEncoder
from captum_pairwise.models.text import TokenEncoder, find_padded_length

TOWERS = ("vision_model", "text_model")
# the type of a model, then the mean and the standard deviation of its images, and its parts
CLIP_MODELS = {
    "clip": (
        (0.48145466, 0.4578275, 0.40821073),
        (0.26862954, 0.26130258, 0.27577711),
        (*TOWERS, "visual_projection", "text_projection"),
    ),
    "siglip": ((0.5,) * 3, (0.5,) * 3, TOWERS),
}


@final
class _ClipVision(nn.Module):
    """The image side of a `CLIPModel` with its projection, or of a `SiglipModel`, which has none."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.network, self.projection = model.vision_model, getattr(model, "visual_projection", nn.Identity())

    def forward(self, pixels: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch channels"]:
        """Embed a batch of normalised images."""
        return self.projection(self.network(pixel_values=pixels).pooler_output)


@final
class ClipTextEncoder(TokenEncoder):
    """The text side of a `CLIPModel` or a `SiglipModel`: the state of the last token, with its projection.

    CLIP's attention is causal, so padding at the end does not change the embedding. SigLIP attends to padding, so it takes ids of one
    length alone, which `ids` makes.

    Args:
        model: a `CLIPModel` or a `SiglipModel` of transformers.
        tokenizer: its tokenizer.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__(model.text_model, tokenizer)
        self.projection = getattr(model, "text_projection", nn.Identity())

    def forward(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch channels"]:
        """Embed a batch of token ids.

        Raises:
            ValueError: the ids are not padded to the length of SigLIP's training.
        """
        length = find_padded_length(self.network)
        if length and ids.shape[1] != length:
            raise ValueError(f"Expected ids padded to {length} tokens, as SigLIP was trained, got {ids.shape[1]}. Take them from `ids`.")
        return self.projection(self.network(input_ids=ids).pooler_output)


def clip_encoders(model: Any, tokenizer: Any) -> tuple[ImageEncoder, ClipTextEncoder]:
    """The image and the text encoder of a `CLIPModel` or `SiglipModel`, for `SimilarityWrapper(image_encoder, text_encoder)`.

    The cosine of the wrapper is the model's own score without its temperature and bias. Explain a pair of layers, such as
    `(image_encoder.features.network.encoder.layers[-2], text_encoder.embedding_layer)`, with the patches of the image and the tokens as
    players: `layer_mask=(token_grid(7, 7), text_encoder.layer_mask(ids))`. SigLIP has no class token: `token_grid(7, 7, n_prefix=0)`. Do
    not take the last block of CLIP's image side, because the model uses only its class token.

    Args:
        model: a `CLIPModel` or a `SiglipModel` of transformers, in evaluation mode.
        tokenizer: its tokenizer.

    Raises:
        ValueError: the model is of another class.
    """
    mean, std, parts = CLIP_MODELS.get(getattr(getattr(model, "config", None), "model_type", ""), ((), (), ()))
    if not parts or not all(hasattr(model, part) for part in parts):
        raise ValueError(
            f"Expected a CLIPModel or a SiglipModel of transformers, got {type(model).__name__}. Write two encoders, one that embeds "
            "images and a subclass of TokenEncoder, and pass them to SimilarityWrapper."
        )
    size = model.config.vision_config.image_size
    return ImageEncoder(_ClipVision(model), mean, std, (size, size)), ClipTextEncoder(model, tokenizer)
