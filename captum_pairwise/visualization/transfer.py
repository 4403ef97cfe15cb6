"""Correspondence by colour: parts of the query lend theirs to the retrieved parts that they correspond to (Figures 1, 4)."""

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.figure import Figure

from captum_pairwise.interactions import Interactions
from captum_pairwise.visualization.headers import header
from captum_pairwise.visualization.heatmaps import greyed
from captum_pairwise.visualization.parts import PhotoParts, parts_of
from captum_pairwise.visualization.photos import Array, frame, show
from captum_pairwise.visualization.position_colours import position_colours

OPACITY = 0.85  # of a colour over the photo
WIDTH = 3.0  # inches of a photo


def transfer_figure(interactions: Interactions, images: tuple[Array, Array], example: int = 0, title: str = "") -> Figure:
    """Draw one pair twice: as photos, and with the query's parts coloured by where they are, from which the retrieved parts take theirs.

    The colour of a retrieved part is that of the mean place of the query's parts, weighted by their credit above 0 with it. The more
    such credit, the stronger the colour; a part without any stays grey. Parts have hard edges, as between two of them no colour is true.

    Args:
        interactions: of parts of images, or of the cells of maps.
        images: the photos, RGB `[B, 3, H, W]` in [0, 1].
        example: which pair of the batch.
        title: a line above.

    Raises:
        ValueError: the interactions do not know their players, or the photos do not fit.
    """
    query, retrieved = parts_of(interactions, images, example)
    between = interactions["between"][example].detach().cpu().double().numpy()
    height, width = query.photo.shape[:2]
    places = (query.centres() + 0.5) / (width, height)
    found, strength = transferred(between, places)
    figure = Figure(figsize=(4 * WIDTH, WIDTH * height / width + 1.3), layout="constrained", dpi=110)
    figure.suptitle(header(interactions, example, title), size="medium")
    axes = figure.subplots(1, 4)
    frame(axes)
    show(axes[0], query.photo, "query")
    show(axes[1], tinted(query, places, np.ones(len(places))), "a colour for each place in the query")
    show(axes[2], tinted(retrieved, found, strength), "the colours of what corresponds to it")
    show(axes[3], retrieved.photo, "retrieved")
    figure.supxlabel(
        "A retrieved part has the mean colour of the query parts with which it adds similarity;\n"
        "the more it adds, the stronger the colour. Grey parts add none.",
        size="small",
    )
    return figure


def transferred(
    between: Float[np.ndarray, "query retrieved"], places: Float[np.ndarray, "query 2"]
) -> tuple[Float[np.ndarray, "retrieved 2"], Float[np.ndarray, " retrieved"]]:
    """For each retrieved part the mean place of its query parts, weighted by credit above 0, and its share of the largest such credit."""
    there = np.isfinite(places).all(1)
    weights = np.clip(between[there], 0, None)
    total = weights.sum(0)
    weights = weights / np.where(total > 0, total, 1)
    return weights.T @ places[there], total / (total.max(initial=0.0) or 1.0)


def tinted(
    parts: PhotoParts, places: Float[np.ndarray, "players 2"], strength: Float[np.ndarray, " players"]
) -> Float[np.ndarray, "height width 3"]:
    """A photo whose parts have the colours of places, and stay grey where these have no strength."""
    colours = position_colours(np.nan_to_num(places))
    red, green, blue = (parts.painted(torch.from_numpy(channel.copy())) for channel in colours.T)
    opacity = OPACITY * parts.painted(torch.from_numpy(strength))[..., None] ** 0.5
    return (1 - opacity) * greyed(parts.photo) + opacity * np.stack([red, green, blue], -1)
