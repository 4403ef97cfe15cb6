from collections.abc import Callable

import numpy as np
import pytest

from captum_pairwise.datasets import collage
from captum_pairwise.datasets.collage import Cutout

EARTH, SKY = (90, 60, 30), (100, 150, 250)


def picture() -> Cutout:
    """4×6 pixels of different colours, with an object of 2×3 pixels."""
    mask = np.zeros((4, 6), bool)
    mask[1:3, 2:5] = True
    return Cutout(np.arange(72, dtype=np.uint8).reshape(4, 6, 3), mask)


def object_colours(change: Callable[[Cutout], Cutout]) -> set[tuple[int, ...]]:
    """The colours of the object after a change."""
    changed = change(picture())
    return {tuple(colour) for colour in changed.pixels[changed.mask].tolist()}


@pytest.mark.parametrize("change", [collage.mirror, lambda whole: collage.crop(whole, 1, 4, 0, 5), lambda whole: collage.resize(whole, 4)])
def test_the_mask_follows_the_object(change: Callable[[Cutout], Cutout]) -> None:
    assert object_colours(change) == object_colours(lambda same: same)


def test_mirror_exchanges_left_and_right() -> None:
    mirrored = collage.mirror(picture())
    assert (mirrored.pixels[:, ::-1] == picture().pixels).all() and (mirrored.mask[:, ::-1] == picture().mask).all()


def test_recolour_changes_only_colours() -> None:
    changed = collage.recolour(picture(), 2.0, 1.0, 0.0)
    assert (changed.mask == picture().mask).all()
    assert changed.pixels[3, 5].tolist() == [138, 70, 0]


def plain_photo(height: int, width: int, colour: tuple[int, int, int]) -> np.ndarray:
    return np.broadcast_to(np.array(colour, np.uint8), (height, width, 3)).copy()


@pytest.mark.parametrize(("bottom", "left"), [(5, 3), (2, 0), (1, 1), (9, 8), (4, -1)])
def test_paste_copies_the_pixels_of_the_object(bottom: int, left: int) -> None:
    made = collage.paste(picture(), plain_photo(8, 9, SKY), height=2, bottom=bottom, left=left)
    expected, where = plain_photo(8, 9, SKY), np.zeros((8, 9), bool)
    for row in range(2):
        for column in range(3):
            y, x = bottom - 2 + row, left + column
            if 0 <= y < 8 and 0 <= x < 9:
                expected[y, x], where[y, x] = picture().pixels[1 + row, 2 + column], True
    assert (made.pixels == expected).all() and (made.mask == where).all()


def test_background_colours_do_not_leak_into_an_enlarged_object() -> None:
    where = np.zeros((8, 8), bool)
    where[2:6, 2:6] = True
    pixels = np.where(where[..., None], plain_photo(8, 8, EARTH), plain_photo(8, 8, (255, 255, 255)))
    made = collage.paste(Cutout(pixels, where), plain_photo(30, 30, EARTH), height=10, bottom=20, left=10)
    assert (made.pixels == EARTH).all() and made.mask.sum() == 100


def test_colours_inside_the_box_of_an_object_do_not_leak_into_it() -> None:
    """A red triangle in front of green, resized onto black: no pixel gets any green."""
    where = np.tri(8, dtype=bool)
    pixels = np.where(where[..., None], plain_photo(8, 8, (200, 0, 0)), plain_photo(8, 8, (0, 200, 0)))
    made = collage.paste(Cutout(pixels, where), plain_photo(30, 30, (0, 0, 0)), height=13, bottom=20, left=10)
    assert made.pixels[..., 0].max() > 150 and not made.pixels[..., 1].any()


def test_resize_keeps_the_share_of_the_object() -> None:
    where = np.zeros((60, 80), bool)
    where[10:50, 20:50] = True
    assert collage.resize(Cutout(plain_photo(60, 80, SKY), where), 30).mask.mean() == where.mean()
