"""One figure that explains one pair: both photos, both maps, and the matches of the strongest query parts."""

from math import isfinite

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from torch import Tensor

from captum_pairwise.results.interactions import Interactions
from captum_pairwise.visualization.labels import escape_text, format_uncertainty
from captum_pairwise.visualization.overlays import overlay
from captum_pairwise.visualization.parts import PART_COLOURS, PhotoParts, locate_parts, mark_parts, strongest_parts
from captum_pairwise.visualization.photos import Array, draw_photo, hide_frames
from captum_pairwise.visualization.scales import draw_bar_beside, find_scale


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
    numbers = [f"in all {total:+.4f}" if isfinite(total) else "", format_uncertainty(interactions, example)]
    sentence = ", ".join(filter(None, numbers)).capitalize()
    lines = [
        "Credit is relative to the baselines (by default a blur): red parts add similarity over them, blue parts take it away.",
        f"{sentence}." if sentence else "",
        "Below: only credit above 0, all on one scale.",
    ]
    return "\n".join(filter(None, lines))


def _draw_first_order(figure: Figure, axes: np.ndarray, sides: tuple[PhotoParts, PhotoParts], credits: tuple[Tensor, Tensor]) -> None:
    query, retrieved = (side.paint(credit) for side, credit in zip(sides, credits, strict=True))
    scale = find_scale([query, retrieved])
    draw_photo(axes[0], sides[0].photo, "query")
    draw_photo(axes[1], overlay(sides[0].photo, query, scale), "credit of each part")
    draw_photo(axes[2], overlay(sides[1].photo, retrieved, scale), "credit of each part")
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
