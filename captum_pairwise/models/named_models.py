"""Models by name, as on a command line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from captum_pairwise.files.factories import call_factory
from captum_pairwise.models.adapters import adapt_model
from captum_pairwise.models.backbones import BACKBONES, parse
from captum_pairwise.models.text import sentence_encoder

MINILM = "minilm"
AnyModel = nn.Module | Callable[..., Any]


def load_model(text: str) -> AnyModel:
    """The model that a text names, in evaluation mode.

    Args:
        text: a backbone, as "efficientnet_lite0" or "resnet50=weights.pth"; "minilm", an encoder of sentences; or "module:function", a
            function without arguments that returns an encoder, a `DualEncoder`, a `SimilarityWrapper`, a function
            f(query, retrieved) -> [B], or an object of another library that `explain` takes.

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
    model = adapt_model(call_factory(text.removeprefix(f"{name}=")))
    if isinstance(model, nn.Module):
        return model.eval()
    if not callable(model):
        raise ValueError(f"Expected {text} to return an nn.Module or a function, got {type(model).__name__}. Return the model itself.")
    return model
