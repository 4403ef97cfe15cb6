"""Replacements of absent parts: the baselines of both sides, and what they do in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from captum_pairwise.games.context import ForwardFunc, Images
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.models.words.token_encoder import TokenEncoder
from captum_pairwise.players.baselines import Backgrounds

BLURRED, OWN_BASELINES = "blurred", "replaced by your baselines"
BLUR, RANDOM_WORDS = DEFAULTS = ("blur", "random words")  # names of the replacements of photos, and of words
N_MEMBERS = 4  # random sentences of the background of a text


@dataclass(frozen=True)
class Replacement:
    """The replacement of the absent parts of one side.

    Attributes:
        baseline: as the methods take it; None is a blur, or 0 for other inputs than images.
        words: what happens to absent parts.
    """

    baseline: Any
    words: str


def choose_replacements(
    forward_func: ForwardFunc, inputs: Images, baselines: Any, background: Sequence[Tensor | None], seed: int
) -> list[Replacement]:
    """The replacement of each side: the user's, else the background, else random words or a blur.

    Args:
        forward_func: the model.
        inputs: both batches.
        baselines: a pair, in which a name is one of `DEFAULTS` and None is left to the model, or None.
        background: images for each side, or None.
        seed: of random words.

    Raises:
        ValueError: the baselines are no pair, or a name does not fit the inputs of its side.
    """
    own = (None, None) if baselines is None else baselines
    if not isinstance(own, (tuple, list)) or len(own) != 2:
        kind = f"{len(own)}" if isinstance(own, (tuple, list)) else type(own).__name__
        raise ValueError(f"Expected baselines to be a pair, one for the query and one for the retrieved side, got {kind}. Pass two.")
    wrapper = forward_func if isinstance(forward_func, SimilarityWrapper) else None
    encoders = (wrapper.query_encoder, wrapper.retrieved_tower) if wrapper is not None else (None, None)
    generator = torch.Generator().manual_seed(seed)  # of both sides: equal words on both would make two random sentences alike
    return [
        _choose_replacement(encoder, images, members, generator)
        if baseline is None
        else _read_baseline(baseline, encoder, images, generator)
        for baseline, encoder, images, members in zip(own, encoders, inputs, background, strict=True)
    ]


def _read_baseline(baseline: Any, encoder: nn.Module | None, images: Tensor, generator: torch.Generator) -> Replacement:
    """The user's own baseline, or the default of the side if it has the name that the user gave.

    Raises:
        ValueError: the default of the side has another name, or none.
    """
    if not isinstance(baseline, str):
        return Replacement(baseline, OWN_BASELINES)
    default = RANDOM_WORDS if isinstance(encoder, TokenEncoder) else BLUR if images.dim() in (4, 5) else "0"
    if baseline != default:
        raise ValueError(f"Expected baselines that fit each side, got {baseline!r} for one whose default is {default}. Pass None for it.")
    return _choose_replacement(encoder, images, None, generator)


def _choose_replacement(encoder: nn.Module | None, images: Tensor, background: Tensor | None, generator: torch.Generator) -> Replacement:
    if background is not None:
        number = f"{len(background)} images" if len(background) > 1 else "an image"
        return Replacement(Backgrounds(background), f"replaced by {number} of the background")
    if isinstance(encoder, TokenEncoder):
        words = encoder.random_words(images, N_MEMBERS, generator)
        return Replacement(words, "replaced by random words")
    return Replacement(None, BLURRED if images.dim() in (4, 5) else "set to 0")
