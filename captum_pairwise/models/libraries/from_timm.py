"""Models of timm as encoders of photos."""

from functools import partial
from importlib import import_module
from typing import Any

from torch import Tensor, nn

from captum_pairwise.models.libraries.library_objects import is_of_class
from captum_pairwise.models.libraries.photo_processing import PhotoProcessing, split_steps
from captum_pairwise.models.photo_encoder import Absent, PhotoEncoder
from captum_pairwise.models.similarity import SimilarityWrapper

TIMM_POOLINGS = ("class", "mean")


def from_timm(model: Any, *, pooling: str | None = None) -> PhotoEncoder:
    """An encoder of photos for `cp.explain` from a model of timm, with its own resizing and normalisation.

    The embedding is the input of the classifier, whether the model has one or not (`num_classes=0`). A model with `features_only=True`
    gives its last map. To explain the logits, pass the model itself to `cp.explain`.

    Args:
        model: the model, in evaluation mode.
        pooling: from the tokens of a vision transformer to its embedding: `"class"` (the class token) or `"mean"` (of the patches). None
            takes the model's own pooling.

    Raises:
        ValueError: the model is not by timm, the pooling is unknown, or the model has no such tokens.

    For example::

        encoder = cp.models.from_timm(timm.create_model("vit_small_patch16_224", pretrained=True).eval())
        cp.explain(encoder, "query.jpg", "result.jpg")

    See also `from_transformers` and `from_open_clip`.
    """
    if not type(model).__module__.startswith("timm."):
        raise ValueError(f"Expected a model by timm.create_model, got {type(model).__name__}. Pass the model itself, not a part of it.")
    if pooling is not None and (pooling not in TIMM_POOLINGS or not hasattr(model, "num_prefix_tokens")):
        raise ValueError(
            f"Expected pooling to be one of {list(TIMM_POOLINGS)}, for a vision transformer with tokens, got {pooling!r} for "
            f"{type(model).__name__}. Leave it out."
        )
    return PhotoEncoder(model, _read_data_config(model), partial(_run_timm, pooling=pooling), patch_size=find_timm_patch_size(model))


def _read_data_config(model: Any) -> PhotoProcessing:
    """The resizing and normalisation of the model's validation set, for its image size."""
    data = import_module("timm.data")
    config = data.resolve_model_data_config(model)
    size = find_image_size(model)
    if size is not None:
        config["input_size"] = (config["input_size"][0], *size)
    return split_steps(data.create_transform(**config, is_training=False))


def find_image_size(model: nn.Module) -> tuple[int, int] | None:
    """Height and width for which a model was built; None if it takes photos of any size."""
    size: Any = next((module.img_size for module in model.modules() if hasattr(module, "img_size")), None)
    return (int(size[0]), int(size[1])) if isinstance(size, (tuple, list)) else None


def is_feature_network(model: object) -> bool:
    """True for a model of timm with `features_only=True`, which returns a list of maps."""
    return is_of_class(model, "timm", "FeatureDictNet", "FeatureHookNet", "FeatureGetterNet", "FeatureGraphNet")


def wrap_feature_network(model: nn.Module) -> SimilarityWrapper:
    """The similarity of the last maps."""
    return SimilarityWrapper(model, output=-1)


def find_timm_patch_size(model: Any) -> tuple[int, int] | None:
    """Height and width of a patch, if all blocks of the network have the same patches."""
    size = getattr(getattr(model, "patch_embed", None), "patch_size", None)
    is_plain = hasattr(model, "blocks") and hasattr(model, "num_prefix_tokens")
    return (int(size[0]), int(size[1])) if is_plain and size is not None else None


def _run_timm(network: Any, pixels: Any, _absent: Absent, pooling: str | None) -> Any:
    """The embeddings, or the last map."""
    if not hasattr(network, "forward_head"):
        output = network(pixels)
        return output[-1] if isinstance(output, (list, tuple)) else output
    features = network.forward_features(pixels)
    if pooling is not None:
        return pool_tokens(network, features, pooling)
    output = network.forward_head(features, pre_logits=True)
    if isinstance(output, Tensor) and output.dim() == 3 and hasattr(network, "num_prefix_tokens"):  # global_pool=""
        return pool_tokens(network, output, "class" if network.num_prefix_tokens else "mean")
    return output


def pool_tokens(network: nn.Module, tokens: Tensor, pooling: str) -> Tensor:
    """The class token, or the mean of the patches.

    Raises:
        ValueError: there is no class token.
    """
    n_prefix = int(getattr(network, "num_prefix_tokens", 0))
    if pooling == "mean":
        return tokens[:, n_prefix:].mean(1)
    if not n_prefix:
        raise ValueError(f"Expected a class token for pooling='class', got {type(network).__name__} without. Pass pooling='mean'.")
    return tokens[:, 0]
