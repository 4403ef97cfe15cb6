"""Untrusted lists of pairs: no path leads out of the folder, damaged lists give a clear message, and memory does not grow."""

import os
import tracemalloc
from pathlib import Path

import pytest
from conftest import assert_refused
from data_sets import make_coco, make_products, make_voc

from captum_pairwise.datasets import Pair, coco, iterate_pairs, read_pairs, stanford_online_products, voc, write_pairs
from captum_pairwise.datasets.__main__ import write_pair_list


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with one image, next to a secret file."""
    (tmp_path / "secret.jpg").touch()
    (tmp_path / "data" / "sub").mkdir(parents=True)
    (tmp_path / "data" / "a.jpg").touch()
    return tmp_path / "data"


def write_list(folder: Path, content: str | bytes) -> Path:
    (folder / "pairs.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / "pairs.csv"


def assert_list_refused(folder: Path, content: str | bytes, sentence: str) -> None:
    file = write_list(folder, content)
    assert_refused(lambda: read_pairs(file), f"{sentence}.*Look at .*line [0-9]+ of .*pairs.csv")


ODD = {
    "latin-1": ("query,retrieved\nKätzchen.jpg,a.jpg\n".encode("latin-1"), "text in UTF-8, got other bytes.*Save it as UTF-8"),
    "utf-16": ("query,retrieved\na.jpg,a.jpg\n".encode("utf-16"), "text in UTF-8, got other bytes"),
    "utf-16 without a mark": ("query,retrieved\na.jpg,a.jpg\n".encode("utf-16-le"), "columns query,.* got .*Save it as UTF-8"),
    "a photo": (bytes(range(256)), "text in UTF-8, got other bytes"),
    "NUL in a name": ("query,retrieved\na\0.jpg,a.jpg\n", r"Expected .* got .*(a\\x00\.jpg|NUL)"),
    "NUL for a row": ("query,retrieved\n\0\0\0\n", "Expected .* got"),
    "a name of 5000 letters": (f"query,retrieved\n{'a' * 5000},a.jpg\n", "a file at .*, got none"),
    "a cell of 200 000 letters": (f"query,retrieved\n{'a' * 200_000},a.jpg\n", "quoted if they hold a comma, got a damaged row"),
    "a line without an end": ("a" * (2**20 + 1), "lines of at most 1048576 characters, got a longer line"),
    "a quote without an end": ('query,retrieved\n"a.jpg,a.jpg\n', "got a damaged row"),
    "a label of 5000 digits": (f"query,retrieved,label\na.jpg,a.jpg,{'9' * 5000}\n", "a label from 0 to 254, or nothing, got '9"),
    "a label in other digits": ("query,retrieved,label\na.jpg,a.jpg,٣\n", "a label from 0 to 254, or nothing, got '٣'"),
    "a folder": ("query,retrieved\nsub,a.jpg\n", "a file at .*sub, got none"),
    "another list": ("name;path\n", "the columns query,retrieved,.* got 'name;path'"),
}


@pytest.mark.parametrize("odd", ODD)
def test_odd_bytes_in_a_list_give_a_clear_message(folder, odd):
    assert_list_refused(folder, *ODD[odd])


@pytest.mark.parametrize("column", ["query", "retrieved", "query_mask", "retrieved_mask"])
@pytest.mark.parametrize("path", ["../secret.jpg", "sub/../../secret.jpg", "/etc/passwd", "a.jpg/../../secret.jpg"])
@pytest.mark.parametrize("check", [True, False])
def test_no_path_leads_out_of_the_root(folder, column, path, check):
    row = {"query": "a.jpg", "retrieved": "a.jpg"} | {column: path}
    file = write_list(folder, f"{','.join(row)}\n{','.join(row.values())}\n")
    assert_refused(lambda: read_pairs(file, check=check), f"a path inside the root, relative to it and without '..', got '{path}'")


@pytest.mark.parametrize("link", ["link.jpg", "way/secret.jpg"])
def test_no_link_leads_out_of_the_root(folder, link):
    (folder / "link.jpg").symlink_to("../secret.jpg")
    (folder / "way").symlink_to(folder.parent)
    assert_list_refused(
        folder, f"query,retrieved\n{link},a.jpg\n", "to lie inside the root, got a link to .*secret.jpg. Copy the file, or pass"
    )
    pairs = [Pair(folder / link, folder / "a.jpg")]
    assert_refused(lambda: write_pairs(pairs, folder / "new.csv"), "to lie inside the root, got a link to .*secret.jpg")
    assert not (folder / "new.csv").exists()


def test_links_inside_the_root_and_to_the_root_are_followed(folder, monkeypatch):
    (folder / "link.jpg").symlink_to("a.jpg")
    (folder / "way").symlink_to("sub")
    (folder / "sub" / "b.jpg").touch()
    (folder.parent / "root").symlink_to("data")
    text = "query,retrieved\nlink.jpg,way/b.jpg\n"
    for root in (folder, folder.parent / "root"):
        assert read_pairs(write_list(folder, text), root) == [Pair(root / "link.jpg", root / "way/b.jpg")]
    monkeypatch.chdir(folder)
    assert read_pairs("pairs.csv") == [Pair(Path("link.jpg"), Path("way/b.jpg"))]
    monkeypatch.chdir(folder.parent)
    assert read_pairs("data/pairs.csv", "root") == [Pair(Path("root/link.jpg"), Path("root/way/b.jpg"))]


def test_a_relative_folder_depends_on_the_current_folder(tmp_path, monkeypatch):
    """The same relative name in two current folders; in one of them it is a link out of the root."""
    for here in ("one", "two"):
        (tmp_path / here / "data").mkdir(parents=True)
        (tmp_path / here / "data" / "pairs.csv").write_text("query,retrieved\nsub/a.jpg,sub/a.jpg\n")
    (tmp_path / "one" / "data" / "sub").mkdir()
    (tmp_path / "one" / "data" / "sub" / "a.jpg").touch()
    (tmp_path / "two" / "data" / "sub").symlink_to(tmp_path / "one" / "data" / "sub")
    monkeypatch.chdir(tmp_path / "one")
    assert len(read_pairs("data/pairs.csv")) == 1
    monkeypatch.chdir(tmp_path / "two")
    assert_refused(lambda: read_pairs("data/pairs.csv"), "to lie inside the root, got a link to .*one/data/sub/a.jpg")


def test_names_that_are_not_text_are_refused(folder):
    name = os.fsdecode(b"\xff.jpg")
    assert_refused(lambda: write_pairs([Pair(folder / name, folder / "a.jpg")], folder / "new.csv"), "written in UTF-8, got .*udcff.jpg")
    assert not (folder / "new.csv").exists()


def measure_peak(file: Path) -> int:
    tracemalloc.start()
    for _ in iterate_pairs(file, check=False):
        pass
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def test_memory_does_not_grow_with_the_list(folder):
    """Ten times the rows need the same peak of memory."""
    few = measure_peak(write_list(folder, "query,retrieved\n" + "a.jpg,a.jpg\n" * 200))
    many = measure_peak(write_list(folder, "query,retrieved\n" + "a.jpg,a.jpg\n" * 2000))
    assert many < few + 2**15  # a list of all rows would take twenty times as much


# data sets in official layouts


def test_lists_of_data_sets_do_not_lead_out_of_the_root(tmp_path):
    products = make_products(tmp_path / "products")
    for path in ("../secret.JPG", "/etc/passwd"):
        (products / "Ebay_train.txt").write_text(f"image_id class_id super_class_id path\n1 1 1 {path}\n")
        assert_refused(lambda: stanford_online_products(products, "train"), "a path inside the root, .* without '..', got")
    split = make_voc(tmp_path / "voc") / "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt"
    split.write_text("../../../../secret\n")
    assert_refused(lambda: voc(tmp_path / "voc", "train"), "a path inside the root, .* without '..', got .*secret")


@pytest.mark.parametrize("line", ["x 1 1 a.JPG", "1 ² 1 a.JPG", "1 1 1", "1 1 1 a b.JPG"])
def test_a_damaged_table_of_products_is_refused(tmp_path, line):
    (make_products(tmp_path) / "Ebay_train.txt").write_text(f"image_id class_id super_class_id path\n{line}\n", encoding="utf-8")
    assert_refused(lambda: stanford_online_products(tmp_path, "train"), f"Ebay_train.txt, and a value for each in every line, got {line}")


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_lists_in_another_encoding_are_refused(tmp_path, encoding):
    other = "1: Kätzchen\n".encode(encoding)
    (make_products(tmp_path) / "Ebay_train.txt").write_bytes(other)
    assert_refused(lambda: stanford_online_products(tmp_path, "train"), "Ebay_train.txt to be a text in UTF-8, got other bytes")
    (make_coco(tmp_path) / "labels.txt").write_bytes(other)
    assert_refused(lambda: coco(tmp_path, "train"), "labels.txt to be a text in UTF-8, got other bytes")
    (make_voc(tmp_path) / "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt").write_bytes(other)
    assert_refused(lambda: voc(tmp_path, "train"), "ImageSets/Segmentation/train.txt, .*got something else")


@pytest.mark.parametrize("line", ["²: person", "person", "1:", "-1: person"])
def test_damaged_names_of_labels_are_refused(tmp_path, line):
    (make_coco(tmp_path) / "labels.txt").write_text(f"{line}\n", encoding="utf-8")
    assert_refused(lambda: coco(tmp_path, "train"), "lines like '1: person' in .*labels.txt, got ")


def test_mining_refuses_a_list_before_it_computes(tmp_path, capsys, monkeypatch):
    make_voc(tmp_path / "elsewhere")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "VOCdevkit").symlink_to(tmp_path / "elsewhere" / "VOCdevkit")
    monkeypatch.setattr("captum_pairwise.datasets.__main__.conditional_nearest_neighbours", lambda *_, **__: pytest.fail("it computed"))
    with pytest.warns(UserWarning, match="random weights"), pytest.raises(SystemExit):
        write_pair_list(["voc", "--root", str(tmp_path / "root"), "--backbone", "resnet50", "--out", str(tmp_path / "root" / "pairs.csv")])
    assert "to lie inside the root, got a link to" in capsys.readouterr().err
