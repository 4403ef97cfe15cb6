"""CLIP and SigLIP of transformers as two towers: an encoder of images and an encoder of sentences with a common embedding space."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, final

from jaxtyping import Float, Int
from torch import Tensor, nn

from captum_pairwise.models.libraries.photo_processing import PhotoProcessing, resize_photos
from captum_pairwise.models.libraries.transformers_images import make_photo_encoder
from captum_pairwise.models.photo_encoder import PhotoEncoder
from captum_pairwise.models.words.token_encoder import FIXED_TOKEN, HIDDEN_TOKEN, TokenEncoder, find_padded_length
from captum_pairwise.network.attention_mask import HiddenTokens

TOWERS = ("vision_model", "text_model")
# the parts of each type of model
CLIP_PARTS = {"clip": (*TOWERS, "visual_projection", "text_projection"), "siglip": TOWERS, "siglip2": TOWERS}
# the mean and the standard deviation of the images of types with square photos
CLIP_COLOURS = {
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "siglip": ((0.5,) * 3, (0.5,) * 3),
}


@final
class ClipTextEncoder(TokenEncoder):
    """The text side of a `CLIPModel`, `SiglipModel` or `Siglip2Model`: the state of the last token, with its projection.

    CLIP's attention is causal, so padding at the end does not change the embedding. SigLIP attends to padding, so it takes ids of one
    length alone, which `ids` makes. Words that are removed by an attention mask keep their places.

    Args:
        model: a `CLIPModel`, a `SiglipModel` or a `Siglip2Model` of transformers.
        tokenizer: its tokenizer.
    """

    hides_tokens = True

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__(model.text_model, tokenizer)
        self.projection = getattr(model, "text_projection", nn.Identity())
        self.train(model.training)

    def forward(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch channels"]:
        """Embed a batch of token ids.

        Raises:
            ValueError: the ids are not padded to the length of SigLIP's training.
        """
        length = find_padded_length(self.network)
        if length and ids.shape[1] != length:
            raise ValueError(f"Expected ids padded to {length} tokens, as SigLIP was trained, got {ids.shape[1]}. Take them from `ids`.")
        with hide_absent_tokens(ids):
            return self.projection(self.network(input_ids=ids.long() % FIXED_TOKEN).pooler_output)


def hide_absent_tokens(ids: Int[Tensor, "batch tokens"]) -> AbstractContextManager[object]:
    """A context in which a network attends to no token that is marked as hidden."""
    hidden = ids.long() >= HIDDEN_TOKEN
    return HiddenTokens(~hidden, most_prefix=0) if hidden.any() else nullcontext()


def is_clip(model: object) -> bool:
    """True for a model of transformers with both towers in a common space."""
    parts = CLIP_PARTS.get(_find_type(model), ())
    return bool(parts) and all(hasattr(model, part) for part in parts)


def _find_type(model: object) -> str:
    return getattr(getattr(model, "config", None), "model_type", "")


def make_clip_encoders(
    model: Any, tokenizer: Any, processor: Any = None, processing: PhotoProcessing | None = None
) -> tuple[PhotoEncoder, ClipTextEncoder]:
    """The image and the text encoder of a model for which `is_clip` is true; the images are read by a processor or by given steps."""
    projection = getattr(model, "visual_projection", None)
    images = make_photo_encoder(model.vision_model, processor, projection=projection, processing=processing)
    return images.train(model.training), ClipTextEncoder(model, tokenizer)


def clip_encoders(model: Any, tokenizer: Any) -> tuple[PhotoEncoder, ClipTextEncoder]:
    """The image and the text encoder of a `CLIPModel` or `SiglipModel`, for `SimilarityWrapper(image_encoder, text_encoder)`.

    The photos are resized to the model's square; `from_transformers(model, processor)` resizes and cuts them as the processor does.
    The cosine of the wrapper is the model's own score without its temperature and bias. Explain a pair of layers, such as
    `(image_encoder.network.encoder.layers[-2], text_encoder.embedding_layer)`, with the patches of the image and the tokens as
    players: `layer_mask=(token_grid(7, 7), text_encoder.layer_mask(ids))`. SigLIP has no class token: `token_grid(7, 7, n_prefix=0)`. Do
    not take the last block of CLIP's image side, because the model uses only its class token.

    Args:
        model: a `CLIPModel` or a `SiglipModel` of transformers, in evaluation mode.
        tokenizer: its tokenizer.

    Raises:
        ValueError: the model is of another class.

    For example::

        image, text = clip_encoders(CLIPModel.from_pretrained(name).eval(), AutoTokenizer.from_pretrained(name))
        similarity = cp.SimilarityWrapper(image, text)(photos, text.ids(["a cat on a mat"]))

    See also `cp.models.from_transformers`, whose result `cp.explain` takes.
    """
    colours = CLIP_COLOURS.get(_find_type(model))
    if not is_clip(model) or colours is None:
        raise ValueError(
            f"Expected a CLIPModel or a SiglipModel of transformers, got {type(model).__name__}. Use from_transformers(model, processor), "
            "or pass two encoders to SimilarityWrapper, one of images and a subclass of TokenEncoder."
        )
    size = model.config.vision_config.image_size
    return make_clip_encoders(model, tokenizer, processing=resize_photos((size, size), *colours))
