"""Figure of a ranked list: the query once, and the results in their order with names, scores and maps."""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.colors import Colormap
from matplotlib.figure import Figure, SubFigure

from captum_pairwise.results.interactions import Interactions
from captum_pairwise.results.objective import Objective
from captum_pairwise.results.verdict import Verdict
from captum_pairwise.visualization.headline import (
    MARGIN,
    POINTS,
    build_page,
    choose_colours,
    wrap_text,
    write_headline,
    write_small_print,
)
from captum_pairwise.visualization.overlays import fade_to_grey, overlay
from captum_pairwise.visualization.photos import draw_photo, hide_frames
from captum_pairwise.visualization.ranked_sides import (
    RankedSide,
    check_ranking,
    find_objective_verdict,
    join_verdicts,
    locate_ranking,
    show_objective,
    write_scores,
)
from captum_pairwise.visualization.sheets import Side
from captum_pairwise.visualization.style import SIGNED, draw_bar_in, find_scale
from captum_pairwise.visualization.words import draw_words, measure_words

WIDTH, COLUMNS, WIDE_COLUMNS = 9.0, 6, 3  # inches of the figure; photos in a row, and wide pictures such as the slices of a volume
LARGEST_CELL, LABEL_WIDTH = 2.2, 1.6  # inches of a photo, and of the name beside a sentence
NAME_SIZE = 8.5  # points
BAR = 0.62  # inches of the height of the colour bar's row
MEANING = (
    "Each map shows what a part adds to the similarity while the other side of the pair is whole. Red raises it, blue lowers it. All maps "
    "have one scale. The map of the query is the one with the first result."
)
OBJECTIVE_MEANING = (
    "The map of each result shows what a part adds to its similarity while the query is whole. All results have one scale. The map of the "
    "query shows what a part adds to the objective ({purpose}) while all results are whole, on its own scale. Red raises, blue lowers."
)
NO_MAP = "This method has no map of single parts."


def ranking_figure(
    results: Sequence[Interactions],
    query: Side,
    retrieved: Sequence[Side],
    names: Sequence[str],
    scores: Sequence[float],
    *,
    title: str = "",
    verdicts: Sequence[Verdict] = (),
    margin: str = "",
    objective: Objective | None = None,
) -> Figure:
    """Draw a ranked list: the query once with its map for the first result, and each result with its name, score and map.

    Photos stand in rows, the query first, and sentences below each other. All maps have one scale.

    Args:
        results: of the query and each result, batches of one.
        query: the photo `[1, 3, H, W]` in [0, 1], or the tokens of a sentence.
        retrieved: the photos or tokens of the results, in their order.
        names: of the results.
        scores: of the results.
        title: the title of the figure; "" for its question.
        verdicts: on each result. Their warnings are a red band, and the figure says how far to trust them.
        margin: why the first result comes before the second; a text that begins with "Warning: " becomes part of the band.
        objective: of the results: the query then has the map of the objective, on its own scale.

    Raises:
        ValueError: there is not one of everything for each result, the players or credits do not fit, or a credit is not finite.

    >>> import torch, captum_pairwise as cp
    >>> encoder = torch.nn.Identity()  # every pixel is a cell
    >>> method = cp.LayerPairwiseSAM(cp.SimilarityWrapper(encoder, similarity="dot"), encoder)
    >>> query, results = torch.rand(1, 3, 2, 2), [torch.rand(1, 3, 2, 2), torch.rand(1, 3, 2, 2)]
    >>> interactions = [method.interactions((query, result)) for result in results]
    >>> figure = ranking_figure(interactions, query, results, ["first", "second"], [0.9, 0.8])
    >>> [panel.get_title().splitlines() for panel in figure.axes[1:3]]
    [['1. first', 'score 0.90'], ['2. second', 'score 0.80']]

    See also `ranking_viewer`, and `cp.explain_ranking`, whose result draws itself.
    """
    check_ranking(results, retrieved, names, scores, verdicts)
    pairs, verdict = locate_ranking(results, query, retrieved), join_verdicts(verdicts, margin, title, objective)
    above = write_headline(verdict.question, verdict, WIDTH)
    values = [side.values for side in chain.from_iterable(pairs) if side.values is not None]
    meaning = MEANING if objective is None else OBJECTIVE_MEANING.format(purpose=objective.purpose)
    query_cell = _make_query(pairs[0][0], verdicts, objective)
    rows = _list_rows(query_cell, [side for _, side in pairs], names, write_scores(scores, verdicts, objective), verdicts)
    below = write_small_print([meaning if values else NO_MAP], WIDTH)
    figure, panels = build_page(WIDTH, [*(_measure_row(row) for row in rows), BAR], above, below)
    if objective is not None:
        values = [side.values for _, side in pairs if side.values is not None]
    for row, panel in zip(rows, panels, strict=False):
        _draw_row(panel, row, find_scale(values))
    if values:
        _draw_bars(panels[-1], find_scale(values), query_cell)
    return figure


class RankedCell(NamedTuple):
    """The query or a result in the figure, with the texts beside it and the colours of its map."""

    side: RankedSide
    name: str
    note: str
    colours: str | Colormap = SIGNED
    scale: float | None = None  # of its own; None for the scale of all


Row = Sequence[RankedCell | None]  # photos beside each other with empty places, or one sentence


def _make_query(side: RankedSide, verdicts: Sequence[Verdict], objective: Objective | None) -> RankedCell:
    """The query with its map for the first result, or for the objective."""
    if objective is None:
        return RankedCell(side, "query", "with its map for 1", choose_colours(verdicts[0]) if verdicts else SIGNED)
    shown = show_objective(side, objective)
    scale = None if shown.values is None else find_scale([shown.values])
    return RankedCell(shown, "query", objective.purpose, choose_colours(find_objective_verdict(objective, verdicts)), scale)


def _draw_bars(row_panel: SubFigure, scale: float, query: RankedCell) -> None:
    """The colour bar of all maps; beside it that of the query, if it has its own scale."""
    if query.scale is None:
        draw_bar_in(row_panel.add_axes((0.3, 0.72, 0.4, 0.16)), scale, "similarity that a part adds")
        return
    draw_bar_in(row_panel.add_axes((0.08, 0.72, 0.36, 0.16)), query.scale, f"query: {query.note}", query.colours)
    draw_bar_in(row_panel.add_axes((0.56, 0.72, 0.36, 0.16)), scale, "results: similarity that a part adds")


def _list_rows(
    query: RankedCell, sides: Sequence[RankedSide], names: Sequence[str], scores: Sequence[str], verdicts: Sequence[Verdict]
) -> list[Row]:
    """The query and the results in rows: photos beside each other, each sentence in its own row."""
    colours = [choose_colours(verdict) for verdict in verdicts] or [SIGNED] * len(sides)
    labels = [f"{place}. {name}" for place, name in enumerate(names, 1)]
    notes = [f"score {score}" for score in scores]
    cells = [RankedCell(*cell) for cell in zip(sides, labels, notes, colours, strict=True)]
    if cells[0].side.parts is None:
        return [[query], *([cell] for cell in cells)]
    has_photo = query.side.parts is not None
    is_wide = any(side.parts is not None and side.parts.is_wide for side in [query.side, *sides])
    size = min((WIDE_COLUMNS if is_wide else COLUMNS) - has_photo, len(cells))
    rows: list[Row] = [] if has_photo else [[query]]
    for start in range(0, len(cells), size):
        chunk = cells[start : start + size]
        lead = [query if start == 0 else None] * has_photo
        rows.append([*lead, *chunk, *[None] * (size - len(chunk))])
    return rows


def _write_label(cell: RankedCell, width: float) -> list[str]:
    """Lines above a photo or before a sentence."""
    return [line for text in (cell.name, cell.note) for line in wrap_text(text, width - 0.1, NAME_SIZE)]


def _fit_photos(row: Row) -> tuple[float, float]:
    """Inches of the largest width and height of the photos of a row."""
    parts = [cell.side.parts for cell in row if cell and cell.side.parts]
    shapes = [side.photo.shape for side in parts]
    width = WIDTH / len(row) - 0.1 if any(side.is_wide for side in parts) else min(LARGEST_CELL, WIDTH / len(row) - 0.1)
    return width, max(min(width, width * shape[0] / shape[1]) for shape in shapes)


def _measure_row(row: Row) -> float:
    """Inches of the height of a row."""
    cells = [cell for cell in row if cell is not None]
    if cells[0].side.parts is None:
        return measure_words(cells[0].side.tokens, WIDTH - LABEL_WIDTH - MARGIN) + 0.15
    width, height = _fit_photos(row)
    n_lines = max(len(_write_label(cell, width)) for cell in cells)
    return 2 * height + n_lines * 1.35 * NAME_SIZE / POINTS + 0.25


def _draw_row(row_panel: SubFigure, row: Row, scale: float) -> None:
    """A sentence after its name, or photos below their names and above their maps."""
    if row[0] is not None and row[0].side.parts is None:
        _draw_sentence(row_panel, row[0], scale)
        return
    axes = row_panel.subplots(2, len(row), squeeze=False)
    hide_frames(axes)
    for cell, (above, below) in zip(row, axes.T, strict=True):
        if cell is None or cell.side.parts is None:
            above.set_axis_off()
            below.set_axis_off()
            continue
        photo, values = cell.side.parts.photo, cell.side.values
        draw_photo(above, photo)
        above.set_title("\n".join(_write_label(cell, _fit_photos(row)[0])), size=NAME_SIZE)
        heat = None if values is None else cell.side.parts.paint(torch.from_numpy(values))
        own_scale = scale if cell.scale is None else cell.scale
        draw_photo(below, fade_to_grey(photo) if heat is None else overlay(photo, heat, own_scale, cell.colours))
        above.set_anchor("S")
        below.set_anchor("N")


def _draw_sentence(row_panel: SubFigure, cell: RankedCell, scale: float) -> None:
    """A name and a score on the left, and the words on the colours of what they add."""
    height, left = _measure_row([cell]), LABEL_WIDTH / WIDTH
    panel = row_panel.add_axes((left, 0.1 / height, 1 - left - MARGIN / WIDTH, 1 - 0.15 / height))
    values = np.zeros(len(cell.side.tokens)) if cell.side.values is None else cell.side.values
    own_scale = scale if cell.scale is None else cell.scale
    draw_words(panel, cell.side.tokens, values, own_scale, cell.colours, WIDTH - LABEL_WIDTH - MARGIN)
    label = "\n".join(_write_label(cell, LABEL_WIDTH))
    row_panel.text(MARGIN / WIDTH, 0.5, label, size=NAME_SIZE, va="center")
