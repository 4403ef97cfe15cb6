"""Models of open_clip as two encoders in one embedding space."""

from typing import Any

from torch import nn

from captum_pairwise.models.dual_encoder import DualEncoder
from captum_pairwise.models.libraries.from_timm import find_timm_patch_size
from captum_pairwise.models.libraries.open_clip_text import OpenClipTextEncoder
from captum_pairwise.models.libraries.photo_processing import split_steps
from captum_pairwise.models.photo_encoder import Absent, PhotoEncoder


def from_open_clip(model: Any, preprocess: Any, tokenizer: Any) -> DualEncoder:
    """Both encoders for `cp.explain` from a model of open_clip (CLIP, SigLIP, CoCa), with its own preprocessing and tokenizer.

    Args:
        model: the model, in evaluation mode, as `open_clip.create_model_and_transforms` returns it.
        preprocess: the third result of the same call, the preprocessing of the validation set.
        tokenizer: `open_clip.get_tokenizer(name)`.

    Raises:
        ValueError: the model has no image or no text side, or the tokenizer is of an unknown kind.

    For example::

        model, _, preprocess = open_clip.create_model_and_transforms("ViT-B-32", pretrained="laion2b_s34b_b79k")
        dual = cp.models.from_open_clip(model.eval(), preprocess, open_clip.get_tokenizer("ViT-B-32"))
        cp.explain(dual, "photo.jpg", "a cat on a mat")

    See also `DualEncoder`, and `from_transformers` for the same models there.
    """
    if not isinstance(getattr(model, "visual", None), nn.Module) or not hasattr(model, "encode_text"):
        raise ValueError(
            f"Expected a model of open_clip with `visual` and `encode_text`, got {type(model).__name__}. Pass what "
            "open_clip.create_model_and_transforms returns."
        )
    image = PhotoEncoder(model.visual, split_steps(preprocess), _run_visual, patch_size=_find_visual_patch_size(model.visual))
    return DualEncoder(image, OpenClipTextEncoder(model, tokenizer))


def _run_visual(network: nn.Module, pixels: Any, _absent: Absent) -> Any:
    """The pooled embeddings; CoCa returns the tokens beside them."""
    output = network(pixels)
    return output[0] if isinstance(output, tuple) else output


def _find_visual_patch_size(visual: Any) -> tuple[int, int] | None:
    """Height and width of a patch of a vision transformer, also of one by timm."""
    if getattr(visual, "trunk", None) is not None:
        return find_timm_patch_size(visual.trunk)
    size = getattr(visual, "patch_size", None)
    if size is None:
        return None
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
