"""Words of a sentence on a panel, each on the colour of its value."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import Colormap

from captum_pairwise.visualization.headline import POINTS, measure_text
from captum_pairwise.visualization.style import colour_values, escape_text

SIZE = 11.0  # points
SPACE, LINE = 0.16, 0.34  # inches between two words, and of the height of a line
DARK = 0.6  # of the scale: words on stronger colours are white


def flow_words(tokens: Sequence[str], width: float) -> list[tuple[float, int]]:
    """For each word, the inches to its left and the number of its line, in lines of some width in inches."""
    places, left, line = [], 0.0, 0
    for token in tokens:
        length = measure_text(token, SIZE)
        if left and left + length > width:
            left, line = 0.0, line + 1
        places.append((left, line))
        left += length + SPACE
    return places


def measure_words(tokens: Sequence[str], width: float) -> float:
    """Inches of the height of a sentence in lines of some width."""
    return LINE * (1 + flow_words(tokens, width)[-1][1])


def draw_words(
    panel: Axes, tokens: Sequence[str], values: Float[np.ndarray, " tokens"], scale: float, colours: str | Colormap, width: float
) -> None:
    """Draw a sentence in lines of some width in inches; `scale` is the value with the full colour."""
    panel.set_axis_off()
    panel.set(xlim=(0, width), ylim=(measure_words(tokens, width), 0))
    for token, value, colour, (left, line) in zip(
        tokens, values, colour_values(values, scale, colours), flow_words(tokens, width), strict=True
    ):
        box = {"facecolor": colour, "edgecolor": "0.8", "linewidth": 0.5, "boxstyle": f"square,pad={SPACE * POINTS / SIZE / 3:.2f}"}
        ink = "white" if abs(value) > DARK * scale > 0 else "black"
        panel.text(left + SPACE / 3, LINE * (line + 0.5), escape_text(token), size=SIZE, va="center", color=ink, bbox=box)
