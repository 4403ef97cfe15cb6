"""One figure that explains one pair: both photos, both maps, and where parts of the query are found again."""

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from torch import Tensor

from captum_pairwise.interactions import Interactions
from captum_pairwise.players import Players
from captum_pairwise.visualization.heatmaps import SIGNED, overlay, to_pixels

PART_COLOURS = ["#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#0072B2"]  # Okabe and Ito, for the colour-blind


def strongest_parts(between: Float[Tensor, "query retrieved"], n_parts: int) -> list[tuple[int, int]]:
    """Query players with the strongest match each, `(query player, its match)`, no two with the same match.

    >>> strongest_parts(torch.tensor([[3.0, 1.0], [2.0, 0.0], [0.0, 1.0]]), 2)
    [(0, 0), (2, 1)]
    """
    strength, match = between.max(1)
    parts: dict[int, int] = {}
    for player in strength.argsort(descending=True).tolist():
        parts.setdefault(int(match[player]), player)
    return [(player, found) for found, player in parts.items()][:n_parts]


def pair_figure(interactions: Interactions, images: tuple[Tensor, Tensor], n_parts: int = 4, example: int = 0, title: str = "") -> Figure:
    """Draw one pair: the photos and their maps above; below, the map that each of the strongest query parts projects on the other.

    Both maps of the upper row share one scale, as do those of the lower one. Parts have a number and a colour, the same on both
    photos: on the query where the part is, on the retrieved photo where its strongest match is.

    Args:
        interactions: of parts of images, or of the cells of maps.
        images: the photos, RGB `[B, 3, H, W]` in [0, 1].
        n_parts: how many query parts to follow, at most 6.
        example: which pair of the batch.
        title: a line above.

    Raises:
        ValueError: the interactions do not know their players, `n_parts` is not from 1 to 6, or a photo is not in [0, 1].
    """
    if not 1 <= n_parts <= len(PART_COLOURS):
        raise ValueError(f"Expected n_parts from 1 to {len(PART_COLOURS)}, got {n_parts}.")
    places = places_of(interactions)
    photos = [to_photo(batch[example]) for batch in images]
    parts = strongest_parts(interactions["between"][example], n_parts)
    columns = max(4, len(parts))
    figure = Figure(figsize=(3 * columns, 6.8), layout="constrained", dpi=110)
    figure.suptitle(title)
    axes = figure.subplots(2, columns)
    for panel in axes.flat:
        panel.set_axis_off()
    _draw_first_order(figure, axes[0, :4], interactions, photos, example)
    _draw_marks(axes[0, 0], [query for query, _ in parts], places[0], photos[0], example)
    _draw_marks(axes[0, 3], [found for _, found in parts], places[1], photos[1], example)
    _draw_projections(axes[1], interactions, photos[1], parts, example)
    brought = interactions.full - interactions.empty
    figure.supxlabel(
        f"Credit is relative to the baselines (by default a blur): red parts add similarity over them, blue parts take it away; in all "
        f"{brought[example]:+.4f}, {uncertainty(interactions, example)}.\nBelow: only credit above 0, all on one scale.",
        size="small",
    )
    return figure


def uncertainty(interactions: Interactions, example: int) -> str:
    """What is not known of the heat maps: what they miss in all, and how far a part may be off."""
    missing = round(interactions.completeness_gap[example].item(), 4) + 0.0  # not "-0.0000"
    gap, errors = f"completeness gap {missing:+.4f}", interactions.standard_error
    if errors is None or errors.marginal is None:
        return gap
    return f"{gap}, standard error of a part {errors.marginal[example].square().mean().sqrt():.4f}"


def places_of(interactions: Interactions) -> tuple[Players, Players]:
    """Where the players of both images are.

    Raises:
        ValueError: the interactions do not know.
    """
    query, retrieved = interactions.query_players, interactions.retrieved_players
    if query is None or retrieved is None:
        raise ValueError("Expected interactions that know where their players are, as `interactions(...)` of a method returns them.")
    return query, retrieved


def to_photo(image: Tensor) -> np.ndarray:
    """One image as an array `[H, W, 3]`.

    Raises:
        ValueError: it is not in [0, 1].
    """
    if image.min() < -0.01 or image.max() > 1.01:
        raise ValueError(
            f"Expected photos in [0, 1], got values from {image.min():.2f} to {image.max():.2f}. Undo the "
            "normalisation, or let the encoder do it."
        )
    return image.detach().cpu().double().clamp(0, 1).permute(1, 2, 0).numpy()


def heat(values: Tensor, players: Players, photo: np.ndarray) -> np.ndarray:
    """Credits spread over the pixels of a photo, `[B, H, W]`."""
    return to_pixels(values, players, (photo.shape[0], photo.shape[1])).cpu().double().numpy()


def _draw_first_order(figure: Figure, axes: np.ndarray, interactions: Interactions, photos: list[np.ndarray], example: int) -> None:
    places = places_of(interactions)
    query = heat(interactions.query_marginal, places[0], photos[0])[example]
    retrieved = heat(interactions.retrieved_marginal, places[1], photos[1])[example]
    scale = float(max(np.abs(query).max(), np.abs(retrieved).max())) or 1.0
    axes[0].imshow(photos[0])
    axes[1].imshow(overlay(photos[0], query, scale))
    axes[2].imshow(overlay(photos[1], retrieved, scale))
    axes[3].imshow(photos[1])
    for panel, name in zip(axes, ("query", "credit of each part", "credit of each part", "retrieved"), strict=True):
        panel.set_title(name)
    colours = ScalarMappable(Normalize(-scale, scale), SIGNED)
    figure.colorbar(colours, ax=list(axes), shrink=0.7, label="similarity")


def _draw_marks(panel: Axes, numbered: list[int], players: Players, photo: np.ndarray, example: int) -> None:
    """Outline each player, and number it at its middle."""
    for number, (player, colour) in enumerate(zip(numbered, PART_COLOURS, strict=False), start=1):
        chosen = torch.zeros(len(players.ids), players.n_players)
        chosen[:, player] = 1
        flat = Players(players.ids.cpu(), (players.n_players,))  # with hard edges, also for cells
        inside = heat(chosen, flat, photo)[example]
        rows, columns = np.nonzero(inside > 0.5)
        panel.contour(inside, [0.5], colors=[colour], linewidths=2.5)
        panel.text(
            columns.mean(),
            rows.mean(),
            str(number),
            color="white",
            ha="center",
            va="center",
            weight="bold",
            bbox={"boxstyle": "circle", "facecolor": colour, "edgecolor": "white"},
        )


def _draw_projections(axes: np.ndarray, interactions: Interactions, photo: np.ndarray, parts: list[tuple[int, int]], example: int) -> None:
    between, (_, place) = interactions["between"], places_of(interactions)
    rows = [heat(between[:, query], place, photo)[example] for query, _ in parts]
    rows = [np.clip(row, 0, None) for row in rows]  # where a part is found, not where it is contradicted
    scale = max(float(row.max()) for row in rows)
    for panel, row, number, colour in zip(axes, rows, range(1, len(rows) + 1), PART_COLOURS, strict=False):
        palette = LinearSegmentedColormap.from_list("part", ["white", "white", colour])
        panel.imshow(overlay(photo, row, scale, palette))
        panel.set_title(f"where part {number} is found", color=colour, weight="bold")
