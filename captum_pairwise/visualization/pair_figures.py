"""Figures of one pair of photos: its maps and strongest parts, and lines between its matching parts (Figure 1 of the paper)."""

from math import isfinite

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import ConnectionPatch
from matplotlib.patheffects import withStroke
from torch import Tensor

from captum_pairwise.results.interactions import SIDES, Interactions
from captum_pairwise.visualization.overlays import overlay
from captum_pairwise.visualization.parts import PART_COLOURS, PhotoParts, locate_parts, mark_parts, strongest_parts
from captum_pairwise.visualization.photos import Array, draw_photo, fit_widths, hide_frames
from captum_pairwise.visualization.style import draw_bar_beside, escape_text, find_scale, format_header, format_number, format_uncertainty

PHOTO_HEIGHT, FIGURE_WIDTH = 4.2, 8.5  # inches; the width is the least
BEND = 0.04  # of a line's length
WIDEST, THINNEST = 5.0, 1.0  # of a line, in points


def pair_figure(interactions: Interactions, images: tuple[Array, Array], n_parts: int = 4, example: int = 0, title: str = "") -> Figure:
    """Draw one pair: above, the photos and their maps; below, for each of the strongest query parts, its pairs with the retrieved parts.

    The two maps above share one scale, and so do the maps below. Each part has a number and a colour. The query photo shows the part
    itself. The retrieved photo shows its strongest match, if that pair adds similarity.

    Args:
        interactions: of parts of images, or of the cells of maps.
        images: the photos, RGB `[B, 3, H, W]` in [0, 1].
        n_parts: the number of query parts to draw, at most 6.
        example: the number of the pair in the batch.
        title: the title of the figure.

    Raises:
        ValueError: `n_parts` is not from 1 to 6, the players are unknown, a credit is not finite, or the photos do not fit.
    """
    if not 1 <= n_parts <= len(PART_COLOURS):
        raise ValueError(f"Expected n_parts from 1 to {len(PART_COLOURS)}, got {n_parts}. Choose fewer, or use `matches_figure`.")
    sides = locate_parts(interactions, images, example)
    between = interactions["between"][example]
    parts = strongest_parts(between, n_parts)
    columns = max(4, len(parts))
    figure = Figure(figsize=(3 * columns, 6.8), layout="constrained", dpi=110)
    figure.suptitle(escape_text(title))
    axes = figure.subplots(2, columns)
    hide_frames(axes)
    _draw_first_order(figure, axes[0, :4], sides, (interactions.query_marginal[example], interactions.retrieved_marginal[example]))
    mark_parts(axes[0, 0], sides[0], [part for part, _ in parts])
    mark_parts(axes[0, 3], sides[1], [match for part, match in parts if between[part, match] > 0])  # strongest first: no number is skipped
    _draw_matches(axes[1], sides[1], between, parts)
    figure.supxlabel(_format_caption(interactions, example), size="small")
    return figure


def _format_caption(interactions: Interactions, example: int) -> str:
    total = (interactions.full - interactions.empty)[example].item()
    numbers = [f"similarity minus that of the baselines {total:+.4f}" if isfinite(total) else "", format_uncertainty(interactions, example)]
    sentence = ", ".join(filter(None, numbers)).capitalize()
    meaning = "Red parts raise the similarity above that of the baselines (by default both photos blurred), blue parts lower it."
    lines = [
        meaning,
        f"{sentence}." if sentence else "",
        "Lower row: where each numbered part of the query is found. It shows only credit above 0, all on one scale.",
    ]
    return "\n".join(filter(None, lines))


def _draw_first_order(figure: Figure, axes: np.ndarray, sides: tuple[PhotoParts, PhotoParts], credits: tuple[Tensor, Tensor]) -> None:
    query, retrieved = (side.paint(credit) for side, credit in zip(sides, credits, strict=True))
    scale = find_scale([query, retrieved])
    draw_photo(axes[0], sides[0].photo, "query")
    draw_photo(axes[1], overlay(sides[0].photo, query, scale), "credit of the query's parts")
    draw_photo(axes[2], overlay(sides[1].photo, retrieved, scale), "credit of the retrieved parts")
    draw_photo(axes[3], sides[1].photo, "retrieved")
    draw_bar_beside(figure, axes, scale)


def _draw_matches(axes: np.ndarray, retrieved: PhotoParts, between: Tensor, parts: list[tuple[int, int]]) -> None:
    """For each query part, its pairs with credit above 0."""
    maps = [np.clip(retrieved.paint(between[query]), 0, None) for query, _ in parts]
    scale = find_scale(maps)
    for number, (panel, heat, pair, colour) in enumerate(zip(axes, maps, parts, PART_COLOURS, strict=False), 1):
        draw_photo(panel, overlay(retrieved.photo, heat, scale, LinearSegmentedColormap.from_list("part", ["white", "white", colour])))
        title = f"where part {number} is found" if between[pair] > 0 else f"part {number} is found nowhere"
        panel.set_title(title, color=colour, weight="bold")


def matches_figure(
    interactions: Interactions, images: tuple[Array, Array], n_matches: int = 10, example: int = 0, title: str = ""
) -> Figure:
    """Draw both photos of a pair, and lines between query parts and the retrieved parts that match them best.

    Each query part has one line, to its strongest match. No two lines end at the same part. Pairs with credit of 0 or less have no line.
    A line is wider if its pair has more credit.

    Args:
        interactions: of parts of images, or of the cells of maps.
        images: the photos, RGB `[B, 3, H, W]` in [0, 1].
        n_matches: the largest number of lines.
        example: the number of the pair in the batch.
        title: the title of the figure.

    Raises:
        ValueError: `n_matches` is not positive, the players are unknown, a credit is not finite, or the photos do not fit.
    """
    if n_matches < 1:
        raise ValueError(f"Expected n_matches from 1 up, got {n_matches}. Ten lines are easy to tell apart.")
    sides, between = locate_parts(interactions, images, example), interactions["between"][example].detach().cpu().double()
    pairs = [pair for pair in strongest_parts(between, n_matches) if between[pair] > 0]
    credits = [between[pair].item() for pair in pairs]
    columns = fit_widths([side.photo.shape for side in sides], PHOTO_HEIGHT)
    figure = Figure(figsize=(max(sum(columns) + 1.8, FIGURE_WIDTH), PHOTO_HEIGHT + 0.9), layout="compressed", dpi=110)
    figure.suptitle(format_header(interactions, example, title), size="medium")
    axes = figure.subplots(1, 2, width_ratios=columns)
    hide_frames(axes)
    for k, (panel, side, name) in enumerate(zip(axes, sides, SIDES, strict=True)):
        draw_photo(panel, side.photo, name)
        mark_parts(panel, side, [pair[k] for pair in pairs], linewidth=1.5, above=figure)
    centres = [side.centres() for side in sides]
    for number, (query, retrieved) in enumerate(pairs):
        ends = {"xyA": centres[0][query], "coordsA": axes[0].transData, "xyB": centres[1][retrieved], "coordsB": axes[1].transData}
        bend = BEND * (number % 5 - 2)  # straight lines between parts of the same row would cover each other
        figure.add_artist(ConnectionPatch(**ends, connectionstyle=f"arc3,rad={bend}", **_choose_style(number, credits)))
    _draw_legend(figure, credits)
    return figure


def _choose_style(number: int, credits: list[float]) -> dict:
    """Style of a line: its colour, dashes if the colour was used before, and its width by credit."""
    width = THINNEST + (WIDEST - THINNEST) * credits[number] / credits[0]
    dashes = "dashed" if number // len(PART_COLOURS) % 2 else "solid"
    halo = [withStroke(linewidth=width + 1.5, foreground="white")]
    return {"color": PART_COLOURS[number % len(PART_COLOURS)], "linestyle": dashes, "linewidth": width, "path_effects": halo, "zorder": 4}


def _draw_legend(figure: Figure, credits: list[float]) -> None:
    """The credit of each line, beside the photos."""
    labels = [f"{number}:  {format_number(credit, credits[0])}" for number, credit in enumerate(credits, 1)]
    lines = [Line2D([], [], label=label, **_choose_style(number, credits)) for number, label in enumerate(labels)]
    no_lines = [Line2D([], [], linestyle="none", label="none: no pair\nof parts adds any")]
    figure.legend(handles=lines or no_lines, loc="outside right center", title="similarity that\na pair adds", frameon=False)
