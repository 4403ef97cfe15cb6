"""Inputs that are no photos and no sentences: images with any channels, volumes, videos, spectrograms and signals, with their units."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil, isfinite
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor

Number: TypeAlias = int | float
KILO = 1000.0  # hertz from which frequencies are in kHz


@dataclass(frozen=True, eq=False)
class Picture:
    """An image with any number of channels, as the network takes it, and the picture that a reader sees.

    Attributes:
        tensor: the input of the network, `[C, H, W]` or `[1, C, H, W]`.
        shown: the picture, `[3, h, w]` or grey `[1, h, w]`, such as three bands of a satellite: `image[[3, 2, 1]]`. Values outside [0, 1]
            are stretched. None shows three channels as colours, and the mean of any other number of channels.
        name: the name in figures and on pages.

    >>> bands = torch.rand(7, 16, 16)  # of a satellite
    >>> Picture(bands, shown=bands[[3, 2, 1]], name="June").noun
    'image'

    See also `explain` and `viewer`, which take it.
    """

    noun: ClassVar[str] = "image"
    n_axes: ClassVar[int] = 2
    tensor: Tensor = field(repr=False)
    shown: Tensor | None = field(default=None, repr=False)
    name: str = ""

    def __post_init__(self) -> None:
        check_input(self.tensor, self, (3, 4))
        if self.shown is not None and (self.shown.dim() not in (3, 4) or self.shown.shape[-3] not in (1, 3)):
            raise ValueError(f"Expected shown as [3, h, w] or [1, h, w], got shape {tuple(self.shown.shape)}. Choose three channels.")


@dataclass(frozen=True, eq=False)
class Volume:
    """A volume, such as a CT or MR scan. Figures and pages show slices along its first axis.

    Attributes:
        tensor: the input of the network, `[C, D, H, W]` or `[1, C, D, H, W]`. Of several channels, the mean is shown.
        spacing: the millimetres between neighbouring slices, rows and columns.
        name: the name in figures and on pages.

    >>> scan = Volume(torch.rand(1, 8, 16, 16), spacing=(3.0, 0.7, 0.7))
    >>> scan.name_range(0.5, 1.0)
    'slices 4 to 7'

    See also `explain` and `viewer`, which take it, and `supervoxels`.
    """

    noun: ClassVar[str] = "volume"
    n_axes: ClassVar[int] = 3
    tensor: Tensor = field(repr=False)
    spacing: tuple[Number, Number, Number] | None = None
    name: str = ""

    def __post_init__(self) -> None:
        check_input(self.tensor, self, (4, 5))
        if self.spacing is not None:
            _check_units(self.spacing, 3, "spacing, in millimetres,")

    @property
    def n_slices(self) -> int:
        """The number of slices."""
        return self.tensor.shape[-3]

    def name_range(self, low: float, high: float) -> str:
        """The slices between two shares of the depth, counted from 0."""
        return _name_numbers("slice", low, high, self.n_slices)


@dataclass(frozen=True, eq=False)
class Video:
    """A video. Figures and pages show frames.

    Attributes:
        tensor: the input of the network, `[3, T, H, W]` or `[T, 3, H, W]`, with or without a batch dimension of 1.
        fps: the frames of a second.
        name: the name in figures and on pages.

    >>> clip = Video(torch.rand(3, 16, 8, 8), fps=8)
    >>> clip.name_range(0.5, 1.0)
    '1.00 s to 2.00 s'

    See also `explain` and `viewer`, which take it, and `supervoxels`.
    """

    noun: ClassVar[str] = "video"
    n_axes: ClassVar[int] = 3
    tensor: Tensor = field(repr=False)
    fps: Number | None = None
    name: str = ""

    def __post_init__(self) -> None:
        check_input(self.tensor, self, (4, 5))
        if 3 not in self.tensor.shape[-4:-2]:
            shape = tuple(self.tensor.shape)
            raise ValueError(f"Expected a video [3, T, H, W] or [T, 3, H, W], got shape {shape}. Pass other channels as cp.Volume.")
        if self.fps is not None:
            _check_units((self.fps,), 1, "fps")

    @property
    def frame_axis(self) -> int:
        """The axis of the frames, from the end: the other one has 3 channels; if both have 3, the channels come first."""
        return -3 if self.tensor.shape[-4] == 3 else -4

    @property
    def n_slices(self) -> int:
        """The number of frames."""
        return self.tensor.shape[self.frame_axis]

    def name_range(self, low: float, high: float) -> str:
        """The time between two shares of the length, or the frames, counted from 0."""
        n_frames = self.n_slices
        return _name_numbers("frame", low, high, n_frames) if self.fps is None else _name_times(low, high, n_frames / self.fps)


@dataclass(frozen=True, eq=False)
class Spectrogram:
    """A spectrogram, drawn with its lowest frequency below.

    Attributes:
        tensor: the input of the network, `[1, F, T]` or `[1, 1, F, T]`, the lowest frequency first. Of several channels, the mean is shown.
        seconds: the duration.
        hertz: the frequency of each row, or the highest one, if the rows are evenly spaced from 0.
        name: the name in figures and on pages.

    >>> call = Spectrogram(torch.rand(1, 64, 100), seconds=2.0, hertz=8000)
    >>> call.name_range(0.5, 1.0), call.name_band(0.25, 0.5)
    ('1.00 s to 2.00 s', '2 to 4 kHz')

    See also `explain` and `viewer`, which take it.
    """

    noun: ClassVar[str] = "spectrogram"
    n_axes: ClassVar[int] = 2
    tensor: Tensor = field(repr=False)
    seconds: Number | None = None
    hertz: Number | Sequence[Number] | None = field(default=None, repr=False)
    name: str = ""

    def __post_init__(self) -> None:
        check_input(self.tensor, self, (3, 4))
        if self.seconds is not None:
            _check_units((self.seconds,), 1, "seconds")
        if self.hertz is not None and not isinstance(self.hertz, (int, float)) and len(self.hertz) != self.tensor.shape[-2]:
            raise ValueError(f"Expected hertz for each of {self.tensor.shape[-2]} rows, got {len(self.hertz)}. Pass one for each, or one.")

    def name_range(self, low: float, high: float) -> str:
        """The time between two shares of the duration, or the columns, counted from 0."""
        if self.seconds is None:
            return _name_numbers("column", low, high, self.tensor.shape[-1])
        return _name_times(low, high, self.seconds)

    def name_band(self, low: float, high: float) -> str:
        """The frequencies between two shares of the rows, or the rows, counted from 0."""
        if self.hertz is None:
            return _name_numbers("row", low, high, self.tensor.shape[-2])
        ends = self.find_hertz(low), self.find_hertz(high)
        unit, name = (KILO, "kHz") if ends[1] >= KILO else (1.0, "Hz")
        first, last = (f"{end / unit:.2g}" if end < 100 * unit else f"{end / unit:.0f}" for end in ends)
        return f"{first} to {last} {name}"

    def find_hertz(self, share: float) -> float:
        """The frequency at a share of the rows."""
        if self.hertz is None or isinstance(self.hertz, (int, float)):
            return share * float(self.hertz or 0)
        place = min(max(share * len(self.hertz) - 0.5, 0.0), len(self.hertz) - 1.0)
        before, after = int(place), min(int(place) + 1, len(self.hertz) - 1)
        return float(self.hertz[before]) + (place - before) * (float(self.hertz[after]) - float(self.hertz[before]))


@dataclass(frozen=True, eq=False)
class Signal:
    """A signal over time, such as a waveform or an ECG, drawn as a curve for each channel.

    Attributes:
        tensor: the input of the network, `[T]`, `[C, T]` or `[1, C, T]`.
        rate: the samples of a second.
        name: the name in figures and on pages.

    >>> beat = Signal(torch.rand(2, 500), rate=250)
    >>> beat.name_range(0.0, 0.5)
    '0.00 s to 1.00 s'

    See also `explain` and `viewer`, which take it, and `boxes` for its parts.
    """

    noun: ClassVar[str] = "signal"
    n_axes: ClassVar[int] = 1
    tensor: Tensor = field(repr=False)
    rate: Number | None = None
    name: str = ""

    def __post_init__(self) -> None:
        check_input(self.tensor, self, (1, 2, 3))
        if self.rate is not None:
            _check_units((self.rate,), 1, "rate")

    @property
    def channels(self) -> Tensor:
        """The channels `[C, T]`."""
        return self.tensor.detach().reshape(-1, self.tensor.shape[-1])

    def name_range(self, low: float, high: float) -> str:
        """The time between two shares of the length, or the samples, counted from 0."""
        n_samples = self.tensor.shape[-1]
        return _name_numbers("sample", low, high, n_samples) if self.rate is None else _name_times(low, high, n_samples / self.rate)


InputKind: TypeAlias = Picture | Volume | Video | Spectrogram | Signal
KINDS = (Picture, Volume, Video, Spectrogram, Signal)


def check_input(tensor: object, kind: object = None, n_dims: tuple[int, ...] = ()) -> Tensor:
    """A tensor that may be one input of a network.

    Args:
        tensor: the tensor.
        kind: the object that says what it is, for messages.
        n_dims: the numbers of its dimensions; the largest number includes a batch of one. Empty allows any.

    Raises:
        ValueError: it has other dimensions or several examples, no real numbers, or no numbers at all.
    """
    name = f" for {type(kind).__name__}" if kind is not None else ""
    if not isinstance(tensor, Tensor):
        raise ValueError(f"Expected a tensor{name}, got {type(tensor).__name__}. Pass the input of the network.")
    if n_dims and (tensor.dim() not in n_dims or (tensor.dim() == n_dims[-1] and len(tensor) != 1)):
        expected = " or ".join(map(str, n_dims))
        remedy = "Add the channel, `tensor[None]`" if tensor.dim() == n_dims[0] - 1 else "Pass one at a time"
        raise ValueError(f"Expected one example with {expected} dimensions{name}, got shape {tuple(tensor.shape)}. {remedy}.")
    if not tensor.is_floating_point():
        raise ValueError(
            f"Expected a floating-point tensor{name}, as the network takes it, got {tensor.dtype}. Scale it as the network was trained "
            "(bytes are often divided by 255), or pass the photo itself."
        )
    if tensor.layout != torch.strided or tensor.is_meta or not tensor.numel():
        actual = f"{'meta' if tensor.is_meta else tensor.layout} {tuple(tensor.shape)}"
        raise ValueError(f"Expected a dense tensor with the numbers of an image{name}, got {actual}. Pass the image itself.")
    return tensor


def _check_units(values: Sequence[Number], count: int, name: str) -> None:
    numbers = [value for value in values if isinstance(value, (int, float)) and isfinite(value) and value > 0]
    if len(numbers) != count or len(values) != count:
        raise ValueError(f"Expected {name} to be {'a positive number' if count == 1 else f'{count} positive numbers'}, got {values!r}.")


def _name_numbers(noun: str, low: float, high: float, count: int) -> str:
    """The whole numbers between two shares of a count, such as "slices 4 to 7"."""
    first = min(int(low * count + 1e-6), count - 1)
    last = max(first, ceil(high * count - 1e-6) - 1)
    return f"{noun} {first}" if first == last else f"{noun}s {first} to {last}"


def _name_times(low: float, high: float, seconds: Number) -> str:
    """The time between two shares of a duration, such as "1.2 s to 1.6 s"."""
    unit, name = (1.0, "s") if seconds >= 0.5 else (KILO, "ms")
    decimals = 0 if seconds * unit >= 100 else 1 if seconds * unit >= 10 else 2
    return f"{low * seconds * unit:.{decimals}f} {name} to {high * seconds * unit:.{decimals}f} {name}"
