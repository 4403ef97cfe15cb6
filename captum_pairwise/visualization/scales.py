"""One signed scale for several maps, and the bar that shows it."""

from collections.abc import Iterable

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


def signed_bar(
    figure: Figure,
    axes: Iterable[Axes],
    scale: float,
    unit: str = "similarity",
    location: str = "right",
    colours: str | Colormap = SIGNED,
    shrink: float = 0.7,
) -> Colorbar:
    """Draw the bar of a scale beside its maps; where nothing has any credit, 0 is its only number."""
    limit = scale or 1.0
    mappable = ScalarMappable(Normalize(-limit, limit), colours)
    bar = figure.colorbar(mappable, ax=list(axes), location=location, label=unit, shrink=shrink)
    ticks = [-scale, 0.0, scale] if scale else [0.0]
    bar.set_ticks(ticks, labels=[f"{tick:+.2g}" if tick else "0" for tick in ticks])
    return bar
