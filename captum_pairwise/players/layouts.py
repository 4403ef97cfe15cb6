"""Names of the axes of a network's outputs: which axis holds the channels, and which the positions."""

from typing import TypeAlias

from torch import Tensor

COLOURS = 3  # channels of a video
LAYOUTS = ("NCHW", "NHWC", "NTC", "NCT", "NCDHW")
LayoutNames: TypeAlias = str | tuple[str | None, str | None] | None  # one name, or one for each image


def parse_layouts(layout: LayoutNames) -> tuple[str | None, str | None]:
    """The names for both images.

    Raises:
        ValueError: a name is unknown.

    >>> parse_layouts("NHWC")
    ('NHWC', 'NHWC')
    """
    names = layout if isinstance(layout, tuple) and len(layout) == 2 else (layout, layout)
    for name in names:
        if name is not None and name not in LAYOUTS:
            raise ValueError(f"Expected layout to be one of {LAYOUTS} or a pair of them, got {layout!r}. N is the batch, C the channels.")
    return names[0], names[1]


def get_channel_axis(layout: str | None, output: Tensor, name: str) -> int | None:
    """The axis of the channels by the name of a layout, or None without a name.

    Args:
        layout: one of `LAYOUTS`, or None.
        output: the output of a network.
        name: name of the output in error messages.

    Raises:
        ValueError: the output has another number of axes.
    """
    if layout is None or output.dim() == 2:
        return None if layout is None else 1
    if output.dim() != len(layout):
        raise ValueError(f"Expected {name} to have the axes {layout}, got shape {tuple(output.shape)}. Pass the layout of its axes.")
    return layout.index("C")


def describe_layouts(output: Tensor) -> str:
    """The names of the layouts that an output may have, for error messages."""
    return " or ".join(f"layout={name!r}" for name in LAYOUTS if len(name) == output.dim()) or "a layer with 2 to 5 axes"


def find_input_channels(inputs: Tensor) -> int:
    """The axis of the channels of inputs `[B, C, ...]`: 1, and 2 for videos whose frames come first, `[B, T, 3, H, W]`."""
    frames_first = inputs.dim() == 5 and inputs.shape[2] == COLOURS and inputs.shape[1] not in (1, COLOURS)
    return 2 if frames_first else 1
