"""Correspondence by colour: parts of the query lend theirs to the retrieved parts that they correspond to (Figures 1, 4)."""

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.figure import Figure

from captum_pairwise.results.interactions import Interactions
from captum_pairwise.visualization.headers import header
from captum_pairwise.visualization.heatmap_figure import greyed
from captum_pairwise.visualization.parts import PhotoParts, parts_of
from captum_pairwise.visualization.photos import Array, frame, show, widths
from captum_pairwise.visualization.position_colours import position_colours

OPACITY = 0.9  # of a colour over the photo
FULL = 0.25  # of the largest credit: what has this much has the full colour
HEIGHT, LEAST_WIDTH = 3.0, 8.5  # inches of a photo, and of what is said about it


def transfer_figure(
    interactions: Interactions, images: tuple[Array, Array], example: int = 0, title: str = "", *, least: float = 0.5
) -> Figure:
    """Draw one pair twice: as photos, and with the query's parts coloured by where they are, from which the retrieved parts take theirs.

    The colour of a retrieved part is that of the mean place of the query parts that correspond to it. Query part `i` shares its credit
    above 0 out among the retrieved parts, `w_ij = max(φ_ij, 0) / Σ_k max(φ_ik, 0)`, so that parts with much of it do not colour all others.
    Of the shares that a retrieved part gets, those count that are at least half of its largest, and weigh as much as they are. A part with
    less than a quarter of the largest credit above 0 has a paler colour, and one without any stays grey. Parts have hard edges, because
    between two of them no colour is true.

    Args:
        interactions: of parts of images, or of the cells of maps.
        images: the photos, RGB `[B, 3, H, W]` in [0, 1].
        example: which pair of the batch.
        title: a line above.
        least: the least share that counts, in parts of the largest; 0 is all, 1 only the largest.

    Raises:
        ValueError: the interactions do not know their players, `least` is not from 0 to 1, a credit is not finite, or the photos do
            not fit.
    """
    if not 0 <= least <= 1:
        raise ValueError(f"Expected least from 0 to 1, got {least}. It is in parts of the largest share.")
    query, retrieved = parts_of(interactions, images, example)
    between = interactions["between"][example].detach().cpu().double().numpy()
    places = (query.centres() + 0.5) / query.photo.shape[1::-1]
    found, strength = transferred(between, places, least)
    columns = widths([query.photo.shape, query.photo.shape, retrieved.photo.shape, retrieved.photo.shape], HEIGHT)
    figure = Figure(figsize=(max(sum(columns), LEAST_WIDTH), HEIGHT + 1.2), layout="compressed", dpi=110)
    figure.suptitle(header(interactions, example, title), size="medium")
    axes = figure.subplots(1, 4, width_ratios=columns)
    frame(axes)
    show(axes[0], query.photo, "query")
    show(axes[1], tinted(query, places, np.ones(len(places))), "a colour\nfor each place")
    show(axes[2], tinted(retrieved, found, strength), "the colours of\nwhat corresponds")
    show(axes[3], retrieved.photo, "retrieved")
    figure.supxlabel(
        "A retrieved part has the mean colour of the query parts that share most of their similarity with it;\n"
        "the colour fades where it adds less than a quarter of the most that a part adds, and grey parts add none.",
        size="small",
    )
    return figure


def transferred(
    between: Float[np.ndarray, "query retrieved"], places: Float[np.ndarray, "query 2"], least: float
) -> tuple[Float[np.ndarray, "retrieved 2"], Float[np.ndarray, " retrieved"]]:
    """For each retrieved part the mean place of the query parts that correspond to it, and its share of the largest credit above 0."""
    there = np.isfinite(places).all(1)
    credit = np.clip(between[there], 0, None)
    shares = _of_one(credit, axis=1)
    shares = _of_one(np.where(shares >= least * shares.max(0, initial=0.0), shares, 0), axis=0)
    total = credit.sum(0)
    return shares.T @ places[there], total / (total.max(initial=0.0) or 1.0)


def _of_one(amounts: np.ndarray, axis: int) -> np.ndarray:
    """Amounts as shares of their sum; 0 where there are none."""
    total = amounts.sum(axis, keepdims=True)
    return amounts / np.where(total > 0, total, 1)


def tinted(
    parts: PhotoParts, places: Float[np.ndarray, "players 2"], strength: Float[np.ndarray, " players"]
) -> Float[np.ndarray, "height width 3"]:
    """A photo whose parts have the colours of places, and stay grey where these have no strength."""
    colours = position_colours(np.nan_to_num(places))
    red, green, blue = (parts.painted(torch.from_numpy(channel.copy())) for channel in colours.T)
    opacity = OPACITY * np.clip(parts.painted(torch.from_numpy(strength))[..., None] / FULL, 0, 1)
    return (1 - opacity) * greyed(parts.photo) + opacity * np.stack([red, green, blue], -1)
