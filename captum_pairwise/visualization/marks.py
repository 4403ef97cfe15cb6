"""Outlines of numbered parts on a photo, outside the parts, with the numbers beside them."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import scipy
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from skimage import measure

from captum_pairwise.visualization.parts import PhotoParts

PART_COLOURS = ["#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#0072B2"]  # Okabe and Ito, for colour-blind readers
OUTSIDE = 0.006  # distance of an outline from its part, as a share of the photo's longer side
LABEL = 0.055  # half of the side of a number's box, as a share of the photo's longer side


def mark_parts(panel: Axes, parts: PhotoParts, numbered: Sequence[int], above: Axes | Figure | None = None) -> None:
    """Outline each player, and write its number beside it. A player without a part gets neither.

    Args:
        panel: shows the photo.
        parts: of the photo.
        numbered: the players, in the order of their numbers.
        above: where to draw the numbers; None for the panel. The figure draws them above all panels.
    """
    masks = [parts.mask(player) for player in numbered]
    taken = np.any(masks, 0) if masks else np.zeros(parts.photo.shape[:2], bool)
    for number, inside in enumerate(masks):
        if not inside.any():
            continue
        colour = PART_COLOURS[number % len(PART_COLOURS)]
        draw_outline(panel, inside, colour, 1.6, OUTSIDE * max(inside.shape))
        column, row = _place_label(inside, taken)
        box = {"boxstyle": "round,pad=0.2", "facecolor": colour, "edgecolor": "white", "linewidth": 0.8}
        style = {"color": "white", "ha": "center", "va": "center", "size": 8.5, "weight": "bold", "bbox": box, "zorder": 5}
        (above or panel).text(column, row, str(number + 1), transform=panel.transData, **style)


def _place_label(inside: np.ndarray, taken: np.ndarray) -> tuple[float, float]:
    """Middle (column, row) of a number beside its part. It is added to `taken`, the pixels that no further number may cover.

    The first place that covers least of them, above, below, to the left or to the right of the part.
    """
    rows, columns = np.nonzero(inside)
    half, (height, width) = LABEL * max(inside.shape) / 2, inside.shape
    bounds = columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5
    middle, sizes = np.array([columns.mean(), rows.mean()]), (width, height)

    def list_pixels(place: np.ndarray) -> tuple[slice, slice]:
        low, high = np.maximum(np.round(place - half), 0).astype(int), np.round(place + half).astype(int) + 1
        return slice(low[1], high[1]), slice(low[0], high[0])

    def rate(place: np.ndarray) -> float:
        is_outside = bool((place - half < -1).any() or (place + half > np.array(sizes)).any())
        return float(taken[list_pixels(place)].sum() + is_outside * inside.size)

    places = []
    for axis, direction in product((1, 0), (-1, 1)):
        place = middle.copy()
        edge = bounds[axis if direction < 0 else axis + 2]
        place[axis] = edge + direction * (half + 2 * OUTSIDE * max(inside.shape))
        places.append(place)
    best = min(places, key=rate)
    taken[list_pixels(best)] = True
    return float(best[0]), float(best[1])


def draw_outline(panel: Axes, inside: np.ndarray, colour: str, linewidth: float = 2.5, distance: float = 0.0) -> None:
    """Draw a line around an area of a photo, `distance` pixels outside it, also along the border of the photo."""
    panel.autoscale(False)
    halo = [withStroke(linewidth=linewidth + 1.2, foreground="white")]
    pad = 1 + int(np.ceil(distance))
    outside = scipy.ndimage.distance_transform_edt(np.pad(~inside, pad, constant_values=True))
    for contour in measure.find_contours(outside, 0.5 + distance):  # a pixel beside the part has distance 1, and its edge 0.5
        rows, columns = contour.T - pad
        panel.plot(columns, rows, color=colour, linewidth=linewidth, path_effects=halo, clip_on=False)
