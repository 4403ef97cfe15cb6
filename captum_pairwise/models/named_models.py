"""Models and layers by name, as on a command line."""

from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from torch import nn

from captum_pairwise.files.factories import call_factory
from captum_pairwise.models.backbones import BACKBONES, parse
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.models.text import sentence_encoder

MINILM = "minilm"
N_SUGGESTIONS = 5  # of layers
AnyModel = nn.Module | Callable[..., Any]


def load_model(text: str) -> AnyModel:
    """The model that a text names, in evaluation mode.

    Args:
        text: a backbone, as "efficientnet_lite0" or "resnet50=weights.pth"; "minilm", an encoder of sentences; or "module:function", a
            function without arguments that returns an encoder, a `SimilarityWrapper` or a function f(query, retrieved) -> [B].

    Raises:
        ValueError: there is no such model, or it is neither a module nor a function.
    """
    name = text.partition("=")[0]
    if text == MINILM:
        return sentence_encoder()
    if name in BACKBONES:
        return parse(text)
    if ":" not in text or Path(text).exists():
        names = ", ".join([*sorted(BACKBONES), MINILM])
        raise ValueError(f"Expected a model, one of {names}, NAME=FILE with weights, or module:function, got {text!r}. Check the name.")
    model = call_factory(text.removeprefix(f"{name}="))
    if isinstance(model, nn.Module):
        return model.eval()
    if not callable(model):
        raise ValueError(f"Expected {text} to return an nn.Module or a function, got {type(model).__name__}. Return the model itself.")
    return model


def select_layer(model: AnyModel, name: str) -> nn.Module | tuple[nn.Module, nn.Module]:
    """The layer with this name; of a `SimilarityWrapper` with two encoders, the layer with this name in each.

    Raises:
        ValueError: the model has no such layer.
    """
    if isinstance(model, SimilarityWrapper):
        if not model.is_tied:
            return _get_layer(model.query_encoder, name), _get_layer(model.retrieved_encoder, name)
        model = model.query_encoder
    if not isinstance(model, nn.Module):
        raise ValueError(f"Expected an encoder for the layer {name!r}, got a {type(model).__name__}. A function has no layers.")
    return _get_layer(model, name)


def _get_layer(encoder: nn.Module, name: str) -> nn.Module:
    layers = dict(encoder.named_modules())
    if name and name in layers:
        return layers[name]
    names = get_close_matches(name, layers, N_SUGGESTIONS) or [child for child, _ in encoder.named_children()]
    raise ValueError(f"Expected the name of a layer, got {name!r}. Names are {', '.join(names[:N_SUGGESTIONS])}, …")
