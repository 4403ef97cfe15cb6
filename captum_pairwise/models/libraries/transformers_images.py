"""Vision models of transformers as encoders of photos."""

import inspect
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from captum_pairwise.models.libraries.photo_processing import PhotoProcessing, split_processor
from captum_pairwise.models.photo_encoder import Absent, PhotoEncoder

POOLINGS = ("pooler", "class", "mean")


def make_photo_encoder(
    model: Any,
    processor: Any,
    pooling: str | None = None,
    *,
    projection: nn.Module | None = None,
    processing: PhotoProcessing | None = None,
) -> PhotoEncoder:
    """An encoder of photos from a vision model of transformers.

    Args:
        model: the vision model; a model with a classifier is used without it.
        processor: its image processor, or a processor that has one.
        pooling: as for `from_transformers`.
        projection: as for `PhotoEncoder`.
        processing: in place of the processor's.

    Raises:
        ValueError: the pooling is unknown, or the processor is none of images.
    """
    if pooling is not None and pooling not in POOLINGS:
        raise ValueError(f"Expected pooling to be one of {list(POOLINGS)}, got {pooling!r}. Pass one of these, or None.")
    network = model.base_model if "ForImageClassification" in type(model).__name__ else model
    patch_size = _find_patch_size(network.config)
    arguments = inspect.signature(network.forward).parameters
    is_naflex = "spatial_shapes" in arguments
    if processing is None:
        side = patch_size[0] if is_naflex and patch_size is not None else None
        processing = split_processor(find_image_processor(processor, model), side)
    has_mask_token = "bool_masked_pos" in arguments and _find_mask_token(network) is not None and patch_size is not None
    run = run_naflex if is_naflex else run_vision_model
    return PhotoEncoder(
        network,
        processing,
        partial(run, pooling=pooling, patch_size=patch_size),
        projection=projection,
        patch_size=patch_size,
        has_mask_token=has_mask_token,
    )


def find_image_processor(processor: Any, model: Any) -> Any:
    """The image processor itself, or of a processor of several kinds of input.

    Raises:
        ValueError: there is none.
    """
    found_processor = getattr(processor, "image_processor", processor)
    if not hasattr(found_processor, "image_mean") and not hasattr(found_processor, "do_resize"):
        raise ValueError(
            f"Expected the image processor of {type(model).__name__}, got {type(processor).__name__}. Pass "
            "AutoImageProcessor.from_pretrained(...) or AutoProcessor.from_pretrained(...)."
        )
    return found_processor


def run_vision_model(
    network: Any, pixels: Float[Tensor, "batch 3 height width"], absent: Absent, pooling: str | None, patch_size: tuple[int, int] | None
) -> Tensor:
    """The embeddings of normalised pixels; positions are interpolated for photos of another size than in training."""
    options: dict[str, Any] = {} if absent is None else {"bool_masked_pos": absent}
    size = getattr(network.config, "image_size", None)
    is_other = size is not None and tuple(pixels.shape[2:]) != _as_pair(size)
    if is_other and "interpolate_pos_encoding" in inspect.signature(network.forward).parameters:
        options["interpolate_pos_encoding"] = True
    output = network(pixel_values=pixels, **options)
    n_patches = None if patch_size is None else (pixels.shape[2] // patch_size[0]) * (pixels.shape[3] // patch_size[1])
    return pool_vision_output(network, output, pooling, n_patches)


def run_naflex(
    network: Any, pixels: Float[Tensor, "batch 3 height width"], _absent: Absent, pooling: str | None, patch_size: tuple[int, int]
) -> Tensor:
    """The embeddings by SigLIP 2 for photos of any shape, which takes patches in place of pixels."""
    height, width = patch_size
    rows, columns = pixels.shape[2] // height, pixels.shape[3] // width
    patches = pixels[..., : rows * height, : columns * width].reshape(len(pixels), 3, rows, height, columns, width)
    is_new = "pixel_attention_mask" in inspect.signature(network.forward).parameters  # since transformers 5
    mask = torch.ones(len(pixels), rows * columns, dtype=torch.long, device=pixels.device)
    output = network(
        pixel_values=patches.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2),
        **{"pixel_attention_mask" if is_new else "attention_mask": mask},
        spatial_shapes=torch.tensor([[rows, columns]], dtype=torch.long, device=pixels.device).expand(len(pixels), -1),
    )
    return pool_vision_output(network, output, pooling, rows * columns)


def pool_vision_output(network: Any, output: Any, pooling: str | None, n_patches: int | None) -> Tensor:
    """The embeddings, or the last map of a backbone.

    Without `pooling`: the projected embeddings, the pooled output, the class token, or the mean of the patches, the first that there is.
    A pooled output by a linear layer with tanh, as of ViT, is not used, because most checkpoints do not contain this layer.

    Raises:
        ValueError: the output lacks what `pooling` names.
    """
    states: Any = output.get("last_hidden_state")
    pooled: Any = output.get("pooler_output")
    if pooling is None and output.get("image_embeds") is not None:
        return output["image_embeds"]
    if pooling is None and output.get("feature_maps") is not None:
        return output["feature_maps"][-1]
    is_sequence = isinstance(states, Tensor) and states.dim() == 3
    n_prefix = states.shape[1] - n_patches if is_sequence and n_patches is not None else 0
    if pooling is None:
        is_trained = pooled is not None and not isinstance(getattr(getattr(network, "pooler", None), "dense", None), nn.Linear)
        pooling = "pooler" if is_trained else "class" if n_prefix > 0 else "mean"
    if pooling == "pooler" and pooled is not None:
        return pooled.flatten(1)
    if pooling == "class" and n_prefix > 0:
        return states[:, 0]
    if pooling == "mean" and states is not None:
        return states.mean((2, 3)) if states.dim() == 4 else states[:, max(0, n_prefix) :].mean(1)
    shapes = {name: tuple(value.shape) for name, value in output.items() if isinstance(value, Tensor)}
    raise ValueError(f"Expected an output of {type(network).__name__} for pooling={pooling!r}, got {shapes}. Pass another pooling.")


def _find_patch_size(config: Any) -> tuple[int, int] | None:
    """Height and width of a patch, if all blocks of the network have the same patches."""
    is_hierarchical = any(hasattr(config, name) for name in ("depths", "hidden_sizes", "depth"))
    size = getattr(config, "patch_size", None)
    return None if size is None or is_hierarchical else _as_pair(size)


def _as_pair(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[-2], size[-1])


def _find_mask_token(network: Any) -> Any:
    return getattr(getattr(network, "embeddings", None), "mask_token", None)
