"""Figures of maps: heat maps of several methods, counterfactuals, and projections (Figures 3, 4 and 6 of the paper)."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

import numpy as np
import torch
from matplotlib.figure import Figure

from captum_pairwise.metrics.pixels import check_mask
from captum_pairwise.metrics.propagation import label_propagation
from captum_pairwise.results.interactions import SIDES
from captum_pairwise.visualization.marks import draw_outline
from captum_pairwise.visualization.overlays import fade_to_grey, overlay, resize_maps
from captum_pairwise.visualization.photos import (
    Array,
    check_photo_batches,
    check_photos,
    detach_to_cpu,
    draw_photo,
    fit_widths,
    hide_frames,
)
from captum_pairwise.visualization.style import MEANING, SIGNED, draw_bar_beside, draw_bar_in, escape_text, find_scale

ROLES, NAMES = ("query", "better", "worse"), ("query", "better result", "worse result")  # of the images of a counterfactual
ATTENTION = "PuOr_r"  # a different colour map than that of similarity
LABEL = "#E69F00"
HEATMAP_WIDTH, COUNTERFACTUAL_WIDTH, PROJECTION_HEIGHT = 2.1, 3.0, 2.8  # inches of a photo
Pair = tuple[Array, Array]  # of the query and of the retrieved images
Sides = Array | Pair  # also of single images
Mask = Array | None  # a boolean mask, or no mask
Rows = Iterable[np.ndarray]  # photos or maps, from above


def heatmap_figure(
    images: Sides, maps: Mapping[str, Sides], title: str = "", *, one_scale: bool = False, units: Mapping[str, str] | None = None
) -> Figure:
    """Draw the maps of several methods over a batch of pairs or of single images. Each row is a photo, each column a method.

    Maps of another size than the photos are interpolated bilinearly, and channels are summed. If all channels of a map are equal, only one
    of them counts.

    Args:
        images: the photos, `(query, retrieved)` or one batch, each RGB `[B, 3, H, W]` in [0, 1].
        maps: by method name: `(query_map, retrieved_map)`, or one map if `images` is one batch; each `[B, C, h, w]` or `[B, h, w]`.
        title: the title of the figure.
        one_scale: use the same colour scale for all methods, if their units are the same.
        units: by method name: the unit of its maps, if it is not similarity.

    Raises:
        ValueError: there is no map, maps or photos do not fit, or a unit belongs to no method.

    >>> import torch, captum_pairwise as cp
    >>> encoder, photos = torch.nn.Identity(), (torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 4))
    >>> maps = cp.LayerSAM(cp.SimilarityWrapper(encoder, similarity="dot"), encoder).attribute(photos)
    >>> [panel.get_title() for panel in heatmap_figure(photos, {"SAM": maps}).axes[:2]]
    ['photo', 'SAM']

    See also `counterfactual_figure` and `pair_figure`.
    """
    photos = check_photo_batches(images, SIDES) if isinstance(images, tuple) else [check_photos(images)]
    heats, units = _check_maps(maps, photos), units or {}
    if unknown := [name for name in units if name not in heats]:
        raise ValueError(f"Expected units of {list(heats)}, got units of {unknown}. Use the names of the maps.")
    scales = {name: find_scale(sides) for name, sides in heats.items()}
    if one_scale:
        scales = dict.fromkeys(scales, max(scales.values()))
    rows = list(chain(*zip(*photos, strict=True)))  # below each query its retrieved photo
    heights = [HEATMAP_WIDTH * photo.shape[0] / photo.shape[1] for photo in rows]
    size = max(HEATMAP_WIDTH * (1 + len(heats)), 5.5) + 0.5, sum(heights) + 0.2 * len(rows) + 1.1
    figure = Figure(figsize=size, layout="compressed", dpi=110)
    figure.suptitle(escape_text(title))
    figure.supxlabel(MEANING, size="small")
    axes = figure.subplots(len(rows) + 1, 1 + len(heats), squeeze=False, height_ratios=[*heights, 0.12])
    hide_frames(axes[:-1])
    _draw_photos(axes[:, 0], rows, len(photos))
    for column, (name, sides) in zip(axes.T[1:], heats.items(), strict=True):
        _draw_overlays(column, rows, chain(*zip(*sides, strict=True)), scales[name], escape_text(units.get(name, "similarity")))
        column[0].set_title(escape_text(name))
    return figure


def _check_maps(maps: object, photos: list[np.ndarray]) -> dict[str, list[np.ndarray]]:
    """By method name, the maps over the pixels of each batch of photos."""
    if not isinstance(maps, Mapping) or not maps:
        actual = "none" if isinstance(maps, Mapping) else type(maps).__name__
        raise ValueError(f"Expected a mapping from method names to maps, got {actual}. Pass for example {{'SAM': maps}}.")
    heats = {}
    for name, values in maps.items():
        sides = values if isinstance(values, tuple) else (values,)
        if len(sides) != len(photos):
            expected = "a pair (query_map, retrieved_map)" if len(photos) == 2 else "one map, because `images` is one batch,"
            raise ValueError(f"Expected {expected} for {name!r}, got {len(sides)}. Pass the maps like the images.")
        heats[name] = [resize_maps(side, batch, f"the maps of {name!r}") for side, batch in zip(sides, photos, strict=True)]
    return heats


def _draw_photos(column: np.ndarray, rows: Sequence[np.ndarray], n_sides: int) -> None:
    """The photo of each row, with the name of its side and, in a batch, the number of its pair."""
    n_pairs = len(rows) // n_sides
    names = SIDES if n_sides == 2 else ("image",) if n_pairs > 1 else ("",)
    for row, photo in enumerate(rows):
        draw_photo(column[row], photo)
        name = names[row % n_sides]
        column[row].set_ylabel(f"{name} {row // n_sides + 1}" if n_pairs > 1 else name)
    column[0].set_title("photo")
    column[-1].set_axis_off()


def _draw_overlays(column: np.ndarray, photos: Rows, heats: Rows, scale: float, unit: str, title: str = "", colours: str = SIGNED) -> None:
    """Photos below their maps, and the colour bar of the maps."""
    for panel, photo, heat in zip(column, photos, heats, strict=False):
        draw_photo(panel, overlay(photo, heat, scale, colours), title)
    draw_bar_in(column[-1], scale, unit, colours)


def counterfactual_figure(
    images: tuple[Array, ...], explanation: tuple[Array, ...], names: Sequence[str] = NAMES, title: str = ""
) -> Figure:
    """Draw a batch of queries, each with a better and a worse result, and below them the maps of `cp.counterfactual` on one signed scale.

    Args:
        images: the photos `(query, better, worse)`, each RGB `[B, 3, H, W]` in [0, 1]; a batch of one photo is repeated.
        explanation: the result of `captum_pairwise.counterfactual`: maps over the query, the better and the worse result.
        names: the titles of the photos, for example with their similarities.
        title: the title of the figure.

    Raises:
        ValueError: maps, names or photos do not fit.

    >>> import torch, captum_pairwise as cp
    >>> encoder, photos = torch.nn.Identity(), torch.rand(3, 1, 3, 4, 4)
    >>> method = cp.LayerSAM(cp.SimilarityWrapper(encoder, similarity="dot"), encoder)
    >>> figure = counterfactual_figure(tuple(photos), cp.counterfactual(method, *photos, baseline=0))
    >>> [panel.get_title() for panel in figure.axes[:3]]
    ['query', 'better result', 'worse result']

    See also `cp.counterfactual` and `ranking_figure`.
    """
    photos = check_photo_batches(images, ROLES)
    if not isinstance(explanation, tuple) or len(explanation) != 3:
        raise ValueError(f"Expected maps of query, better and worse result, got {type(explanation).__name__}. Call `counterfactual`.")
    if len(names) != 3:
        raise ValueError(f"Expected 3 names, of query, better and worse result, got {len(names)}. Name each photo.")
    heats = [resize_maps(maps, batch, f"the map of the {role}") for maps, batch, role in zip(explanation, photos, ROLES, strict=True)]
    scale, n_examples = find_scale(heats), len(photos[0])
    height = COUNTERFACTUAL_WIDTH * max(batch.shape[1] / batch.shape[2] for batch in photos) + 0.4
    figure = Figure(figsize=(3 * COUNTERFACTUAL_WIDTH + 1.2, 2 * height * n_examples + 0.3), layout="compressed", dpi=110)
    figure.suptitle(escape_text(title))
    axes = figure.subplots(2 * n_examples, 3, squeeze=False)
    hide_frames(axes)
    notes = "red: found in the better result,\nnot in the worse one", "red: what the worse result lacks", "blue: what it shows instead"
    for column, name, note, batch, heat in zip(axes.T, names, notes, photos, heats, strict=True):
        for example in range(n_examples):
            draw_photo(column[2 * example], batch[example], escape_text(name))
            draw_photo(column[2 * example + 1], overlay(batch[example], heat[example], scale), note)
    draw_bar_beside(figure, axes.flat, scale)
    return figure


def projection_figure(
    images: Pair, signal: Array, projected: Array, mask: Mask = None, censored: Pair | None = None, *, void: Mask = None, title: str = ""
) -> Figure:
    """Draw one row for each pair of a batch: the query with a signal, and the retrieved photo with its projection.

    Args:
        images: the photos `(query, retrieved)`, each RGB `[B, 3, H, W]` in [0, 1].
        signal: of the query: attention `[B, C, h, w]` or `[B, h, w]`, or a boolean label of the size of the photo.
        projected: the projection on the retrieved photo, as a map like attention; paint values of players with `to_pixels` first.
        mask: the true label of the retrieved photo, boolean `[B, H, W]`. One more panel compares it with the same number of pixels of the
            projection, the most important ones, as `cp.metrics.label_propagation` does.
        censored: the photos `(query, retrieved)` in which only the label and the pixels found are visible: two more panels.
        void: pixels of the retrieved photo without a label, boolean `[B, H, W]`.
        title: the title of the figure.

    Raises:
        ValueError: an argument does not fit.

    >>> import torch
    >>> photos, attention = (torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8)), torch.rand(1, 4, 4)
    >>> figure = projection_figure(photos, attention, projected=torch.rand(1, 8, 8))
    >>> [panel.get_title().splitlines() for panel in figure.axes[:2]]
    [['query:', 'the attention'], ['retrieved:', 'the projection']]

    See also `cp.project_attention` and `cp.metrics.label_propagation`.
    """
    photos = check_photo_batches(images, SIDES)
    heats = resize_maps(projected, photos[1], "projected")
    comparison = _compare_labels(heats, mask, void)
    visible = _check_censored(censored, len(photos[0]))
    columns = fit_widths([batch.shape[1:] for batch in [*photos, *photos[1:] * (comparison is not None), *visible]], PROJECTION_HEIGHT)
    n_pairs, rows = len(photos[0]), [PROJECTION_HEIGHT] * len(photos[0]) + [0.13]
    figure = Figure(figsize=(sum(columns), (PROJECTION_HEIGHT + 0.45) * n_pairs + 0.9), layout="compressed", dpi=110)
    figure.suptitle(escape_text(title))
    axes = figure.subplots(n_pairs + 1, len(columns), squeeze=False, height_ratios=rows, width_ratios=columns)
    hide_frames(axes[:-1])
    _draw_signal(axes[:, 0], photos[0], signal)
    _draw_overlays(axes[:, 1], photos[1], heats, find_scale([heats]), "similarity", "retrieved:\nthe projection")
    if comparison is not None:
        _draw_labels(axes[:, 2], photos[1], *comparison)
    for column, batch, name in zip(axes.T[-2:], visible, SIDES, strict=False):
        for panel, photo in zip(column, batch, strict=False):
            draw_photo(panel, photo, f"{name}:\nvisible pixels")
        column[-1].set_axis_off()
    return figure


def _draw_signal(column: np.ndarray, photos: np.ndarray, signal: Array) -> None:
    """Photos below their attention, with its colour bar; or photos in which only the label has colours."""
    values = detach_to_cpu(signal)
    if values.dtype == torch.bool:
        labels = check_mask(values, torch.Size(photos.shape[:3]), "a label as signal", values.device).numpy()
        _draw_labels(column, photos, labels, labels, ["query:\nthe label"] * len(photos))
        return
    heats = resize_maps(values, photos, "signal")
    _draw_overlays(column, photos, heats, find_scale([heats]), "attention", "query:\nthe attention", ATTENTION)


def _compare_labels(heats: np.ndarray, mask: Mask, void: Mask) -> tuple[np.ndarray, np.ndarray, list[str]] | None:
    """The pixels found, the true label, and titles with their intersections over unions; None without a true label."""
    if mask is None:
        if void is not None:
            raise ValueError("Expected a mask together with void, got only void. Pass the true label as `mask`.")
        return None
    label = detach_to_cpu(mask)
    propagation = label_propagation(torch.from_numpy(heats), label, None if void is None else detach_to_cpu(void))
    titles = [f"found, true outline:\nIoU {overlap:.2f}" for overlap in propagation.foreground_iou.tolist()]
    return propagation.kept.numpy(), label.numpy(), titles


def _draw_labels(column: np.ndarray, photos: np.ndarray, inside: np.ndarray, labels: np.ndarray, titles: Sequence[str]) -> None:
    """Photos in which only the pixels inside have colours, and the outlines of labels."""
    for panel, photo, pixels, label, title in zip(column, photos, inside, labels, titles, strict=False):
        draw_photo(panel, np.where(pixels[..., None], photo, fade_to_grey(photo)), title)
        draw_outline(panel, label, LABEL)
    column[-1].set_axis_off()


def _check_censored(censored: Pair | None, n_pairs: int) -> list[np.ndarray]:
    if censored is None:
        return []
    photos = check_photo_batches(censored, ("censored query", "censored retrieved"))
    if len(photos[0]) != n_pairs:
        raise ValueError(f"Expected censored photos of {n_pairs} pairs, as in `images`, got {len(photos[0])}. Pass the same batch.")
    return photos
