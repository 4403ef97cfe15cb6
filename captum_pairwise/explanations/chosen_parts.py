"""Choose the layer and the parts of both images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from captum_pairwise.attr.base import LayerPairAttribution
from captum_pairwise.explanations.layer_choice import LayerChoice, choose_layer, describe_layer, find_named_layer, join_places
from captum_pairwise.explanations.options import Options
from captum_pairwise.games.context import ForwardFunc, Images
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.models.words.token_encoder import TokenEncoder
from captum_pairwise.network.layers import Layers
from captum_pairwise.players.volumes import divide_input, divide_signal

N_SEGMENTS = 20  # of an input without a layer that has places
MOST_SAMPLED, MOST_BLOCKS = 256, 100  # parts of an image that are sampled; more are joined to so many blocks at most


@dataclass(frozen=True)
class Parts:
    """The parts of both images: the layer, None for the inputs themselves, the masks by the name of their argument, and words."""

    layer: Layers | None
    masks: dict[str, Any]
    words: str


def choose_parts(method_class: Any, inputs: Images, options: Options, layers: Sequence[LayerChoice], is_encoder: bool) -> Parts:
    """The layer and the masks that a method takes."""
    if not issubclass(method_class, LayerPairAttribution):
        if options.removal is not None:
            return Parts(None, {"feature_mask": options.removal.masks}, f"Parts: {options.removal.parts}.")
        if options.feature_mask is not None:
            return Parts(None, {"feature_mask": options.feature_mask}, "Parts: your mask.")
        reason = ", because no layer with places carries all information" if is_encoder and options.method is None else ""
        return Parts(None, {"feature_mask": tuple(map(_divide_input, inputs))}, f"Parts: {_name_segments(inputs)}{reason}.")
    if not layers:
        raise ValueError(f"Expected layer= for {method_class.__name__}, because no layer of the model has places. Name a layer.")
    masks = {"layer_mask": (layers[0].mask, layers[-1].mask)}
    return Parts(join_layers(layers), masks, _describe_parts(layers, options.layer is not None))


def join_layers(layers: Sequence[LayerChoice]) -> Layers:
    """One layer for both images, or a pair."""
    first, last = layers[0].layer, layers[-1].layer
    return first if first is last else (first, last)


def choose_layers(forward_func: ForwardFunc, inputs: Images, options: Options) -> list[LayerChoice]:
    """The layer of each side, or one for both; empty if the parts are those of the inputs."""
    if options.removal is not None:
        return []
    if options.feature_mask is not None or not isinstance(forward_func, SimilarityWrapper):
        named = [] if options.layer is None else options.layer if isinstance(options.layer, (tuple, list)) else [options.layer]
        modules = [find_named_layer(forward_func, name) if isinstance(name, str) else name for name in named]
        return [LayerChoice(module, type(module).__name__, None, "its places", 0) for module in modules]
    choices = []
    for side in (0,) if _divides_alike(forward_func, inputs, options) else (0, 1):
        embedder, images = forward_func.make_embedder(side), inputs[side]
        named = options.layer[side] if isinstance(options.layer, (tuple, list)) else options.layer
        if isinstance(named, str):
            named = find_named_layer(embedder.encoder, named)
        choice = choose_layer(embedder, images) if named is None else describe_layer(embedder, named, images)
        if choice is None:
            _refuse_words_without_layer(embedder.encoder, forward_func.make_embedder(1 - side).encoder)
            return []
        choices.append(choice)
    return choices


def _divides_alike(model: SimilarityWrapper, inputs: Images, options: Options) -> bool:
    """True if both images have the same parts of the same layer."""
    is_one_layer = not isinstance(options.layer, (tuple, list))
    return is_one_layer and model.is_tied and inputs[0].shape == inputs[1].shape and inputs[0].is_floating_point()


def _refuse_words_without_layer(encoder: nn.Module, other: nn.Module) -> None:
    """Refuse an encoder without a layer beside an encoder of text, whose words are parts of a layer.

    Raises:
        ValueError: the other is an encoder of text.
    """
    if isinstance(other, TokenEncoder):
        raise ValueError(
            f"Expected a layer of {type(encoder).__name__} that has places and carries all information, because words are explained at a "
            "layer, got none. Pass a pair of layers."
        )


def _divide_input(inputs: Tensor) -> Tensor:
    """Superpixels of images, supervoxels of volumes and videos, or equal intervals of signals."""
    ids = divide_input(inputs, N_SEGMENTS)
    return divide_signal(inputs, N_SEGMENTS) if ids is None else ids


def _name_segments(inputs: Images) -> str:
    """The default parts of inputs in words."""
    names = {4: "superpixels of each photo", 5: "supervoxels of each side"}
    return " and ".join(dict.fromkeys(names.get(side.dim(), "equal intervals of each signal") for side in inputs))


def _describe_parts(choices: Sequence[LayerChoice], is_named: bool) -> str:
    words = list(dict.fromkeys(f"{choice.parts} of `{choice.name}`" for choice in choices))
    is_text = any(choice.parts.startswith("words") for choice in choices)
    reason = "" if is_named or is_text else ", the last layer with places"
    return f"Parts: {' and '.join(words)}{reason}."


def join_many_places(layers: Sequence[LayerChoice]) -> list[LayerChoice]:
    """The same layers, with blocks of neighbouring places as parts where there are too many to sample and the places are a grid."""
    return [join_places(choice, MOST_BLOCKS) if choice.n_parts > MOST_SAMPLED else choice for choice in layers]
