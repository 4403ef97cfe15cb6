"""`captum-pairwise check`: is an encoder safe to explain?"""

import argparse

import torch
from torch import Tensor, nn

from captum_pairwise.explanations.layer_choice import find_named_layer
from captum_pairwise.files.arguments import parse_positive
from captum_pairwise.models.backbones import ImageEncoder
from captum_pairwise.models.named_models import AnyModel, load_model
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.models.text import TokenEncoder
from captum_pairwise.players.layouts import LAYOUTS
from captum_pairwise.testing.model_check import check_model

SENTENCES = ("a man is playing a guitar", "a cat sleeps on the sofa")
SIZE = 224


def add_check_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command, and add its options."""
    parser.description = (
        "Check that an encoder is safe to explain: evaluation mode, batches, the axes of its output, the effect of the layer, the tail "
        "after the layer, brute force. It runs about 150 times on single images. The exit status is 1 if a check fails."
    )
    model = "module:function, your function that returns the encoder; or a built-in one, as resnet50=weights.pth or minilm"
    parser.add_argument("model", help=model)
    parser.add_argument("--layer", metavar="NAME", help="the layer to explain, as layer4 (default: the features of a built-in encoder)")
    parser.add_argument("--layout", choices=LAYOUTS, help="the axes of the layer's output (default: found)")
    parser.add_argument("--output-layout", choices=LAYOUTS, help="the axes of the encoder's output (default: found)")
    parser.add_argument("--size", type=parse_positive, default=SIZE, help=f"height and width of the images (default {SIZE})")
    parser.set_defaults(run=print_check)


def print_check(options: argparse.Namespace) -> int:
    """Check the encoder and print the report; returns the exit status."""
    encoder = _take_encoder(load_model(options.model))
    layer = _choose_layer(encoder, options.layer)
    example = _make_example(encoder, options.size)
    report = check_model(encoder, example, layer=layer, layout=options.layout, output_layout=options.output_layout)
    print(report)
    return int(bool(report.failures))


def _take_encoder(model: AnyModel) -> nn.Module:
    if isinstance(model, SimilarityWrapper):
        return model.query_encoder
    if isinstance(model, nn.Module):
        return model
    raise ValueError(f"Expected an encoder, an nn.Module, got a {type(model).__name__}. A function f(query, retrieved) needs no check.")


def _choose_layer(encoder: nn.Module, name: str | None) -> nn.Module | None:
    if name is not None:
        return find_named_layer(encoder, name)
    if isinstance(encoder, TokenEncoder):
        return encoder.embedding_layer
    return encoder.features if isinstance(encoder, ImageEncoder) else None


def _make_example(encoder: nn.Module, size: int) -> Tensor:
    """Two sentences, or two random images in [0, 1]."""
    if isinstance(encoder, TokenEncoder):
        return encoder.ids(SENTENCES)
    shape = encoder.size if isinstance(encoder, ImageEncoder) else (size, size)
    parameter = next(encoder.parameters(), torch.empty(0, device="cpu", dtype=torch.float32))
    return torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(0), device="cpu", dtype=torch.float32).to(parameter)
