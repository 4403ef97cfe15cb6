"""Why one result is more similar to the query than another (the paper's Figure 3)."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from captum_pairwise.visualization.heatmap_figure import overlay
from captum_pairwise.visualization.maps import pixel_maps
from captum_pairwise.visualization.photos import Array, frame, show, together
from captum_pairwise.visualization.scales import largest, signed_bar
from captum_pairwise.visualization.wording import plain

SIDES = ("query", "better", "worse")
WIDTH = 3.0  # inches of a photo


def counterfactual_figure(
    images: tuple[Array, ...],
    explanation: tuple[Array, ...],
    names: Sequence[str] = ("query", "better result", "worse result"),
    title: str = "",
) -> Figure:
    """Draw a batch of queries with a better and a worse result each, and below them what makes the difference, on one signed scale.

    Args:
        images: the photos `(query, better, worse)`, each RGB `[B, 3, H, W]` in [0, 1]; a batch of one is for all.
        explanation: what `captum_pairwise.counterfactual` returns, maps over the query, over the better and over the worse result.
        names: what the photos are called, for example with their similarities.
        title: a line above.

    Raises:
        ValueError: maps, names or photos do not fit.
    """
    photos = together(images, SIDES)
    if not isinstance(explanation, tuple) or len(explanation) != 3:
        raise ValueError(
            f"Expected the maps of query, better and worse result, got {type(explanation).__name__}. Pass what `counterfactual` returns."
        )
    if len(names) != 3:
        raise ValueError(f"Expected 3 names, of query, better and worse result, got {len(names)}. Name each photo.")
    heats = [pixel_maps(one, batch, f"the map of the {side}") for one, batch, side in zip(explanation, photos, SIDES, strict=True)]
    scale, n_examples = largest(heats), len(photos[0])
    height = WIDTH * max(batch.shape[1] / batch.shape[2] for batch in photos) + 0.4
    figure = Figure(figsize=(3 * WIDTH + 1.2, 2 * height * n_examples + 0.3), layout="compressed", dpi=110)
    figure.suptitle(plain(title))
    axes = figure.subplots(2 * n_examples, 3, squeeze=False)
    frame(axes)
    notes = "red: found in the better result,\nnot in the worse one", "red: what the worse result lacks", "blue: what it shows instead"
    for column, name, note, batch, heat in zip(axes.T, names, notes, photos, heats, strict=True):
        for example in range(n_examples):
            show(column[2 * example], batch[example], plain(name))
            show(column[2 * example + 1], overlay(batch[example], heat[example], scale), note)
    signed_bar(figure, axes.flat, scale)
    return figure
