"""Matrix of the credit of all pairs of parts."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from captum_pairwise.results.interactions import SIDES, Interactions
from captum_pairwise.visualization.headline import frame_figure
from captum_pairwise.visualization.parts import check_pair
from captum_pairwise.visualization.style import SIGNED, colour_values, draw_bar_beside, find_scale, label_ticks

LENGTH = 5.6  # inches of the longer side of the matrix
LEAST_SIZE = (1.8, 5.5)  # inches, height and width of the matrix, with room for names, colour bar and title
DISTANCE = 46  # points from an axis to the name below its ticks
N_TICKS = 10  # at most, for the parts of one image that do not form rows


class Axis(NamedTuple):
    """Parts along one side of the matrix, of one image or of both. An unknown shape is (), unknown credit is empty."""

    names: list[str]
    counts: list[int]
    shapes: list[tuple[int, ...]]
    credit: Float[np.ndarray, " players"]

    @property
    def middles(self) -> Float[np.ndarray, " images"]:
        """Middle of each image's parts along the axis."""
        return np.cumsum(self.counts) - (np.array(self.counts) + 1) / 2


def matrix_figure(interactions: Interactions, example: int = 0, title: str = "") -> Figure:
    """Draw the credit of every pair of parts of one pair of images as a matrix, and beside it the map of each image as bars.

    A bar is what a part adds while the other image is whole. Without maps (`given_other`) there are no bars.

    If the pairs within both images are known, the matrix is the whole symmetric matrix of all parts. Otherwise its rows are query parts and
    its columns are retrieved parts. The parts of a map are in reading order, with a tick at the first part of each row of the map. Other
    parts have their number.

    Args:
        interactions: of any players, also of players outside an image.
        example: the number of the pair in the batch.
        title: the title of the figure.

    Raises:
        ValueError: the pairs between the images are unknown, a credit is not finite, or there is no such example.

    >>> import torch, captum_pairwise as cp
    >>> similarity = cp.ExactShapleyTaylor(lambda query, retrieved: (query * retrieved).sum(1))
    >>> figure = matrix_figure(similarity.interactions((torch.ones(1, 2), torch.ones(1, 2))))
    >>> figure.axes[3].images[0].get_array().shape  # all 2 + 2 parts, because pairs within each input are known
    (4, 4)

    See also `token_figure` for words, and `pair_figure` for photos.
    """
    check_pair(interactions, example, ("given_other", "between", "within_query", "within_retrieved"))
    whole = all(getattr(interactions, name) is not None for name in ("within_query", "within_retrieved"))
    matrix = (interactions.second_order if whole else interactions["between"])[example].detach().cpu().double().numpy()
    rows, columns = _build_axes(interactions, example, whole)
    size = np.maximum(LENGTH * np.array(matrix.shape) / max(matrix.shape), LEAST_SIZE)
    figure = Figure(figsize=(size[1] + 3.0, size[0] + 2.4), layout="constrained", dpi=110)
    frame_figure(figure, interactions, example, title)
    (corner, top), (left, centre) = figure.subplots(2, 2, squeeze=False, width_ratios=[0.9, size[1]], height_ratios=[0.9, size[0]])
    corner.set_axis_off()
    scale = find_scale([matrix])
    centre.imshow(matrix, cmap=SIGNED, aspect="auto", interpolation="nearest", vmin=-(scale or 1.0), vmax=scale or 1.0)
    _draw_credit(left, top, rows, columns)
    _label_parts(left, top, centre, rows, columns)
    draw_bar_beside(figure, [centre], scale, "similarity that\na pair of parts adds")
    return figure


def _build_axes(interactions: Interactions, example: int, whole: bool) -> tuple[Axis, Axis]:
    """Parts along the rows and along the columns."""
    n_query, n_retrieved = interactions["between"].shape[1:]
    maps = interactions.given_other
    numbers = np.empty(0) if maps is None else maps[example].detach().cpu().double().numpy()
    shapes = [players.shape if players else () for players in (interactions.query_players, interactions.retrieved_players)]
    names = [f"{side}, {'rows of its map' if len(shape) == 2 else 'its parts'}" for side, shape in zip(SIDES, shapes, strict=True)]
    if whole:
        both = Axis(names, [n_query, n_retrieved], shapes, numbers)
        return both, both
    query, retrieved = numbers[:n_query], numbers[n_query:]
    return Axis(names[:1], [n_query], shapes[:1], query), Axis(names[1:], [n_retrieved], shapes[1:], retrieved)


def _draw_credit(left: Axes, top: Axes, rows: Axis, columns: Axis) -> None:
    """Bars of the credit of each part, on one scale."""
    scale = find_scale([rows.credit, columns.credit])
    limit = 1.08 * scale or 1.0
    for draw_bars, axis in ((left.barh, rows), (top.bar, columns)):
        draw_bars(np.arange(len(axis.credit)), axis.credit, 0.9, color=colour_values(np.sign(axis.credit) * 0.8, 1.0))
    left.set(xlim=(-limit, limit), ylim=(sum(rows.counts) - 0.5, -0.5), xlabel="similarity that\na part adds")
    top.set(ylim=(-limit, limit), xlim=(-0.5, sum(columns.counts) - 0.5), ylabel="similarity that\na part adds")
    left.axvline(0, color="0.4", linewidth=0.8)
    top.axhline(0, color="0.4", linewidth=0.8)
    label_ticks(left.set_xticks, scale, size="small", rotation=90)
    label_ticks(top.set_yticks, scale, size="small")
    top.yaxis.tick_right()
    top.yaxis.set_label_position("right")


def _label_parts(left: Axes, top: Axes, centre: Axes, rows: Axis, columns: Axis) -> None:
    """Ticks and names of the parts, and lines between the two images."""
    left.set_yticks(*list_ticks(rows), size="small")
    centre.set_xticks(*list_ticks(columns), size="small", rotation=90)
    centre.set_yticks([])
    top.set_xticks([])
    style: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "va": "center"}
    for name, middle in zip(rows.names, rows.middles, strict=True):
        left.annotate(name, (0, middle), (-DISTANCE, 0), ("axes fraction", "data"), rotation=90, **style)
    for name, middle in zip(columns.names, columns.middles, strict=True):
        centre.annotate(name, (middle, 0), (0, -DISTANCE), ("data", "axes fraction"), **style)
    if len(rows.counts) == 2:
        for draw_line in (centre.axhline, left.axhline, centre.axvline, top.axvline):
            draw_line(rows.counts[0] - 0.5, color="black", linewidth=1.2)


def list_ticks(axis: Axis) -> tuple[list[int], list[str]]:
    """Places and labels of the ticks along one axis."""
    places, labels, start = [], [], 0
    for count, shape in zip(axis.counts, axis.shapes, strict=True):
        step = shape[1] if len(shape) == 2 else -(-count // N_TICKS)
        for part in range(0, count, step):
            places.append(start + part)
            labels.append(f"row {part // step}" if len(shape) == 2 else str(part))
        start += count
    return places, labels
