"""One signed scale for several maps, and the bar that shows it."""

from collections.abc import Iterable
from math import floor, log10

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure

SIGNED = "RdBu_r"  # red makes similar, blue dissimilar; told apart by the colour-blind
MEANING = "Red parts make the two images similar, blue ones dissimilar."


def largest(maps: Iterable[np.ndarray]) -> float:
    """The largest absolute value of all maps; 0 where nothing has any credit."""
    return max((float(np.abs(one).max()) for one in maps if one.size), default=0.0)


def coloured(values: np.ndarray, scale: float, colours: str | Colormap = SIGNED) -> np.ndarray:
    """Colours `[..., 3]` of values between minus and plus a scale; 0 has the middle one, whatever the scale."""
    palette = matplotlib.colormaps[colours] if isinstance(colours, str) else colours
    return palette((np.clip(values / (scale or 1.0), -1, 1) + 1) / 2)[..., :3]


def number_format(scale: float) -> str:
    """How numbers up to this size are written, all with as many decimals, so that the largest has two digits."""
    if not 1e-4 <= scale < 1e4:
        return "+.1e"
    return f"+.{max(0, 1 - floor(log10(scale)))}f"


def number(value: float, scale: float) -> str:
    """A number up to this size; what would be written as 0 has neither sign nor decimals.

    >>> [number(value, 0.2) for value in (0.15, -0.2, -0.001, 0.0)]
    ['+0.15', '-0.20', '0', '0']
    """
    written = f"{value:{number_format(scale)}}"
    return written if float(written) else "0"


def signed_bar(figure: Figure, axes: Iterable[Axes], scale: float, unit: str = "similarity", location: str = "right") -> Colorbar:
    """Draw the bar of a scale beside its maps."""
    bar = figure.colorbar(_mappable(scale, SIGNED), ax=list(axes), location=location, label=unit, shrink=0.7)
    return _numbered(bar, scale)


def bar_in(panel: Axes, scale: float, unit: str = "similarity", colours: str | Colormap = SIGNED) -> Colorbar:
    """Draw the bar of a scale in a panel of its own, below the maps."""
    bar = panel.figure.colorbar(_mappable(scale, colours), cax=panel, orientation="horizontal", label=unit)
    _numbered(bar, scale)
    panel.set_label("<colorbar>")  # as matplotlib calls those that it makes the room for
    labels = bar.ax.get_xticklabels()
    labels[0].set_horizontalalignment("left" if scale else "center")  # within the width of the photo
    labels[-1].set_horizontalalignment("right" if scale else "center")
    return bar


def _mappable(scale: float, colours: str | Colormap) -> ScalarMappable:
    return ScalarMappable(Normalize(-(scale or 1.0), scale or 1.0), colours)


def _numbered(bar: Colorbar, scale: float) -> Colorbar:
    """Write both ends and the middle; where nothing has any credit, 0 is the only number."""
    ticks = [-scale, 0.0, scale] if scale else [0.0]
    bar.set_ticks(ticks, labels=[number(tick, scale) for tick in ticks])
    return bar
