"""Projection of attention or of a label from the query to the retrieved photo (Figures 4 and 6 of the paper)."""

import numpy as np
import torch
from matplotlib.figure import Figure

from captum_pairwise.metrics.pixels import check_mask
from captum_pairwise.metrics.propagation import LabelPropagation, label_propagation
from captum_pairwise.results.interactions import SIDES
from captum_pairwise.visualization.labels import escape_text
from captum_pairwise.visualization.overlays import fade_to_grey, overlay, resize_maps
from captum_pairwise.visualization.parts import draw_outline
from captum_pairwise.visualization.photos import Array, check_photo_batches, compute_widths, detach_to_cpu, draw_photo, hide_frames
from captum_pairwise.visualization.scales import SIGNED, draw_bar_in, find_scale

ATTENTION = "PuOr_r"  # a different colour map than that of similarity
LABEL = "#E69F00"
HEIGHT = 2.8  # inches of a photo
BAR = 0.13  # inches of a bar's height


def projection_figure(
    images: tuple[Array, Array],
    signal: Array,
    projected: Array,
    mask: Array | None = None,
    censored: tuple[Array, Array] | None = None,
    *,
    void: Array | None = None,
    title: str = "",
) -> Figure:
    """Draw one row for each pair of a batch: the query with a signal, and the retrieved photo with its projection.

    Args:
        images: the photos `(query, retrieved)`, each RGB `[B, 3, H, W]` in [0, 1].
        signal: of the query: attention `[B, C, h, w]` or `[B, h, w]`, or a boolean label of the size of the photo.
        projected: the projection on the retrieved photo, as a map like attention; paint values of players with `to_pixels` first.
        mask: the true label of the retrieved photo, boolean `[B, H, W]`. One more panel compares it with the same number of pixels of the
            projection, the most important ones, as `metrics.label_propagation` does.
        censored: the photos `(query, retrieved)` in which only the label and the pixels found are visible: two more panels.
        void: pixels of the retrieved photo without a label, boolean `[B, H, W]`.
        title: the title of the figure.

    Raises:
        ValueError: an argument does not fit.
    """
    photos = check_photo_batches(images, SIDES)
    heats = resize_maps(projected, photos[1], "projected")
    comparison = _compare_labels(heats, mask, void)
    visible = _check_censored(censored, len(photos[0]))
    columns = compute_widths([batch.shape[1:] for batch in [*photos, *photos[1:] * (comparison is not None), *visible]], HEIGHT)
    n_pairs, rows = len(photos[0]), [HEIGHT] * len(photos[0]) + [BAR]
    figure = Figure(figsize=(sum(columns), (HEIGHT + 0.45) * n_pairs + 0.9), layout="compressed", dpi=110)
    figure.suptitle(escape_text(title))
    axes = figure.subplots(n_pairs + 1, len(columns), squeeze=False, height_ratios=rows, width_ratios=columns)
    hide_frames(axes[:-1])
    _draw_signal(axes[:, 0], photos[0], signal)
    _draw_overlays(axes[:, 1], photos[1], heats, "similarity", SIGNED, "retrieved:\nthe projection")
    if comparison is not None:
        _draw_comparison(axes[:, 2], photos[1], *comparison)
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
        for panel, photo, label in zip(column, photos, labels, strict=False):
            draw_photo(panel, np.where(label[..., None], photo, fade_to_grey(photo)), "query:\nthe label")
            draw_outline(panel, label, LABEL)
        column[-1].set_axis_off()
        return
    _draw_overlays(column, photos, resize_maps(values, photos, "signal"), "attention", ATTENTION, "query:\nthe attention")


def _draw_overlays(column: np.ndarray, photos: np.ndarray, heats: np.ndarray, unit: str, colours: str, title: str) -> None:
    """Photos below their maps, and the colour bar of the maps."""
    scale = find_scale([heats])
    for panel, photo, heat in zip(column, photos, heats, strict=False):
        draw_photo(panel, overlay(photo, heat, scale, colours), title)
    draw_bar_in(column[-1], scale, unit, colours)


def _compare_labels(heats: np.ndarray, mask: Array | None, void: Array | None) -> tuple[LabelPropagation, np.ndarray] | None:
    """Label propagation with the true label, and the true label; None without a true label."""
    if mask is None:
        if void is not None:
            raise ValueError("Expected a mask together with void, got only void. Pass the true label as `mask`.")
        return None
    label = detach_to_cpu(mask)
    return label_propagation(torch.from_numpy(heats), label, None if void is None else detach_to_cpu(void)), label.numpy()


def _draw_comparison(column: np.ndarray, photos: np.ndarray, propagation: LabelPropagation, labels: np.ndarray) -> None:
    """The pixels found in colours, the outline of the true label, and their intersection over union."""
    pixels, overlaps = propagation.kept.numpy(), propagation.foreground_iou.tolist()
    for panel, photo, inside, label, overlap in zip(column, photos, pixels, labels, overlaps, strict=False):
        draw_photo(panel, np.where(inside[..., None], photo, fade_to_grey(photo)), f"found, true outline:\nIoU {overlap:.2f}")
        draw_outline(panel, label, LABEL)
    column[-1].set_axis_off()


def _check_censored(censored: tuple[Array, Array] | None, n_pairs: int) -> list[np.ndarray]:
    if censored is None:
        return []
    photos = check_photo_batches(censored, ("censored query", "censored retrieved"))
    if len(photos[0]) != n_pairs:
        raise ValueError(f"Expected censored photos of {n_pairs} pairs, as in `images`, got {len(photos[0])}. Pass the same batch.")
    return photos
