"""Lines between the matching parts of two photos (Figure 1 of the paper)."""

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import ConnectionPatch
from matplotlib.patheffects import withStroke

from captum_pairwise.results.interactions import SIDES, Interactions
from captum_pairwise.visualization.headline import frame_figure
from captum_pairwise.visualization.marks import PART_COLOURS, mark_parts
from captum_pairwise.visualization.parts import locate_parts, strongest_parts
from captum_pairwise.visualization.photos import draw_photo, fit_widths, hide_frames
from captum_pairwise.visualization.sheets import ImagePair
from captum_pairwise.visualization.style import find_typical_error, format_number

PHOTO_HEIGHT, FIGURE_WIDTH = 4.2, 8.5  # inches; the width is the least
BEND = 0.04  # of a line's length
WIDEST, THINNEST = 5.0, 1.0  # of a line, in points


def matches_figure(interactions: Interactions, images: ImagePair, n_matches: int = 10, example: int = 0, title: str = "") -> Figure:
    """Draw both photos of a pair, and lines between query parts and the retrieved parts that match them best.

    Each query part has one line, to its strongest match. No two lines end at the same part. Pairs with credit of 0 or less have no line.
    A line is wider if its pair has more credit.

    Args:
        interactions: of parts of images, or of the cells of maps.
        images: the photos, RGB `[B, 3, H, W]` in [0, 1], or other inputs, as for `pair_figure`.
        n_matches: the largest number of lines.
        example: the number of the pair in the batch.
        title: the title of the figure.

    Raises:
        ValueError: `n_matches` is not positive, the players are unknown, a credit is not finite, or the photos do not fit.

    >>> import torch, captum_pairwise as cp
    >>> encoder = torch.nn.Identity()  # every pixel is a cell
    >>> photos = torch.rand(1, 3, 2, 2), torch.rand(1, 3, 2, 2)
    >>> interactions = cp.LayerPairwiseSAM(cp.SimilarityWrapper(encoder, similarity="dot"), encoder).interactions(photos)
    >>> [panel.get_title() for panel in matches_figure(interactions, photos, n_matches=1).axes]
    ['query', 'retrieved']

    See also `strongest_parts` and `pair_figure`.
    """
    if n_matches < 1:
        raise ValueError(f"Expected n_matches from 1 up, got {n_matches}. Ten lines are easy to tell apart.")
    sides, between = locate_parts(interactions, images, example), interactions["between"][example].detach().cpu().double()
    pairs = [pair for pair in strongest_parts(between, n_matches) if between[pair] > 0]
    credits = [between[pair].item() for pair in pairs]
    columns = fit_widths([side.photo.shape for side in sides], PHOTO_HEIGHT)
    figure = Figure(figsize=(max(sum(columns) + 1.8, FIGURE_WIDTH), PHOTO_HEIGHT + 0.9), layout="compressed", dpi=110)
    frame_figure(figure, interactions, example, title)
    axes = figure.subplots(1, 2, width_ratios=columns)
    hide_frames(axes)
    for k, (panel, side, name) in enumerate(zip(axes, sides, SIDES, strict=True)):
        draw_photo(panel, side.photo, name)
        mark_parts(panel, side, [pair[k] for pair in pairs], above=figure)
    centres = [side.centres() for side in sides]
    for number, (query, retrieved) in enumerate(pairs):
        ends = {"xyA": centres[0][query], "coordsA": axes[0].transData, "xyB": centres[1][retrieved], "coordsB": axes[1].transData}
        bend = BEND * (number % 5 - 2)  # straight lines between parts of the same row would cover each other
        figure.add_artist(ConnectionPatch(**ends, connectionstyle=f"arc3,rad={bend}", **_choose_style(number, credits)))
    _draw_legend(figure, credits, find_typical_error(interactions, example, "between") or 0.0)
    return figure


def _choose_style(number: int, credits: list[float]) -> dict:
    """Style of a line: its colour, dashes if the colour was used before, and its width by credit."""
    width = THINNEST + (WIDEST - THINNEST) * credits[number] / credits[0]
    dashes = "dashed" if number // len(PART_COLOURS) % 2 else "solid"
    halo = [withStroke(linewidth=width + 1.5, foreground="white")]
    return {"color": PART_COLOURS[number % len(PART_COLOURS)], "linestyle": dashes, "linewidth": width, "path_effects": halo, "zorder": 4}


def _draw_legend(figure: Figure, credits: list[float], error: float) -> None:
    """The credit of each line, beside the photos."""
    labels = [f"{number}:  {format_number(credit, credits[0], error)}" for number, credit in enumerate(credits, 1)]
    lines = [Line2D([], [], label=label, **_choose_style(number, credits)) for number, label in enumerate(labels)]
    no_lines = [Line2D([], [], linestyle="none", label="none: no pair\nof parts adds any")]
    figure.legend(handles=lines or no_lines, loc="outside right center", title="similarity that\na pair adds", frameon=False)
