"""`captum-pairwise check`: is an encoder safe to explain?"""

import argparse

import torch
from torch import Tensor, nn

from captum_pairwise.explanations.layer_choice import find_named_layer
from captum_pairwise.files.arguments import parse_positive
from captum_pairwise.models.backbones import ImageEncoder
from captum_pairwise.models.dual_encoder import DualEncoder
from captum_pairwise.models.embedder import Embedder
from captum_pairwise.models.named_models import AnyModel, load_model
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.models.words.token_encoder import TokenEncoder
from captum_pairwise.players.layouts import LAYOUTS
from captum_pairwise.testing.battery import Report
from captum_pairwise.testing.model_check import check_model

SENTENCES = ("a man is playing a guitar", "a cat sleeps on the sofa")
SIZE = 224
TITLES = ("encoder of the query:", "encoder of the retrieved images:")


def add_check_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command, and add its options."""
    parser.description = (
        "Check that an encoder is safe to explain: evaluation mode, batches, the axes of its output, the effect of the layer, the tail "
        "after the layer, brute force. It runs about 150 times on single images. The exit status is 1 if a check fails."
    )
    model = "module:function, your function that returns an encoder or a SimilarityWrapper; or built in, as resnet50=weights.pth or minilm"
    parser.add_argument("model", help=model)
    parser.add_argument("--layer", metavar="NAME", help="the layer to explain, as layer4 (default: the features of a built-in encoder)")
    parser.add_argument("--layout", choices=LAYOUTS, help="the axes of the layer's output (default: found)")
    parser.add_argument("--output-layout", choices=LAYOUTS, help="the axes of the encoder's output (default: found)")
    parser.add_argument("--size", type=parse_positive, default=SIZE, help=f"height and width of the images (default {SIZE})")
    parser.set_defaults(run=print_check)


def print_check(options: argparse.Namespace) -> int:
    """Check each encoder of the model and print its report; returns the exit status."""
    embedders = _list_embedders(load_model(options.model))
    has_layer = [options.layer in dict(embedder.encoder.named_modules()) for embedder in embedders]
    reports = []
    for embedder, title, is_named in zip(embedders, TITLES, has_layer, strict=False):
        if len(embedders) > 1:
            print(title)
        reports.append(_check_tower(embedder, options, is_named or not any(has_layer)))
        print(reports[-1])
    return int(any(report.failures for report in reports))


def _list_embedders(model: AnyModel) -> list[Embedder]:
    """The encoder with the layout of its output; of a wrapper with two encoders, both."""
    model = model.pair("image", "text") if isinstance(model, DualEncoder) else model
    if isinstance(model, SimilarityWrapper):
        return [model.make_embedder(side) for side in range(1 if model.is_tied else 2)]
    if isinstance(model, nn.Module) and not hasattr(model, "encode_pair"):
        return [Embedder(model)]
    raise ValueError(f"Expected an encoder, an nn.Module, got a {type(model).__name__}. A function of both sides needs no check.")


def _check_tower(embedder: Embedder, options: argparse.Namespace, is_named: bool) -> Report:
    """The report on one encoder; if the layer of the command line is of the other encoder, it is the default one here."""
    name, layout = (options.layer, options.layout) if is_named else (None, None)
    layer, example = _choose_layer(embedder.encoder, name), _make_example(embedder.encoder, options.size)
    output_layout = options.output_layout or embedder.layout
    return check_model(embedder.encoder, example, layer=layer, layout=layout, output_layout=output_layout)


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
