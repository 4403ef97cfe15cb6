"""The matrix of all pairs of parts, as numbers rather than in the photos."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from captum_pairwise.players.regions import Players
from captum_pairwise.results.interactions import AXES, SIDES, Interactions
from captum_pairwise.visualization.headers import header
from captum_pairwise.visualization.parts import check_example, refuse_unknown
from captum_pairwise.visualization.scales import SIGNED, coloured, largest, number, signed_bar

SIDE = 5.6  # inches of the longer side of the matrix
LEAST = (1.8, 5.5)  # inches of its height and width, with room for names, the bar of the scale and the title
AWAY = 46  # points from an axis to the name below its ticks
N_TICKS = 10  # the most on one side of one image, where parts are not in rows
WHOLE = ("within_query", "within_retrieved")


class Axis(NamedTuple):
    """What stands along one side of the matrix: parts of one image, or of both."""

    names: list[str]
    counts: list[int]
    players: list[Players | None]
    credit: Float[np.ndarray, " players"] | None


def matrix_figure(interactions: Interactions, example: int = 0, title: str = "") -> Figure:
    """Draw the credit of every pair of parts of one pair as a matrix, and at its sides the credit of each part as a bar.

    Where the pairs within both images are known, it is the whole symmetric matrix; else that of query parts (rows) and retrieved ones
    (columns). Parts of a map in reading order, with a tick at the first of each row of the map; others by their number.

    Args:
        interactions: of any players, also of those that do not lie in an image.
        example: which pair of the batch.
        title: a line above.

    Raises:
        ValueError: the pairs between the images are not known, a credit is not finite, or there is no such example.
    """
    check_example(interactions, example)
    refuse_unknown(interactions, example, AXES)
    whole = all(getattr(interactions, name) is not None for name in WHOLE)
    matrix = (interactions.second_order if whole else interactions["between"])[example].detach().cpu().double().numpy()
    rows, columns = _axes(interactions, example, whole)
    size = np.maximum(SIDE * np.array(matrix.shape) / max(matrix.shape), LEAST)
    figure = Figure(figsize=(size[1] + 3.0, size[0] + 2.4), layout="constrained", dpi=110)
    figure.suptitle(header(interactions, example, title), size="medium")
    panels = figure.subplots(2, 2, squeeze=False, width_ratios=[0.9, size[1]], height_ratios=[0.9, size[0]])
    scale = largest([matrix])
    limits = {"vmin": -(scale or 1.0), "vmax": scale or 1.0}
    panels[1, 1].imshow(matrix, cmap=SIGNED, aspect="auto", interpolation="nearest", **limits)
    panels[0, 0].set_axis_off()
    _draw_sides(panels, rows, columns)
    signed_bar(figure, [panels[1, 1]], scale, "similarity that\na pair of parts adds")
    return figure


def _axes(interactions: Interactions, example: int, whole: bool) -> tuple[Axis, Axis]:
    """What stands along the rows and along the columns."""
    n_query, n_retrieved = interactions["between"].shape[1:]
    credit = interactions.first_order if interactions.marginal is None else interactions.marginal
    numbers = None if credit is None else credit[example].detach().cpu().double().numpy()
    places = [interactions.query_players, interactions.retrieved_players]
    if whole:
        both = Axis(list(SIDES), [n_query, n_retrieved], places, numbers)
        return both, both
    query, retrieved = (None, None) if numbers is None else (numbers[:n_query], numbers[n_query:])
    return Axis(["query"], [n_query], places[:1], query), Axis(["retrieved"], [n_retrieved], places[1:], retrieved)


def _draw_sides(panels: np.ndarray, rows: Axis, columns: Axis) -> None:
    """Bars, ticks, names and the lines between images."""
    scale = largest([axis.credit for axis in (rows, columns) if axis.credit is not None])
    left, top, matrix = panels[1, 0], panels[0, 1], panels[1, 1]
    _draw_bars(left.barh, rows, scale)
    _draw_bars(top.bar, columns, scale)
    limit = 1.08 * scale or 1.0
    left.set(xlim=(-limit, limit), ylim=(sum(rows.counts) - 0.5, -0.5), xlabel="similarity\nof a part")
    top.set(ylim=(-limit, limit), xlim=(-0.5, sum(columns.counts) - 0.5), ylabel="similarity\nof a part")
    left.axvline(0, color="0.4", linewidth=0.8)
    top.axhline(0, color="0.4", linewidth=0.8)
    for axis, along in ((left.xaxis, {"rotation": 90}), (top.yaxis, {})):
        axis.set_ticks([-scale, 0.0, scale] if scale else [0.0])
        axis.set_tick_params(labelsize="small", **along)
        axis.set_major_formatter(lambda tick, _: number(tick, scale))
    top.yaxis.tick_right()
    top.yaxis.set_label_position("right")
    left.set_yticks(*ticks(rows), size="small")
    matrix.set_xticks(*ticks(columns), size="small", rotation=90)
    matrix.set_yticks([])
    top.set_xticks([])
    _name(rows, lambda name, middle, look: left.annotate(name, (0, middle), (-AWAY, 0), ("axes fraction", "data"), rotation=90, **look))
    _name(columns, lambda name, middle, look: matrix.annotate(name, (middle, 0), (0, -AWAY), ("data", "axes fraction"), **look))
    for axis, panel_lines in ((rows, (matrix.axhline, left.axhline)), (columns, (matrix.axvline, top.axvline))):
        for line in panel_lines:
            for edge in np.cumsum(axis.counts)[:-1]:
                line(edge - 0.5, color="black", linewidth=1.2)


def _draw_bars(bars: Callable, axis: Axis, scale: float) -> None:
    if axis.credit is not None:
        bars(np.arange(len(axis.credit)), axis.credit, 0.9, color=coloured(np.sign(axis.credit) * 0.8, 1.0))


def _name(axis: Axis, write: Callable) -> None:
    """Write at the middle of each image's parts what they are."""
    look, ends = {"textcoords": "offset points", "ha": "center", "va": "center"}, np.cumsum(axis.counts)
    for name, count, end, players in zip(axis.names, axis.counts, ends, axis.players, strict=True):
        what = "rows of its map" if players is not None and len(players.shape) == 2 else "its parts"
        write(f"{name}, {what}", end - (count + 1) / 2, look)


def ticks(axis: Axis) -> tuple[list[int], list[str]]:
    """Where ticks stand along one side, and what they say."""
    places, labels, start = [], [], 0
    for count, players in zip(axis.counts, axis.players, strict=True):
        shape = () if players is None else players.shape
        step = shape[1] if len(shape) == 2 else -(-count // N_TICKS)
        for part in range(0, count, step):
            places.append(start + part)
            labels.append(f"row {part // step}" if len(shape) == 2 else str(part))
        start += count
    return places, labels
