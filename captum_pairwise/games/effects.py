"""Refuse a layer whose output does not move the similarity."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from captum_pairwise.games.sides import Side

NOTHING, ALMOST_NOTHING = 2.0**-21, 1e-5  # of the embedding: four units of rounding in float32, and a warning


@torch.no_grad()
def refuse_without_effect(encoder: nn.Module, layer: nn.Module, side: Side, embed: Callable[[Tensor], Tensor], name: str) -> None:
    """Compare the embeddings of the first image with all players present and with all absent.

    A transformer that uses only its class token ignores all other tokens of its last block.

    Args:
        encoder: the encoder.
        layer: a module of it.
        side: the players of the layer's output.
        embed: maps mixed outputs of the layer for the first image to embeddings.
        name: the name of the image in error messages.

    Raises:
        ValueError: the players change, but the embedding does not.
    """
    mix = side.make_mixers(0)[0]
    presence = torch.ones(2, side.count_coordinates(0), device="cpu", dtype=torch.float32)
    presence[1] = 0
    rows = mix(presence)
    if torch.equal(rows[0], rows[1]):  # the image is its own baseline
        return
    present, absent = embed(rows).flatten(1).double()
    change = float((present - absent).norm() / present.norm().clamp(min=torch.finfo(torch.float64).tiny))
    described, previous = _describe_layer(encoder, layer), _find_previous(encoder, layer)
    if change <= NOTHING:
        advice = f"Take {previous!r}" if previous else "Take an earlier layer"
        raise ValueError(
            f"Expected a layer that moves the similarity, but without any player of {described} the {name} embedding stays the same. The "
            f"encoder may use only tokens that never leave, such as the class token. {advice}."
        )
    if change < ALMOST_NOTHING:
        warnings.warn(
            f"Without any player of {described} the {name} embedding changes by only {change:.0e} of its length, so the credits are mostly "
            "rounding. Take another layer.",
            stacklevel=2,
        )


def _describe_layer(encoder: nn.Module, layer: nn.Module) -> str:
    """The name and the class of a layer."""
    names = [path for path, module in encoder.named_modules() if module is layer]
    return f"{names[0]!r} ({type(layer).__name__})" if names else type(layer).__name__


def _find_previous(encoder: nn.Module, layer: nn.Module) -> str | None:
    """The name of the last module of the same class before the layer."""
    previous = None
    for path, module in encoder.named_modules():
        if module is layer:
            return previous
        if type(module) is type(layer):
            previous = path
    return None
