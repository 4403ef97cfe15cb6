"""Titles and numbers on figures, and one signed colour scale for several maps with its colour bar."""

from collections.abc import Callable, Iterable, Sequence
from math import floor, isfinite, log10

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure, SubFigure

from captum_pairwise.results.credits import Credits
from captum_pairwise.results.interactions import Interactions

SIGNED = "RdBu_r"  # red: similar, blue: dissimilar; colour-blind readers can tell them apart
UNREADABLE_COLOURS = LinearSegmentedColormap.from_list("unreadable", ["0.45", "white", "0.45"])  # of numbers that nobody should read
MEANING = "Red parts make the two images similar, blue parts make them dissimilar."


def find_scale(maps: Iterable[np.ndarray]) -> float:
    """Largest absolute value of all maps; 0 if no map has any credit."""
    return max((float(np.abs(values).max()) for values in maps if values.size), default=0.0)


def colour_values(values: np.ndarray, scale: float, colours: str | Colormap = SIGNED) -> np.ndarray:
    """Colours `[..., 3]` of values from `-scale` to `scale`. The value 0 has the middle colour, also if the scale is 0."""
    return matplotlib.colormaps.get_cmap(colours)((np.clip(values / (scale or 1.0), -1, 1) + 1) / 2)[..., :3]


def format_number(value: float, scale: float, error: float = 0.0) -> str:
    """A signed number as text, with the decimals that `scale` needs for two digits, but without digits that its error makes meaningless.

    >>> [format_number(value, 0.2) for value in (0.15, -0.2, -0.001, 0.0)], format_number(0.153, 0.2, error=0.04)
    (['+0.15', '-0.20', '0', '0'], '+0.15')
    >>> format_number(0.153, 0.2, error=0.2)
    '+0.2'
    """
    decimals = max(0, 1 - floor(log10(scale))) if 1e-5 <= scale < 1e4 else 1
    if error > 0:
        decimals = min(decimals, max(0, -floor(log10(error))))
    text = f"{value:+.{decimals}{'f' if 1e-5 <= scale < 1e4 else 'e'}}"
    return text if float(text) else "0"


def format_similarities(values: Sequence[float]) -> list[str]:
    """Similarities as text, with two decimals, or with the decimals that tell them apart. Numbers of 10 and more have fewer.

    >>> format_similarities([0.9412, 0.29]), format_similarities([0.9412, 0.9408]), format_similarities([123.4, 88.0])
    (['0.94', '0.29'], ['0.9412', '0.9408'], ['123', '88'])
    """
    digits = floor(log10(max(1.0, *map(abs, values))))
    for decimals in range(max(0, 2 - digits), 7):
        texts = [f"{round(value, decimals) + 0.0:.{decimals}f}" for value in values]
        if len(set(texts)) == len(set(values)):
            return texts
    return [f"{value:.2g}" for value in values]


def draw_bar_beside(
    figure: Figure | SubFigure,
    axes: Iterable[Axes],
    scale: float,
    unit: str = "similarity",
    location: str = "right",
    colours: str | Colormap = SIGNED,
) -> None:
    """Draw the colour bar of a signed scale beside its maps."""
    bar = figure.colorbar(_build_mappable(scale, colours), ax=list(axes), location=location, label=unit, shrink=0.7)
    label_ticks(bar.set_ticks, scale)


def draw_half_bar(panel: Axes, scale: float, sign: int, unit: str, colours: str | Colormap = SIGNED) -> None:
    """Draw the colour bar of the values of one sign below their map."""
    bar = panel.figure.colorbar(_build_mappable(scale, colours), ax=panel, location="bottom", label=unit, shrink=0.7)
    ends = sorted({0.0, sign * scale})
    bar.set_ticks(ends, labels=[format_number(end, scale) for end in ends])
    bar.ax.set_xlim(*(ends if scale else sorted([0.0, float(sign)])))


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


def write_errors(interactions: Interactions, example: int) -> str:
    """A sentence with the typical error of a part and of a pair, in per cent of the strongest; empty if the errors are unknown.

    A typical error is the root mean square of the standard errors.
    """
    texts = []
    for name, block in (("part", "given_other"), ("pair", "between")):
        error = find_typical_error(interactions, example, block)
        if error is not None:
            texts.append(f"{format_percent(error / max(interactions[block][example].abs().max().item(), 1e-30))} of the strongest {name}")
    return f"Typical error: {', '.join(texts)}." if texts else ""


def find_typical_error(interactions: Interactions, example: int, block: str) -> float | None:
    """Root mean square of the standard errors of a block of one pair; None if they are unknown."""
    deviations = getattr(interactions.standard_error or Credits(), block)
    if deviations is None or getattr(interactions, block) is None:
        return None
    error = deviations[example].square().mean().sqrt().item()
    return error if isfinite(error) else None


def format_percent(share: float) -> str:
    """A share as text in per cent.

    >>> [format_percent(share) for share in (0.123, 0.004, 1e-6)]
    ['12 %', '0.4 %', 'less than 0.1 %']
    """
    if share < 1e-3:
        return "less than 0.1 %"
    return f"{100 * share:.1f} %" if share < 0.01 else f"{100 * share:.0f} %"
