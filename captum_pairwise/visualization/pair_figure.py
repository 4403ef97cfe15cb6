"""One figure that explains one pair: both photos, both maps, and where parts of the query are found again."""

from math import isfinite

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from torch import Tensor

from captum_pairwise.results.interactions import Interactions
from captum_pairwise.visualization.headers import uncertainty
from captum_pairwise.visualization.heatmap_figure import overlay
from captum_pairwise.visualization.parts import PART_COLOURS, PhotoParts, mark, parts_of, strongest_parts
from captum_pairwise.visualization.photos import Array, frame, show
from captum_pairwise.visualization.scales import largest, signed_bar
from captum_pairwise.visualization.wording import plain


def pair_figure(interactions: Interactions, images: tuple[Array, Array], n_parts: int = 4, example: int = 0, title: str = "") -> Figure:
    """Draw one pair: the photos and their maps above; below, the map that each of the strongest query parts projects on the other.

    Both maps of the upper row share one scale, as do those of the lower one. Parts have a number and a colour, the same on both
    photos: on the query where the part is, on the retrieved photo where its strongest match is, if that adds similarity.

    Args:
        interactions: of parts of images, or of the cells of maps.
        images: the photos, RGB `[B, 3, H, W]` in [0, 1].
        n_parts: how many query parts to follow, at most 6.
        example: which pair of the batch.
        title: a line above.

    Raises:
        ValueError: `n_parts` is not from 1 to 6, the interactions do not know their players, a credit is not finite, or the photos do
            not fit.
    """
    if not 1 <= n_parts <= len(PART_COLOURS):
        raise ValueError(f"Expected n_parts from 1 to {len(PART_COLOURS)}, got {n_parts}. Choose fewer, or draw `matches_figure`.")
    sides = parts_of(interactions, images, example)
    between = interactions["between"][example]
    parts = strongest_parts(between, n_parts)
    columns = max(4, len(parts))
    figure = Figure(figsize=(3 * columns, 6.8), layout="constrained", dpi=110)
    figure.suptitle(plain(title))
    axes = figure.subplots(2, columns)
    frame(axes)
    _draw_first_order(figure, axes[0, :4], sides, (interactions.query_marginal[example], interactions.retrieved_marginal[example]))
    mark(axes[0, 0], sides[0], [query for query, _ in parts])
    mark(axes[0, 3], sides[1], [found for query, found in parts if between[query, found] > 0])  # the last ones are found nowhere
    _draw_projections(axes[1], sides[1], between, parts)
    figure.supxlabel(_account(interactions, example), size="small")
    return figure


def _account(interactions: Interactions, example: int) -> str:
    brought = (interactions.full - interactions.empty)[example].item()
    in_all = [f"in all {brought:+.4f}"] if isfinite(brought) else []
    known = ", ".join(filter(None, [*in_all, uncertainty(interactions, example)]))
    lines = [
        "Credit is relative to the baselines (by default a blur): red parts add similarity over them, blue parts take it away.",
        f"{known.capitalize()}." if known else "",
        "Below: only credit above 0, all on one scale.",
    ]
    return "\n".join(filter(None, lines))


def _draw_first_order(figure: Figure, axes: np.ndarray, sides: tuple[PhotoParts, PhotoParts], credits: tuple[Tensor, Tensor]) -> None:
    query, retrieved = (side.spread(credit) for side, credit in zip(sides, credits, strict=True))
    scale = largest([query, retrieved])
    show(axes[0], sides[0].photo, "query")
    show(axes[1], overlay(sides[0].photo, query, scale), "credit of each part")
    show(axes[2], overlay(sides[1].photo, retrieved, scale), "credit of each part")
    show(axes[3], sides[1].photo, "retrieved")
    signed_bar(figure, axes, scale)


def _draw_projections(axes: np.ndarray, retrieved: PhotoParts, between: Tensor, parts: list[tuple[int, int]]) -> None:
    rows = [np.clip(retrieved.spread(between[query]), 0, None) for query, _ in parts]  # where a part is found, not where contradicted
    scale = largest(rows)
    for number, (panel, row, pair) in enumerate(zip(axes, rows, parts, strict=False)):
        colour = PART_COLOURS[number]
        palette = LinearSegmentedColormap.from_list("part", ["white", "white", colour])
        show(panel, overlay(retrieved.photo, row, scale, palette))
        where = f"where part {number + 1} is found" if between[pair] > 0 else f"part {number + 1} is found nowhere"
        panel.set_title(where, color=colour, weight="bold")
