"""Lines between the parts of two photos that correspond (Figure 1)."""

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import ConnectionPatch
from matplotlib.patheffects import withStroke

from captum_pairwise.results.interactions import SIDES, Interactions
from captum_pairwise.visualization.headers import header
from captum_pairwise.visualization.parts import PART_COLOURS, mark, parts_of, strongest_parts
from captum_pairwise.visualization.photos import Array, frame, show, widths
from captum_pairwise.visualization.scales import number as written

HEIGHT, LEAST_WIDTH = 4.2, 8.5  # inches of a photo, and of what is said about it
BENT = 0.04  # of a line's length
WIDEST, THINNEST = 5.0, 1.0  # of a line, in points


def matches_figure(
    interactions: Interactions, images: tuple[Array, Array], n_matches: int = 10, example: int = 0, title: str = ""
) -> Figure:
    """Draw both photos of a pair, and lines from query parts to the retrieved parts with which they add most similarity.

    A query part has one line, to its strongest match, and no two lines end at the same part; none is drawn for credit of 0 or less. The
    more credit, the wider the line.

    Args:
        interactions: of parts of images, or of the cells of maps.
        images: the photos, RGB `[B, 3, H, W]` in [0, 1].
        n_matches: the most lines to draw.
        example: which pair of the batch.
        title: a line above.

    Raises:
        ValueError: `n_matches` is not positive, the interactions do not know their players, a credit is not finite, or the photos do
            not fit.
    """
    if n_matches < 1:
        raise ValueError(f"Expected n_matches from 1 up, got {n_matches}. Ten lines are easily told apart.")
    sides, between = parts_of(interactions, images, example), interactions["between"][example].detach().cpu().double()
    pairs = [pair for pair in strongest_parts(between, n_matches) if between[pair] > 0]
    credits = [between[pair].item() for pair in pairs]
    columns = widths([side.photo.shape for side in sides], HEIGHT)
    figure = Figure(figsize=(max(sum(columns) + 1.8, LEAST_WIDTH), HEIGHT + 0.9), layout="compressed", dpi=110)
    figure.suptitle(header(interactions, example, title), size="medium")
    axes = figure.subplots(1, 2, width_ratios=columns)
    frame(axes)
    for k, (panel, side, name) in enumerate(zip(axes, sides, SIDES, strict=True)):
        show(panel, side.photo, name)
        mark(panel, side, [pair[k] for pair in pairs], linewidth=1.5, above=figure)
    centres = [side.centres() for side in sides]
    for number, (query, retrieved) in enumerate(pairs):
        ends = {"xyA": centres[0][query], "coordsA": axes[0].transData, "xyB": centres[1][retrieved], "coordsB": axes[1].transData}
        bend = BENT * (number % 5 - 2)  # parts of the same row would lie on one line
        figure.add_artist(ConnectionPatch(**ends, connectionstyle=f"arc3,rad={bend}", **_look(number, credits)))
    _list(figure, credits)
    return figure


def _look(number: int, credits: list[float]) -> dict:
    """Of a line: a colour, dashes where colours are used again, and a width by credit."""
    dashed, width = number // len(PART_COLOURS) % 2, THINNEST + (WIDEST - THINNEST) * credits[number] / credits[0]
    return {
        "color": PART_COLOURS[number % len(PART_COLOURS)],
        "linestyle": "dashed" if dashed else "solid",
        "linewidth": width,
        "path_effects": [withStroke(linewidth=width + 1.5, foreground="white")],
        "zorder": 4,
    }


def _list(figure: Figure, credits: list[float]) -> None:
    """The credit of each line, beside the photos."""
    lines = [
        Line2D([], [], label=f"{number + 1}:  {written(credit, credits[0])}", **_look(number, credits))
        for number, credit in enumerate(credits)
    ]
    nothing = [Line2D([], [], linestyle="none", label="none: no pair\nof parts adds any")]
    figure.legend(handles=lines or nothing, loc="outside right center", title="similarity that\na pair adds", frameon=False)
