"""Titles and numbers on figures, and one signed colour scale for several maps with its colour bar."""

from collections.abc import Callable, Iterable
from math import floor, isfinite, log10

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure

from captum_pairwise.results.interactions import Credits, Interactions

SIGNED = "RdBu_r"  # red: similar, blue: dissimilar; colour-blind readers can tell them apart
MEANING = "Red parts make the two images similar, blue parts make them dissimilar."


def find_scale(maps: Iterable[np.ndarray]) -> float:
    """Largest absolute value of all maps; 0 if no map has any credit."""
    return max((float(np.abs(values).max()) for values in maps if values.size), default=0.0)


def colour_values(values: np.ndarray, scale: float, colours: str | Colormap = SIGNED) -> np.ndarray:
    """Colours `[..., 3]` of values from `-scale` to `scale`. The value 0 has the middle colour, also if the scale is 0."""
    return matplotlib.colormaps.get_cmap(colours)((np.clip(values / (scale or 1.0), -1, 1) + 1) / 2)[..., :3]


def format_number(value: float, scale: float) -> str:
    """A signed number as text, with as many decimals as `scale` needs for two digits; "0" if it rounds to 0.

    >>> [format_number(value, 0.2) for value in (0.15, -0.2, -0.001, 0.0)]
    ['+0.15', '-0.20', '0', '0']
    """
    style = f"+.{max(0, 1 - floor(log10(scale)))}f" if 1e-4 <= scale < 1e4 else "+.1e"
    text = f"{value:{style}}"
    return text if float(text) else "0"


def draw_bar_beside(figure: Figure, axes: Iterable[Axes], scale: float, unit: str = "similarity", location: str = "right") -> None:
    """Draw the colour bar of a signed scale beside its maps."""
    bar = figure.colorbar(_build_mappable(scale, SIGNED), ax=list(axes), location=location, label=unit, shrink=0.7)
    label_ticks(bar.set_ticks, scale)


def draw_bar_in(panel: Axes, scale: float, unit: str = "similarity", colours: str | Colormap = SIGNED) -> None:
    """Draw the colour bar of a scale in its own panel, below the maps."""
    bar = panel.figure.colorbar(_build_mappable(scale, colours), cax=panel, orientation="horizontal", label=unit)
    label_ticks(bar.set_ticks, scale)
    panel.set_label("<colorbar>")  # Matplotlib's own label for the panels of colour bars
    labels = bar.ax.get_xticklabels()
    labels[0].set_horizontalalignment("left" if scale else "center")  # stay within the width of the photo
    labels[-1].set_horizontalalignment("right" if scale else "center")


def _build_mappable(scale: float, colours: str | Colormap) -> ScalarMappable:
    return ScalarMappable(Normalize(-(scale or 1.0), scale or 1.0), colours)


def label_ticks(set_ticks: Callable[..., object], scale: float, **style: object) -> None:
    """Label both ends and the middle of a signed scale; only 0 if the scale is 0."""
    ticks = [-scale, 0.0, scale] if scale else [0.0]
    set_ticks(ticks, labels=[format_number(tick, scale) for tick in ticks], **style)


def escape_text(text: str) -> str:
    r"""Text that Matplotlib shows as it is: dollar signs start no formula, and a leading underscore does not hide a legend entry.

    >>> escape_text("$5 and $6"), escape_text("_net")
    ('\\$5 and \\$6', ' _net')
    """
    return (" " if text.startswith("_") else "") + text.replace("$", r"\$")


def format_header(interactions: Interactions, example: int, title: str = "") -> str:
    """Title, and below it the similarities of the pair and of its baselines, the completeness gap and the standard errors."""
    full, empty = interactions.full[example], interactions.empty[example]
    similarities = [f"{name} {value:.4f}" for name, value in (("similarity", full), ("of the baselines", empty)) if isfinite(value)]
    numbers = "; ".join(filter(None, [", ".join(similarities), format_uncertainty(interactions, example)]))
    return f"{escape_text(title)}\n{numbers}".strip()


def format_uncertainty(interactions: Interactions, example: int) -> str:
    """Completeness gap and standard errors of one pair as text; empty if gap and errors are unknown.

    The standard errors are root mean squares over all pairs of parts, and over all parts.
    """
    texts = []
    if interactions.marginal is not None and isfinite(interactions.completeness_gap[example]):
        gap = round(interactions.completeness_gap[example].item(), 4) + 0.0  # no "-0.0000"
        texts.append(f"completeness gap {gap:+.4f}")
    errors = interactions.standard_error or Credits()
    blocks = (("a pair", errors.between), ("a part", errors.marginal))
    sizes = {name: block[example].square().mean().sqrt().item() for name, block in blocks if block is not None}
    if finite := ", ".join(f"of {name} {size:.2g}" for name, size in sizes.items() if isfinite(size)):
        texts.append(f"standard error {finite}")
    return ", ".join(texts)
