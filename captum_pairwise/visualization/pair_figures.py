"""Figures of one pair of photos: the map of each photo with the pairs of its strongest parts, and the credit in the joint game."""

from math import isfinite

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure, SubFigure
from torch import Tensor

from captum_pairwise.results.index_words import describe_index
from captum_pairwise.results.interactions import SIDES, Interactions
from captum_pairwise.results.verdict import Verdict
from captum_pairwise.visualization.headline import (
    Line,
    ask_question,
    build_page,
    choose_colours,
    compare_ends,
    describe_colours,
    write_headline,
    write_numbers,
    write_small_print,
)
from captum_pairwise.visualization.marks import PART_COLOURS, mark_parts
from captum_pairwise.visualization.overlays import fade_to_grey, overlay
from captum_pairwise.visualization.parts import PhotoParts, check_pair, choose_sign, locate_parts, lowering_parts, strongest_parts
from captum_pairwise.visualization.photos import draw_photo, fit_height, fit_widths, hide_frames
from captum_pairwise.visualization.sheets import ImagePair
from captum_pairwise.visualization.style import (
    draw_bar_beside,
    draw_half_bar,
    find_scale,
    format_number,
    format_similarities,
)

WIDTH, TALLEST = 11.0, 3.4  # inches of the figure, and of the highest photo
BAR = 0.9  # inches for a colour bar beside photos
WORDS = 0.95  # inches above and below the photos of a row
WIDE_COLUMNS, WIDE_WORDS = 2, 0.55  # panels beside each other in a wide figure; inches above and below its photos
JOINT_QUESTION = "What does each part add when both photos start as blurs?"
SPLIT = "Both photos start as their baselines (by default blurs), and the parts of both return in random order."
JOINT_MEANING = (
    "Red parts raise the similarity, blue parts lower it. Two blurs can be more alike than two photos: then most parts are blue."
)
MAP_MEANING = (
    "A map shows what each part of {noun} adds to the similarity while the other one is whole. {colours} Without {noun}, its baseline "
    "takes its place: by default {baseline}."
)
PAIR_MEANING = (
    "A pair is of one part of each side. The map also counts what a part adds on its own and together with other parts of its side. So "
    "the pairs of a part need not sum to its value in the map. {index}"
)
FAINT = 0.05  # of the strongest match: weaker ones have no panel in a wide figure
NO_MAP = "This method gives pairs of parts,\nbut no map of single parts."


def pair_figure(
    interactions: Interactions,
    images: ImagePair,
    n_parts: int = 4,
    example: int = 0,
    title: str = "",
    *,
    verdict: Verdict | None = None,
) -> Figure:
    """Draw one pair: above, the photos and their maps; below, for each of the strongest query parts, its pairs with the retrieved parts.

    Both maps show what each part adds while the other photo is whole (`Interactions.query_map`, `retrieved_map`), on one scale. Each map of
    pairs has a scale of its own. Each part has a number and a colour. The query photo shows the part itself. The retrieved photo shows its
    strongest match. If the verdict says that the photos are not similar, and pairs lower the similarity by a tenth of what others raise it,
    the pairs are those that lower it most.

    Args:
        interactions: of parts of images, or of the cells of maps. Without maps (`given_other`), their places say so.
        images: the photos, RGB `[B, 3, H, W]` or grey in [0, 1], or one photo for all pairs. They may be larger than the network's inputs,
            if they show the same content. Either side may be another input: `cp.Picture`, `cp.Volume`, `cp.Video`, `cp.Spectrogram` or
            `cp.Signal`; batches of images with other channels, of volumes and of videos are recognised.
        n_parts: the number of query parts to draw, at most 6.
        example: the number of the pair in the batch.
        title: the title of the figure; "" for the verdict's question.
        verdict: words above the figure. Its warnings are a red band. If the numbers are not to be read, the maps are grey.

    Raises:
        ValueError: `n_parts` is not from 1 to 6, the players are unknown, a credit is not finite, or the photos do not fit.

    >>> import torch, captum_pairwise as cp
    >>> encoder = torch.nn.Identity()  # every pixel is a cell
    >>> photos = torch.rand(1, 3, 2, 2), torch.rand(1, 3, 2, 2)
    >>> interactions = cp.LayerPairwiseSAM(cp.SimilarityWrapper(encoder, similarity="dot"), encoder).interactions(photos)
    >>> [panel.get_title() for panel in pair_figure(interactions, photos).axes[:4:3]]
    ['query', 'retrieved']

    See also `matches_figure`, `matrix_figure` and `cp.viewer`.
    """
    if not 1 <= n_parts <= len(PART_COLOURS):
        raise ValueError(f"Expected n_parts from 1 to {len(PART_COLOURS)}, got {n_parts}. Choose fewer, or use `matches_figure`.")
    sides = locate_parts(interactions, images, example)
    between = interactions["between"][example].detach().cpu().double()
    sign = choose_sign(between, is_alike(verdict))
    parts = strongest_parts(between, n_parts) if sign > 0 else lowering_parts(between, n_parts)
    is_wide = any(side.is_wide for side in sides)
    if is_wide:
        parts = [pair for pair in parts if between[pair].abs() > FAINT * between[parts[0]].abs()] or parts[:1]
    question = ask_question((sides[0].noun, sides[1].noun))
    above = write_headline(title or (verdict.question if verdict else question), verdict, WIDTH)
    below = _write_below(interactions, example, sign, verdict, sides)
    rows = _fit_wide_rows(sides, len(parts)) if is_wide else [height + WORDS for height in _fit_rows(sides, len(parts))]
    figure, (top, bottom) = build_page(WIDTH, rows, above, below)
    axes = _draw_maps(top, sides, interactions, example, choose_colours(verdict))
    mark_parts(axes[0], sides[0], [part for part, _ in parts])
    matches = [match for part, match in parts if sign * between[part, match] > 0]  # strongest first: no number is skipped
    mark_parts(axes[3], sides[1], matches)
    _draw_pairs(bottom, sides[1], between, parts, sign, verdict)
    return figure


def is_alike(verdict: Verdict | None) -> bool:
    """False if the verdict says that the photos are not similar."""
    return verdict is None or verdict.is_similar


def _write_below(
    interactions: Interactions, example: int, sign: int, verdict: Verdict | None, sides: tuple[PhotoParts, PhotoParts]
) -> list[Line]:
    """The small print: the meaning of the colours, and the numbers; of photos that are not similar, also the sums of the pairs by sign."""
    nouns = list(dict.fromkeys(side.noun for side in sides))
    noun = " or ".join(f"an {noun}" if noun[0] == "i" else f"a {noun}" for noun in nouns)
    baseline = "0" if nouns == ["signal"] else f"a blur of the {' or the '.join(nouns)}"
    sentences = [MAP_MEANING.format(noun=noun, colours=describe_colours(verdict), baseline=baseline)]
    sentences.append(PAIR_MEANING.format(index=describe_index(interactions)))
    if not is_alike(verdict):
        between = interactions["between"][example].double()
        sums = between.clamp(max=0).sum().item(), between.clamp(min=0).sum().item()
        lowered, raised = (format_number(value, max(abs(value), 1e-5)) for value in sums)
        shown = "The lower row shows pairs that lower it." if sign < 0 else "Few pairs lower it: the lower row shows pairs that raise it."
        sentences.append(f"{shown} All that lower it sum to {lowered}, all that raise it to {raised}.")
    return write_small_print([*sentences, write_numbers(interactions, example, verdict)], WIDTH)


def _fit_rows(sides: tuple[PhotoParts, PhotoParts], n_parts: int) -> tuple[float, float]:
    """Inches of the heights of the photos in the upper and in the lower row."""
    query, retrieved = (side.photo.shape for side in sides)
    upper = fit_height([query, query, retrieved, retrieved], WIDTH - BAR, TALLEST)
    return upper, fit_height([retrieved] * max(4, n_parts), WIDTH - BAR, TALLEST)


def _fit_wide_rows(sides: tuple[PhotoParts, PhotoParts], n_parts: int) -> list[float]:
    """Inches of the heights of both rows of panels, if two panels stand beside each other."""
    query, retrieved = (fit_height([side.photo.shape] * WIDE_COLUMNS, WIDTH - BAR, TALLEST) for side in sides)
    n_rows = -(-n_parts // WIDE_COLUMNS)
    return [query + retrieved + 2 * WIDE_WORDS, n_rows * (retrieved + WORDS + 0.3)]


def _add_map_panels(row: SubFigure, sides: tuple[PhotoParts, PhotoParts]) -> np.ndarray:
    """Panels of the query, its map, the map of the retrieved photo, and that photo: in one row, or in two if they are wide."""
    if any(side.is_wide for side in sides):
        heights = [fit_height([side.photo.shape] * WIDE_COLUMNS, WIDTH - BAR, TALLEST) for side in sides]
        return row.subplots(2, WIDE_COLUMNS, height_ratios=heights).ravel()[[0, 1, 3, 2]]
    sizes = [sides[0].photo.shape] * 2 + [sides[1].photo.shape] * 2
    return row.subplots(1, 4, width_ratios=fit_widths(sizes, fit_height(sizes, WIDTH - BAR, TALLEST)))


def _draw_maps(
    row: SubFigure, sides: tuple[PhotoParts, PhotoParts], interactions: Interactions, example: int, colours: str | Colormap
) -> np.ndarray:
    """The panels of a row: the query, its map, the map of the retrieved photo, and that photo."""
    axes, is_wide = _add_map_panels(row, sides), any(side.is_wide for side in sides)
    hide_frames(axes)
    for panel, side, name in zip(axes[[0, 3]], sides, SIDES, strict=True):
        draw_photo(panel, side.photo, name)
    if interactions.given_other is None:
        for panel, side, name in zip(axes[1:3], sides, SIDES, strict=True):
            _draw_no_map(panel, side, name)
        return axes
    maps = [side.paint(values[example]) for side, values in zip(sides, (interactions.query_map, interactions.retrieved_map), strict=True)]
    for number, (panel, side, heat, name) in enumerate(zip(axes[1:3], sides, maps, SIDES, strict=True)):
        title, words = f"{name}:\nwhat each part adds", compare_ends(interactions, example, number, f"this {side.noun}")
        draw_photo(panel, overlay(side.photo, heat, find_scale(maps), colours), title.replace("\n", " ") if is_wide else title)
        panel.set_xlabel(words if is_wide else words.replace(", ", ",\n"))
    draw_bar_beside(row, axes, find_scale(maps), colours=colours)
    return axes


def _draw_no_map(panel: Axes, side: PhotoParts, name: str) -> None:
    draw_photo(panel, fade_to_grey(side.photo), name)
    box = {"facecolor": "white", "edgecolor": "0.6"}
    panel.text(0.5, 0.5, NO_MAP, transform=panel.transAxes, ha="center", va="center", size="small", bbox=box)


def _draw_pairs(
    row: SubFigure, retrieved: PhotoParts, between: Tensor, parts: list[tuple[int, int]], sign: int, verdict: Verdict | None
) -> None:
    """For each query part, its pairs of one sign with the retrieved parts, on its own scale."""
    words = "what part {} differs from" if sign < 0 else "where part {} is found"
    words = words if sign < 0 or is_alike(verdict) else "what part {} resembles most"
    colours = choose_colours(verdict)
    n_columns = WIDE_COLUMNS if retrieved.is_wide else max(4, len(parts))
    axes = row.subplots(-(-len(parts) // n_columns), n_columns, squeeze=False).ravel()
    hide_frames(axes)
    for panel in axes[len(parts) :]:
        panel.set_axis_off()
    for number, (panel, pair) in enumerate(zip(axes, parts, strict=False)):
        heat = sign * np.clip(sign * retrieved.paint(between[pair[0]]), 0, None)
        draw_photo(panel, overlay(retrieved.photo, heat, find_scale([heat]), colours))
        title = (words if sign * between[pair] > 0 else "part {} is found nowhere").format(number + 1)
        panel.set_title(title, color=PART_COLOURS[number], weight="bold", size="medium")
        draw_half_bar(panel, find_scale([heat]), sign, "similarity", colours)


def joint_figure(interactions: Interactions, images: ImagePair, example: int = 0, title: str = "") -> Figure:
    """Draw the credit of each part in the joint game, in which the parts of both photos leave together (`Interactions.marginal`).

    This is another question than that of the other figures, where one photo is whole. Two blurs can be more alike than two photos, so that
    most parts lower the similarity.

    Args:
        interactions: of parts of images, or of the cells of maps.
        images: the photos, RGB `[B, 3, H, W]` in [0, 1].
        example: the number of the pair in the batch.
        title: the title of the figure; "" for its question.

    Raises:
        ValueError: the players or the joint credit are unknown, a credit is not finite, or the photos do not fit.

    For example::

        joint_figure(interactions, (query, retrieved)).savefig("joint.png")

    See also `pair_figure`.
    """
    sides = locate_parts(interactions, images, example)
    check_pair(interactions, example, ("marginal",))
    credit = interactions["marginal"][example]
    maps = [
        side.paint(values) for side, values in zip(sides, (credit[: interactions.n_query], credit[interactions.n_query :]), strict=True)
    ]
    sizes = [side.photo.shape for side in sides for _ in range(2)]
    height = fit_height(sizes, WIDTH - BAR, TALLEST)
    above, below = write_headline(title or JOINT_QUESTION, None, WIDTH), write_small_print(_explain_joint(interactions, example), WIDTH)
    figure, (row,) = build_page(WIDTH, [height + WORDS], above, below)
    axes = row.subplots(1, 4, width_ratios=fit_widths(sizes, height))
    hide_frames(axes)
    for panels, side, heat, name in zip(axes.reshape(2, 2), sides, maps, SIDES, strict=True):
        draw_photo(panels[0], side.photo, name)
        draw_photo(panels[1], overlay(side.photo, heat, find_scale(maps)), f"{name}:\njoint credit")
    draw_bar_beside(row, axes, find_scale(maps))
    return figure


def _explain_joint(interactions: Interactions, example: int) -> list[str]:
    ends = [interactions.full[example].item(), interactions.empty[example].item()]
    is_split = interactions.index is None or interactions.index.is_efficient  # the credit of another index has another sum
    words = SPLIT if is_split else f"The value of a part is its own credit and half of its pairs. {describe_index(interactions)}"
    sentences = [f"{words} {JOINT_MEANING}"]
    if is_split and all(map(isfinite, ends)):
        full, empty = format_similarities(ends)
        sentences.append(f"The credit of all parts sums from {empty} (both photos replaced) to {full} (both photos whole).")
    return sentences
