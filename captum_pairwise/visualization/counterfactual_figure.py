"""Differences between two results for one query (Figure 3 of the paper)."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from captum_pairwise.visualization.labels import escape_text
from captum_pairwise.visualization.overlays import overlay, resize_maps
from captum_pairwise.visualization.photos import Array, check_photo_batches, draw_photo, hide_frames
from captum_pairwise.visualization.scales import draw_bar_beside, find_scale

ROLES = ("query", "better", "worse")
WIDTH = 3.0  # inches of a photo


def counterfactual_figure(
    images: tuple[Array, ...],
    explanation: tuple[Array, ...],
    names: Sequence[str] = ("query", "better result", "worse result"),
    title: str = "",
) -> Figure:
    """Draw a batch of queries, each with a better and a worse result, and below them the maps of `counterfactual` on one signed scale.

    Args:
        images: the photos `(query, better, worse)`, each RGB `[B, 3, H, W]` in [0, 1]; a batch of one photo is repeated.
        explanation: the result of `captum_pairwise.counterfactual`: maps over the query, the better and the worse result.
        names: the titles of the photos, for example with their similarities.
        title: the title of the figure.

    Raises:
        ValueError: maps, names or photos do not fit.
    """
    photos = check_photo_batches(images, ROLES)
    if not isinstance(explanation, tuple) or len(explanation) != 3:
        raise ValueError(
            f"Expected the maps of query, better and worse result, got {type(explanation).__name__}. Pass the result of `counterfactual`."
        )
    if len(names) != 3:
        raise ValueError(f"Expected 3 names, of query, better and worse result, got {len(names)}. Name each photo.")
    heats = [resize_maps(maps, batch, f"the map of the {role}") for maps, batch, role in zip(explanation, photos, ROLES, strict=True)]
    scale, n_examples = find_scale(heats), len(photos[0])
    height = WIDTH * max(batch.shape[1] / batch.shape[2] for batch in photos) + 0.4
    figure = Figure(figsize=(3 * WIDTH + 1.2, 2 * height * n_examples + 0.3), layout="compressed", dpi=110)
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
