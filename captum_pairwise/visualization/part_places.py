"""The places of the parts of volumes, videos, spectrograms and signals: boxes in shares of the axes, and words."""

from collections.abc import Sequence
from math import prod

import numpy as np
import scipy
import torch
from jaxtyping import Float, Int
from torch import Tensor

from captum_pairwise.players.regions import NEVER_LEAVES, Players
from captum_pairwise.visualization.input_kinds import Picture, Signal, Spectrogram, Video, Volume

ROWS, COLUMNS = ("upper", "", "lower"), ("left", "", "right")
ENDS = {"upper": "top", "lower": "bottom", "": "middle"}  # of a column in the middle
WIDE = 0.25  # of an axis: the standard deviation of parts that are everywhere is 0.29
ALMOST_ALL = 0.75  # of an axis
Kind = Volume | Video | Spectrogram | Signal
AxisBox = tuple[tuple[float, float], ...]  # for each axis, both ends in shares of it


def find_place_ids(players: Players, kind: Kind | Picture) -> Int[np.ndarray, "..."]:
    """The players of an input of one example, over its places: depth or frames, rows and columns; rows and columns; or channels and time.

    Raises:
        ValueError: the players lie at no places of this kind of input.
    """
    ids, is_signal = players.ids[0].cpu(), isinstance(kind, Signal)
    places = None
    if len(players.shape) == kind.n_axes and ids.numel() == prod(players.shape):
        places = ids.reshape((1,) * is_signal + players.shape)
    elif is_signal:
        places = ids.mT if ids.dim() == 2 and ids.shape[1] == 1 else ids.reshape(-1, ids.shape[-1])  # tokens, or channels and samples
    elif ids.dim() == kind.n_axes + 1:
        places = _drop_channels(ids, kind)
    if places is None:
        raise ValueError(
            f"Expected players that lie in the {kind.noun}, got ids of shape {tuple(players.ids.shape)}. Give the tokens of a transformer "
            "a place with `layer_mask=cp.token_grid(...)`, or pass a feature_mask over the inputs that all channels share."
        )
    return places.numpy()


def _drop_channels(ids: Int[Tensor, "..."], kind: Kind | Picture) -> Int[Tensor, "..."] | None:
    """The players of all channels together; None if single channels have their own."""
    first = 1 if isinstance(kind, Video) and kind.frame_axis == -4 else 0
    for axis in (first, *range(ids.dim())):
        if bool((ids == ids.narrow(axis, 0, 1)).all()) and (axis == first or ids.shape[axis] == 1):
            return ids.select(axis, 0)
    return None


def find_boxes(ids: Int[np.ndarray, "..."], n_players: int) -> list[AxisBox | None]:
    """For each player, the smallest box around it, in shares of each axis; None for a player without a place."""
    slices = scipy.ndimage.find_objects(ids - NEVER_LEAVES, max_label=n_players)
    return [
        None if place is None else tuple((axis.start / size, axis.stop / size) for axis, size in zip(place, ids.shape, strict=True))
        for place in slices
    ]


def name_place(across: float, down: float) -> str:
    """The place of a point in words, from its shares of the photo's width and height.

    >>> name_place(0.1, 0.2), name_place(0.1, 0.5), name_place(0.5, 0.5), name_place(0.5, 0.9)
    ('upper left', 'left', 'middle', 'bottom')
    """
    row, column = ROWS[min(int(down * 3), 2)], COLUMNS[min(int(across * 3), 2)]
    return f"{row} {column}".strip() if column else ENDS[row]


def describe_box(kind: Kind, box: AxisBox) -> str:
    """The place of a box in words, such as "the upper left of slices 12 to 15" or "1.2 s to 1.6 s at 2 to 4 kHz"."""
    if isinstance(kind, Spectrogram):
        return f"{kind.name_range(*box[1])} at {kind.name_band(*box[0])}"
    if isinstance(kind, Signal):
        n_channels = len(kind.channels)
        is_all = n_channels == 1 or box[0] == (0.0, 1.0)
        return f"{kind.name_range(*box[1])}{'' if is_all else f', channel {int(box[0][0] * n_channels)}'}"
    _, (top, bottom), (left, right) = box
    is_large = bottom - top > ALMOST_ALL and right - left > ALMOST_ALL
    words = kind.name_range(*box[0])
    return words if is_large else f"the {name_place((left + right) / 2, (top + bottom) / 2)} of {words}"


def name_parts(kind: Kind, players: Players, ids: Int[np.ndarray, "..."]) -> tuple[str, ...]:
    """A short name for each player. Cells of the same slices also have their row and column, and other parts their number."""
    boxes, in_plane = find_boxes(ids, players.n_players), ids.shape[-1]
    is_cell = len(players.shape) == 3
    names = []
    for number, box in enumerate(boxes):
        if box is None:
            names.append(f"part {number}")
        elif isinstance(kind, (Spectrogram, Signal)):
            names.append(describe_box(kind, box))
        else:
            cell = f"cell ({number // in_plane % ids.shape[-2]}, {number % in_plane})" if is_cell else f"part {number}"
            names.append(f"{kind.name_range(*box[0])}, {cell}")
    return tuple(names)


def describe_boxes(kind: Kind, boxes: Sequence[AxisBox], weights: Float[Tensor, " boxes"]) -> str:
    """The place of several boxes together, in words that follow "rests on 3 of its 20 parts, "."""
    ends = torch.tensor(boxes, dtype=torch.float64, device="cpu")  # [boxes, axes, 2]
    shares = (weights.double().cpu() / weights.sum().double().cpu())[:, None]
    centres = ends.mean(2)
    means = (shares * centres).sum(0)
    is_wide = ((shares * (centres - means).square()).sum(0).sqrt() > WIDE).tolist()
    ranges = [(ends[:, axis, 0].min().item(), ends[:, axis, 1].max().item()) for axis in range(len(boxes[0]))]
    is_wide = [wide or high - low > ALMOST_ALL for wide, (low, high) in zip(is_wide, ranges, strict=True)]
    if isinstance(kind, (Spectrogram, Signal)):
        has_time = kind.seconds is not None if isinstance(kind, Spectrogram) else kind.rate is not None
        words = [] if is_wide[1] else [f"{'from' if has_time else 'in'} {kind.name_range(*ranges[1])}"]
        words += [f"at {kind.name_band(*ranges[0])}"] if isinstance(kind, Spectrogram) and not is_wide[0] else []
        return " ".join(words) or f"spread over the {kind.noun}"
    place, slices = name_place(means[2].item(), means[1].item()), kind.name_range(*ranges[0])
    where = "" if is_wide[1] or is_wide[2] else f"{'in' if place == 'middle' else 'at'} the {place}"
    if is_wide[0]:
        return where or f"spread over the {kind.noun}"
    return f"{where} of {slices}" if where else f"in {slices}"
