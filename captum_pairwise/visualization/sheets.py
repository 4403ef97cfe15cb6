"""The picture of one side of a pair, of whatever kind, with the parts that own its pixels."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.players.layouts import find_input_channels
from captum_pairwise.players.regions import Players
from captum_pairwise.results.interactions import SIDES, Interactions
from captum_pairwise.visualization.drawn_inputs import draw_input
from captum_pairwise.visualization.input_kinds import KINDS, InputKind, Picture, Video, Volume
from captum_pairwise.visualization.part_places import find_place_ids
from captum_pairwise.visualization.photo_parts import PhotoParts, locate_in_photo
from captum_pairwise.visualization.photos import Array, check_photos, detach_to_cpu, reduce_photo
from captum_pairwise.visualization.pixel_range import fit_colours, fit_grey, stretch

ImagePair: TypeAlias = tuple[Array | InputKind, Array | InputKind]  # of the query and of the retrieved side
Side: TypeAlias = Array | InputKind | Sequence[str]  # a batch of photos, one other input, or the tokens of one sentence


def draw_sheet(side: object, interactions: Interactions, number: int, example: int, slices: tuple[int, ...] | None = None) -> PhotoParts:
    """The picture of one side of a pair.

    Args:
        side: a batch of photos, of images with other channels, or of volumes or videos; or one input whose kind is named.
        interactions: of a batch of pairs.
        number: 0 for the query, 1 for the retrieved side.
        example: the number of the pair.
        slices: the slices or frames to show; None chooses those with the strongest parts.

    Raises:
        ValueError: the players are unknown or do not lie in the input, or the input cannot be drawn.
    """
    players = (interactions.query_players, interactions.retrieved_players)[number]
    if players is None:
        raise ValueError("Expected interactions with players, got some without. Pass the result of a method's `.interactions(...)`.")
    kind = name_kind(side, SIDES[number], example, len(players.ids))
    if isinstance(kind, Array):
        return locate_in_photo(players, check_photos(kind, f"the {SIDES[number]} photos"), example)
    own = Players(players.ids[example][None], players.shape)
    if isinstance(kind, Picture):
        ids = torch.from_numpy(find_place_ids(own, kind))[None, None]
        return PhotoParts(reduce_photo(show_picture(kind)), Players(ids, (players.n_players,)), kind.noun)
    return draw_input(kind, own, _weigh_players(interactions, number, example), slices)


def name_kind(side: object, name: str, example: int, n_pairs: int) -> Array | InputKind:
    """The kind of an input that is no batch of photos; a batch of photos is returned unchanged.

    Raises:
        ValueError: it is neither, or a batch has another number of examples than the pairs.
    """
    if isinstance(side, KINDS):
        return side
    if not isinstance(side, Array) or side.ndim < 3 or 0 in side.shape:
        raise ValueError(_tell_mismatch(side, name))
    if side.ndim == 4 and side.shape[1] in (1, 3):
        return side
    if side.ndim not in (4, 5):
        raise ValueError(
            f"Expected the {name} photos to be a batch [B, 3, H, W], got shape {tuple(side.shape)}. Give one image a batch dimension: "
            "`image[None]`. Pass a signal as cp.Signal(signal), and a spectrogram as cp.Spectrogram(spectrogram)."
        )
    if len(side) not in (1, n_pairs):
        raise ValueError(f"Expected {name} inputs of {n_pairs} pairs, as in the interactions, got {len(side)}. Pass the same batch.")
    return choose_kind(detach_to_cpu(side)[example if len(side) > 1 else 0][None])


def choose_kind(row: Tensor, name: str = "") -> InputKind:
    """The kind of one input `[1, C, H, W]`, `[1, C, D, H, W]` or `[1, C, T, H, W]` by its axes: three channels are those of a video."""
    if row.dim() == 4:
        return Picture(row, name=name)
    is_video = row.shape[find_input_channels(row)] == 3
    return Video(row, name=name) if is_video else Volume(row, name=name)


def _tell_mismatch(side: object, name: str) -> str:
    """The message that an input cannot be shown as an image, with the name of the right figure."""
    is_text = isinstance(side, Sequence) and not isinstance(side, str) and all(isinstance(token, str) for token in side)
    is_ids = isinstance(side, Tensor) and side.dim() < 3 and not side.is_floating_point()
    actual = f"shape {tuple(side.shape)}" if isinstance(side, Array) else "tokens" if is_text else type(side).__name__
    remedy = "Draw a photo and a sentence with `caption_figure`, two sentences with `token_figure`."
    other = "Give one image a batch dimension: `image[None]`."
    return f"Expected the {name} photos to be a batch [B, 3, H, W], got {actual}. {remedy if is_text or is_ids else other}"


def _weigh_players(interactions: Interactions, number: int, example: int) -> Float[np.ndarray, " players"]:
    """The absolute value of each player in the map, plus its strongest pair."""
    weights = torch.zeros((), dtype=torch.float64, device="cpu")
    if interactions.given_other is not None:
        values = (interactions.query_map, interactions.retrieved_map)[number][example]
        weights = weights + values.detach().cpu().double().abs()
    if interactions.between is not None:
        weights = weights + interactions.between[example].detach().cpu().double().clamp(min=0).amax(1 - number)
    return weights.numpy()


def show_picture(picture: Picture) -> Float[np.ndarray, "height width 3"]:
    """The pixels of a picture, RGB in [0, 1]: its own, or its three channels, or the mean of its channels, stretched if it is not grey."""
    source = picture.tensor if picture.shown is None else picture.shown
    pixels = source.detach().cpu().float().reshape(source.shape[-3:])
    if len(pixels) == 3:
        shown = fit_colours(pixels) if picture.shown is None else _stretch_bands(pixels)
    else:
        shown = (fit_grey(pixels) if len(pixels) == 1 else stretch(pixels.mean(0, keepdim=True))).expand(3, -1, -1)
    return shown.permute(1, 2, 0).double().numpy()


def _stretch_bands(bands: Float[Tensor, "3 height width"]) -> Float[Tensor, "3 height width"]:
    """Three bands in [0, 1]: unchanged if they are, else each one is stretched."""
    is_colour = bands.min() >= 0 and bands.max() <= 1
    return bands if is_colour else torch.stack([stretch(band) for band in bands])
