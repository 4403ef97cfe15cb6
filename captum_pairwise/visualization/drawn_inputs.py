"""Pictures of volumes, videos, spectrograms and signals, with the player of every pixel, for the figures and pages of photos."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from captum_pairwise.players.regions import NEVER_LEAVES, Players
from captum_pairwise.visualization.input_kinds import KILO, Signal, Spectrogram, Video, Volume
from captum_pairwise.visualization.part_places import find_place_ids, name_parts
from captum_pairwise.visualization.photo_parts import PhotoParts
from captum_pairwise.visualization.pixel_range import fit_colours, stretch
from captum_pairwise.visualization.slice_choice import choose_slices

WIDTH, RESOLUTION, FONT = 1024, 200, 7.0  # pixels; pixels an inch; points
MOST_COLUMNS, LARGEST_SLICE = 6, 300  # slices in a row; pixels of the width of a slice
GAP, LABEL = 8, 30  # pixels between slices, and of the height of the words above them
LEFT, RIGHT, BELOW, ABOVE = 92, 30, 84, 14  # pixels around axes
SPECTROGRAM_HEIGHT, SIGNAL_HEIGHT, CHANNEL_HEIGHT, MOST_CHANNELS = 330, 190, 50, 12  # pixels of the axes
FREQUENCIES = 5  # on an axis with a frequency for each row
BRIGHTNESS = "magma"  # colour map of a spectrogram
INK = "#222222"


class Frame(NamedTuple):
    """A rectangle of a picture, in pixels, and the players within it."""

    left: int
    top: int
    width: int
    height: int
    ids: Int[np.ndarray, "rows columns"]


def draw_input(
    kind: Volume | Video | Spectrogram | Signal,
    players: Players,
    weights: Float[np.ndarray, " players"],
    slices: tuple[int, ...] | None = None,
) -> PhotoParts:
    """The picture of an input.

    Args:
        kind: the input, one example.
        players: its players, a batch of one.
        weights: of the players; slices and frames with the largest weights are shown.
        slices: the slices or frames to show, if they are known.

    Raises:
        ValueError: the players lie at no places of the input.
    """
    ids = find_place_ids(players, kind)
    if isinstance(kind, (Volume, Video)):
        slices = slices or tuple(choose_slices(ids, kind.n_slices, weights))
        photo, owners = _draw_slices(kind, ids, slices)
    elif isinstance(kind, Spectrogram):
        photo, owners = _draw_spectrogram(kind, ids)
    else:
        photo, owners = _draw_signal_input(kind, ids)
    parts = Players(torch.from_numpy(owners)[None, None], (players.n_players,))
    return PhotoParts(photo, parts, kind.noun, is_wide=True, names=name_parts(kind, players, ids), slices=slices or ())


def show_slices(kind: Volume | Video) -> Float[np.ndarray, "depth height width 3"]:
    """The slices or frames as RGB in [0, 1]."""
    tensor = kind.tensor.detach().cpu().float().reshape(kind.tensor.shape[-4:])
    if isinstance(kind, Video):
        frames = tensor.movedim(kind.frame_axis, 0)
        return fit_colours(frames).permute(0, 2, 3, 1).numpy()
    return stretch(tensor.mean(0))[..., None].expand(-1, -1, -1, 3).numpy()


def _draw_slices(kind: Volume | Video, ids: np.ndarray, chosen: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The chosen slices beside each other below their numbers."""
    slices = show_slices(kind)
    spacing = (kind.spacing if isinstance(kind, Volume) else None) or (1.0, 1.0, 1.0)
    n_columns = len(chosen) if len(chosen) <= MOST_COLUMNS else -(-len(chosen) // 2)
    width = min((WIDTH - GAP) // n_columns - GAP, LARGEST_SLICE)
    height = max(1, round(width * slices.shape[1] * spacing[1] / (slices.shape[2] * spacing[2])))
    frames, labels = [], []
    for place, number in enumerate(chosen):
        row, column = divmod(place, n_columns)
        plane = ids[min(int((number + 0.5) * len(ids) / len(slices)), len(ids) - 1)]
        frames.append(Frame(GAP + column * (width + GAP), LABEL + row * (height + LABEL), width, height, plane))
        labels.append(_label_slice(kind, number))
    size = GAP + n_columns * (width + GAP), -(-len(chosen) // n_columns) * (height + LABEL) + GAP

    def draw(panels: Sequence[Axes]) -> None:
        for panel, number, label in zip(panels, chosen, labels, strict=True):
            panel.imshow(slices[number], aspect="auto", vmin=0, vmax=1)
            panel.set_axis_off()
            panel.set_title(label, size=FONT, pad=2.5)

    return _render(size, frames, draw)


def _label_slice(kind: Volume | Video, number: int) -> str:
    if isinstance(kind, Video):
        return f"frame {number}" if kind.fps is None else f"{number / kind.fps:.2f} s"
    return f"slice {number}" if kind.spacing is None else f"slice {number}, {number * kind.spacing[0]:.0f} mm"


def _draw_spectrogram(kind: Spectrogram, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The spectrogram with its axes, the lowest frequency below."""
    values = kind.tensor.detach().cpu().float().reshape(-1, *kind.tensor.shape[-2:]).mean(0)
    frame = Frame(LEFT, ABOVE, WIDTH - LEFT - RIGHT, SPECTROGRAM_HEIGHT, ids[::-1].copy())

    def draw(panels: Sequence[Axes]) -> None:
        extent = (0, kind.seconds or values.shape[1], 0, values.shape[0])
        panels[0].imshow(stretch(values).numpy(), origin="lower", aspect="auto", cmap=BRIGHTNESS, extent=extent, vmin=0, vmax=1)
        _label_time(panels[0], "time (s)" if kind.seconds else "column")
        _label_frequencies(panels[0], kind, values.shape[0])

    return _render((WIDTH, ABOVE + SPECTROGRAM_HEIGHT + BELOW), [frame], draw)


def _label_frequencies(panel: Axes, kind: Spectrogram, n_rows: int) -> None:
    if kind.hertz is None:
        panel.set_ylabel("row", size=FONT)
        return
    unit, name = (KILO, "kHz") if kind.find_hertz(1.0) >= KILO else (1.0, "Hz")
    panel.set_ylabel(f"frequency ({name})", size=FONT)
    shares = np.linspace(0, 1, FREQUENCIES)
    panel.set_yticks(shares * n_rows, labels=[f"{kind.find_hertz(share) / unit:.2g}" for share in shares.tolist()])


def _label_time(panel: Axes, name: str) -> None:
    panel.tick_params(labelsize=FONT, length=3, width=0.6)
    panel.set_xlabel(name, size=FONT)


def _draw_signal_input(kind: Signal, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A curve for each of the first channels, below each other, over one axis of time."""
    channels = kind.channels.cpu().float()[:MOST_CHANNELS]
    height = max(SIGNAL_HEIGHT, CHANNEL_HEIGHT * len(channels))
    owners = ids if len(ids) == 1 else ids[:MOST_CHANNELS]
    low, high = (ends.numpy() for ends in (channels.amin(1, keepdim=True), channels.amax(1, keepdim=True)))
    curves = (channels.numpy() - (low + high) / 2) / np.maximum(high - low, 1e-12).max() / 1.1
    times = np.arange(channels.shape[1]) / (kind.rate or 1)

    def draw(panels: Sequence[Axes]) -> None:
        for lane, curve in enumerate(curves):
            panels[0].plot(times, curve - lane, color=INK, linewidth=0.7)
        panels[0].set(xlim=(0, channels.shape[1] / (kind.rate or 1)), ylim=(0.5 - len(curves), 0.5))
        lanes = range(len(curves)) if len(curves) > 1 else ()
        panels[0].set_yticks([-lane for lane in lanes], labels=list(map(str, lanes)))
        panels[0].set_ylabel("channel" if lanes else "", size=FONT)
        panels[0].spines[["top", "right", "left"]].set_visible(False)
        _label_time(panels[0], "time (s)" if kind.rate else "sample")

    left = LEFT if len(curves) > 1 else RIGHT
    return _render((WIDTH, ABOVE + height + BELOW), [Frame(left, ABOVE, WIDTH - left - RIGHT, height, owners)], draw)


def _render(
    size: tuple[int, int], frames: Sequence[Frame], draw: Callable[[Sequence[Axes]], None]
) -> tuple[Float[np.ndarray, "height width 3"], Int[np.ndarray, "height width"]]:
    """The picture that `draw` makes with one panel for each frame, and the player of each of its pixels."""
    width, height = size
    figure = Figure(figsize=(width / RESOLUTION, height / RESOLUTION), dpi=RESOLUTION)
    owners = np.full((height, width), NEVER_LEAVES, np.int64)
    panels = []
    for frame in frames:
        bottom = height - frame.top - frame.height
        panels.append(figure.add_axes((frame.left / width, bottom / height, frame.width / width, frame.height / height)))
        enlarged = F.interpolate(torch.from_numpy(frame.ids)[None, None].double(), (frame.height, frame.width), mode="nearest-exact")
        owners[frame.top : frame.top + frame.height, frame.left : frame.left + frame.width] = enlarged[0, 0].long().numpy()
    draw(panels)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(np.float64) / 255, owners
