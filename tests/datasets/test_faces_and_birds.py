"""Labelled Faces in the Wild and CUB-200-2011, in tiny folders of their layouts."""

import pytest
from data_sets import save_photo

from captum_pairwise.datasets import LabelledImage, Pair, cub, lfw


def make_lfw(root, line="Ann_B\t1\t2"):
    for name, number in (("Ann_B", 1), ("Ann_B", 2), ("Cy_D", 1)):
        save_photo(root / f"lfw/{name}/{name}_{number:04}.jpg", number)
    (root / "pairs.txt").write_text(f"10\t300\n{line}\nAnn_B\t2\tCy_D\t1\n")
    return root


def make_cub(root, label="2"):
    for number, path in enumerate(("001.Crow/a.jpg", "002.Gull/b.jpg", "002.Gull/c.jpg")):
        save_photo(root / "images" / path, number)
    (root / "images.txt").write_text("1 001.Crow/a.jpg\n2 002.Gull/b.jpg\n3 002.Gull/c.jpg\n")
    (root / "image_class_labels.txt").write_text(f"1 1\n2 2\n3 {label}\n")
    (root / "train_test_split.txt").write_text("1 1\n2 0\n3 1\n")
    (root / "classes.txt").write_text("1 001.Crow\n2 002.Gull\n")
    return root


def test_pairs_of_faces_are_of_one_person_or_of_two(tmp_path):
    faces = make_lfw(tmp_path) / "lfw"
    assert lfw(tmp_path) == [Pair(faces / "Ann_B/Ann_B_0001.jpg", faces / "Ann_B/Ann_B_0002.jpg", "Ann_B")]
    assert lfw(tmp_path, "mismatched") == [Pair(faces / "Ann_B/Ann_B_0002.jpg", faces / "Cy_D/Cy_D_0001.jpg")]


def test_the_label_of_a_bird_is_its_species(tmp_path):
    train, test = (cub(make_cub(tmp_path), split) for split in ("train", "test"))
    images = tmp_path / "images"
    assert train.images == (LabelledImage(images / "001.Crow/a.jpg", label=1), LabelledImage(images / "002.Gull/c.jpg", label=2))
    assert test.images == (LabelledImage(images / "002.Gull/b.jpg", label=2),) and test.names == {1: "Crow", 2: "Gull"}


@pytest.mark.parametrize("line", ["Ann_B 1", "Ann_B one 2", "Ann_B 1 Cy_D one"])
def test_damaged_lists_of_faces_are_refused(tmp_path, line):
    with pytest.raises(ValueError, match="lines like 'Name 1 4'"):
        lfw(make_lfw(tmp_path, line))


def test_missing_files_and_unknown_splits_are_refused(tmp_path):
    for call, message in (
        (lambda: lfw(tmp_path), "Expected .*pairs.txt"),
        (lambda: lfw(tmp_path, "all"), "kind to be one of"),
        (lambda: cub(tmp_path, "train"), "Expected .*images.txt"),
        (lambda: cub(tmp_path, "val"), "split out of"),
        (lambda: cub(make_cub(tmp_path, label="3"), "train"), "a label and a split for every image"),
        (lambda: cub(make_cub(tmp_path, label=""), "train"), "a number and a value in every line"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    (make_cub(tmp_path) / "images/001.Crow/a.jpg").unlink()
    with pytest.raises(ValueError, match=r"a file at .*a.jpg, got none \(1 are missing\)"):
        cub(tmp_path, "train")
