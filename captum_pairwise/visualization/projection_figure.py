"""Where attention or a label of the query lands in the retrieved photo (Figures 4 and 6)."""

import numpy as np
import torch
from matplotlib.figure import Figure

from captum_pairwise.metrics.pixels import checked_mask
from captum_pairwise.metrics.propagation import LabelPropagation, label_propagation
from captum_pairwise.results.interactions import SIDES
from captum_pairwise.visualization.heatmap_figure import greyed, overlay
from captum_pairwise.visualization.maps import pixel_maps
from captum_pairwise.visualization.parts import outline
from captum_pairwise.visualization.photos import Array, as_tensor, frame, show, together, widths
from captum_pairwise.visualization.scales import bar_in, largest
from captum_pairwise.visualization.wording import plain

SIGNAL = "PuOr_r"  # another than that of similarity
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
    """Draw a row for each pair of a batch: the query with a signal, and the retrieved photo with what is projected on it.

    Args:
        images: the photos `(query, retrieved)`, each RGB `[B, 3, H, W]` in [0, 1].
        signal: of the query, attention `[B, C, h, w]` or `[B, h, w]`, or a label, which is boolean and as large as the photo.
        projected: what lands in the retrieved photo, as a map like attention; lay numbers of players out with `to_pixels`.
        mask: the true label of the retrieved photo, boolean `[B, H, W]`: one more panel compares it with as many pixels of the projection,
            the most important ones, as `metrics.label_propagation` does.
        censored: the photos in which only what was found is left: two more panels.
        void: pixels of the retrieved photo without a label, boolean `[B, H, W]`.
        title: a line above.

    Raises:
        ValueError: an argument does not fit.
    """
    photos = together(images, SIDES)
    heats = pixel_maps(projected, photos[1], "projected")
    found = _found(heats, mask, void)
    kept = [] if censored is None else together(censored, ("censored query", "censored retrieved"))
    _refuse_other_number(kept, len(photos[0]))
    columns = widths([batch.shape[1:] for batch in [*photos, *photos[1:] * (found is not None), *kept]], HEIGHT)
    n_pairs, rows = len(photos[0]), [HEIGHT] * len(photos[0]) + [BAR]
    figure = Figure(figsize=(sum(columns), (HEIGHT + 0.45) * n_pairs + 0.9), layout="compressed", dpi=110)
    figure.suptitle(plain(title))
    axes = figure.subplots(n_pairs + 1, len(columns), squeeze=False, height_ratios=rows, width_ratios=columns)
    frame(axes[:-1])
    for panel in axes[-1, 2:]:
        panel.set_axis_off()
    _draw_signal(axes[:, 0], photos[0], signal)
    scale = largest([heats])
    for panel, photo, heat in zip(axes[:, 1], photos[1], heats, strict=False):
        show(panel, overlay(photo, heat, scale), "retrieved:\nwhere it lands")
    bar_in(axes[-1, 1], scale)
    if found is not None:
        _draw_comparison(axes[:, 2], photos[1], *found)
    for column, batch, name in zip(axes.T[-2:], kept, SIDES, strict=False):
        for panel, photo in zip(column, batch, strict=False):
            show(panel, photo, f"{name}:\nwhat is left")
    return figure


def _draw_signal(column: np.ndarray, photos: np.ndarray, signal: Array) -> None:
    """Photos under their attention, with its scale, or with their label in colour and the rest in grey."""
    values = as_tensor(signal)
    if values.dtype == torch.bool:
        labels = checked_mask(values, torch.Size(photos.shape[:3]), "a label as signal", values.device).numpy()
        for panel, photo, label in zip(column, photos, labels, strict=False):
            show(panel, np.where(label[..., None], photo, greyed(photo)), "query:\nthe label")
            outline(panel, label, LABEL)
        column[-1].set_axis_off()
        return
    heats = pixel_maps(values, photos, "signal")
    scale = largest([heats])
    for panel, photo, heat in zip(column, photos, heats, strict=False):
        show(panel, overlay(photo, heat, scale, SIGNAL), "query:\nthe attention")
    bar_in(column[-1], scale, "attention", SIGNAL)


def _found(heats: np.ndarray, mask: Array | None, void: Array | None) -> tuple[LabelPropagation, np.ndarray] | None:
    """What a projection finds of a label, and the label, where there is one to compare with."""
    if mask is None:
        if void is not None:
            raise ValueError("Expected a mask with void, which says where it has no label, got none. Pass the true label as `mask`.")
        return None
    true = as_tensor(mask)
    return label_propagation(torch.from_numpy(heats), true, None if void is None else as_tensor(void)), true.numpy()


def _draw_comparison(column: np.ndarray, photos: np.ndarray, found: LabelPropagation, masks: np.ndarray) -> None:
    """What was found in colour, the true label's outline around it, and how far they are the same."""
    for panel, photo, kept, mask, iou in zip(column, photos, found.kept.numpy(), masks, found.foreground_iou.tolist(), strict=False):
        show(panel, np.where(kept[..., None], photo, greyed(photo)), f"found, true outline:\nIoU {iou:.2f}")
        outline(panel, mask, LABEL)


def _refuse_other_number(kept: list[np.ndarray], n_pairs: int) -> None:
    if kept and len(kept[0]) != n_pairs:
        raise ValueError(
            f"Expected censored photos of {n_pairs} pairs, as there are of the others, got {len(kept[0])}. Pass the same batch."
        )
