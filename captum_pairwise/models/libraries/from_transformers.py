"""Models of transformers as encoders."""

from typing import Any

from torch import nn

from captum_pairwise.models.clip import is_clip, make_clip_encoders
from captum_pairwise.models.dual_encoder import DualEncoder
from captum_pairwise.models.libraries.colpali import from_colpali, is_colpali
from captum_pairwise.models.libraries.transformers_images import make_photo_encoder
from captum_pairwise.models.libraries.transformers_text import make_text_encoder


def from_transformers(model: Any, processor: Any, *, pooling: str | None = None, prompt: str = "") -> nn.Module:
    """An encoder for `cp.explain` from a model of transformers, with its own resizing, normalisation, pooling and positions.

    * Vision models (ViT, DINOv2, DINOv3, CLIP's and SigLIP's image side, BEiT, DeiT, Swin, ConvNeXt, ResNet, …): an encoder of photos. A
      classifier is left out: the embedding before it is explained.
    * `CLIPModel`, `SiglipModel` and `Siglip2Model`: a `DualEncoder`, whose `image` and `text` can be used alone.
    * Networks of text (BERT, RoBERTa, MPNet, ModernBERT, T5, Qwen, …) with their tokenizer: an encoder of sentences. See
      `make_text_encoder` for their pooling.
    * `ColPaliForRetrieval`: a `cp.SimilarityWrapper` of queries in words and pages, compared by MaxSim.

    >>> from transformers import ViTConfig, ViTImageProcessor, ViTModel
    >>> vit = ViTModel(ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, image_size=32)).eval()
    >>> encoder = from_transformers(vit, ViTImageProcessor(size={"height": 32, "width": 32}))
    >>> encoder.token_grid_size(32, 32), encoder.preprocessing
    ((2, 2), 'photos are resized by ViTImageProcessor and normalised (mean 0.5, 0.5, 0.5)')

    Args:
        model: the model, in evaluation mode.
        processor: its processor, such as `AutoProcessor.from_pretrained(...)`, its image processor, or its tokenizer.
        pooling: from the states of a vision model to its embedding: `"pooler"` (its own pooled output), `"class"` (the class token) or
            `"mean"` (of the patches). None takes the pooled output if the model was trained to have it, then the class token, then the
            mean. The dense pooler of ViT and DeiT is not taken, because most checkpoints do not contain it. Of a network of text: a mode of
            pooling of sentence-transformers, as for `make_text_encoder`.
        prompt: of a network of text: stands before every sentence, such as "query: " for E5, and gets no credit. For other words before
            queries than before documents, make two encoders: `SimilarityWrapper(queries, documents)`.

    Raises:
        ValueError: the model is of an unknown kind, the processor does not fit, the pooling is unknown, or the model takes no prompt.

    See also `from_timm`, `from_sentence_transformers`, and `cp.testing.check_model`.
    """
    is_text = hasattr(processor, "convert_ids_to_tokens") and not is_clip(model) and not is_colpali(model)
    if is_text:
        return make_text_encoder(model, processor, pooling, prompt)
    if prompt:
        raise ValueError(f"Expected no prompt for {type(model).__name__}, which is no network of text, got {prompt!r}. Leave it out.")
    if is_clip(model):
        if pooling is not None:
            raise ValueError(
                f"Expected no pooling for {type(model).__name__}, whose encoders meet in the space of its own pooling, got {pooling!r}. "
                "Leave it out, or pass its vision_model alone."
            )
        if not hasattr(processor, "tokenizer"):
            raise ValueError(
                f"Expected a processor of images and text for {type(model).__name__}, got {type(processor).__name__}. Pass "
                "AutoProcessor.from_pretrained(...)."
            )
        return DualEncoder(*make_clip_encoders(model, processor.tokenizer, processor))
    if is_colpali(model):
        return from_colpali(model, processor)
    if "image" in getattr(model, "input_modalities", ()) or getattr(model, "main_input_name", "") == "pixel_values":
        return make_photo_encoder(model, processor, pooling)
    raise ValueError(
        f"Expected a vision model, or a CLIP or SigLIP model, of transformers, got {type(model).__name__}. Write a module that maps its "
        "input to embeddings [B, C]."
    )
