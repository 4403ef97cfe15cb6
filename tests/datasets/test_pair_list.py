from dataclasses import replace
from pathlib import Path

import pytest

from captum_pairwise.datasets import Pair, iterate_pairs, read_pairs, write_pairs

NAMES = ["plain.jpg", "with, comma.jpg", 'with "quotes".jpg', "Kätzchen 猫 😀.jpg", " spaces .jpg", "sub folder/deep, er.jpg"]


def pairs_in(folder: Path, names: list[str]) -> list[Pair]:
    """Pairs of each image and the next one, with all, some or none of the optional values."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    files = [folder / name for name in names]
    plain = [Pair(query, retrieved) for query, retrieved in zip(files, files[1:] + files[:1], strict=True)]
    full = [replace(pair, category='a "cat", 猫', query_mask=pair.retrieved, retrieved_mask=pair.query, label=0) for pair in plain]
    return [*plain, *full, replace(plain[0], query_mask=files[1], label=254)]


def write_list(folder: Path, *lines: str) -> Path:
    (folder / "a.jpg").touch()
    (folder / "pairs.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "pairs.csv"


def test_written_pairs_are_read_back(tmp_path):
    pairs = pairs_in(tmp_path, NAMES)
    write_pairs(pairs, tmp_path / "pairs.csv")
    assert read_pairs(tmp_path / "pairs.csv") == pairs == list(iterate_pairs(str(tmp_path / "pairs.csv")))
    assert str(tmp_path) not in (tmp_path / "pairs.csv").read_text("utf-8")


def test_the_root_may_be_another_folder_and_may_move(tmp_path, monkeypatch):
    pairs = pairs_in(tmp_path / "images", NAMES)
    write_pairs(pairs, tmp_path / "new/lists/pairs.csv", tmp_path / "images")
    assert read_pairs(tmp_path / "new/lists/pairs.csv", tmp_path / "images") == pairs
    (tmp_path / "images").rename(tmp_path / "moved")
    moved = read_pairs(tmp_path / "new/lists/pairs.csv", tmp_path / "moved")
    assert [pair.query.relative_to(tmp_path / "moved") for pair in moved] == [p.query.relative_to(tmp_path / "images") for p in pairs]
    monkeypatch.chdir(tmp_path)
    write_pairs([Pair(Path("moved/plain.jpg"), Path("moved/../moved/plain.jpg"))], "pairs.csv", "moved")
    assert read_pairs("pairs.csv", "moved") == [Pair(Path("moved/plain.jpg"), Path("moved/plain.jpg"))]


def test_columns_may_be_missing_and_in_any_order(tmp_path):
    file = tmp_path / "a.jpg"
    assert read_pairs(write_list(tmp_path, "query,retrieved", "a.jpg,a.jpg", "")) == [Pair(file, file)]
    assert read_pairs(write_list(tmp_path, "label,retrieved,query", "7,a.jpg,a.jpg")) == [Pair(file, file, label=7)]
    assert read_pairs(write_list(tmp_path, "\ufeffquery,retrieved", "a.jpg,a.jpg")) == [Pair(file, file)]  # as Excel saves it
    assert read_pairs(write_list(tmp_path, "query,retrieved")) == []


@pytest.mark.parametrize("header", ["query", "query,retrieved,colour", "query,retrieved,query", "a.jpg,b.jpg", "query;retrieved"])
def test_other_columns_are_refused(tmp_path, header):
    with pytest.raises(ValueError, match=r"Expected the columns query,retrieved,.*, got '" + header + r"'.*line 1 of .*pairs.csv"):
        read_pairs(write_list(tmp_path, header, "a.jpg,a.jpg"))


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "pairs.csv").touch()
    with pytest.raises(ValueError, match=r"columns query,retrieved,category,.*got ''"):
        read_pairs(tmp_path / "pairs.csv")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.jpg,missing.jpg,", "a file at .*missing.jpg, got none"),
        (",a.jpg,", "a path in the column query"),
        ("a.jpg,a.jpg", "Expected 3 cells.*got 2"),
        ("a.jpg,a.jpg,1,1", "Expected 3 cells.*got 4"),
        ("a.jpg,a.jpg,cat", "label from 0 to 254, or nothing, got 'cat'"),
        ("a.jpg,a.jpg,-1", "label from 0 to 254"),
        ("a.jpg,a.jpg,255", "label from 0 to 254.*got 255"),
    ],
)
def test_the_error_of_a_bad_row_names_its_line(tmp_path, row, message):
    file = write_list(tmp_path, "query,retrieved,label", "a.jpg,a.jpg,1", row)
    rows = iterate_pairs(file)
    assert next(rows).label == 1
    with pytest.raises(ValueError, match=f"{message}.*line 3 of .*pairs.csv"):
        next(rows)


def test_without_the_check_files_may_be_missing(tmp_path):
    file = write_list(tmp_path, "query,retrieved", "no.jpg,neither.jpg")
    assert read_pairs(file, check=False) == [Pair(tmp_path / "no.jpg", tmp_path / "neither.jpg")]
    with pytest.raises(ValueError, match="line 2 of"):
        read_pairs(file)


def test_a_failed_write_keeps_the_old_file(tmp_path):
    pairs = pairs_in(tmp_path / "images", NAMES)
    write_pairs(pairs, tmp_path / "lists/pairs.csv", tmp_path / "images")
    before = (tmp_path / "lists/pairs.csv").read_bytes()
    with pytest.raises(ValueError, match="inside the root"):
        write_pairs([*pairs, Pair(tmp_path / "other.jpg", tmp_path / "other.jpg")], tmp_path / "lists/pairs.csv", tmp_path / "images")

    def yield_one_pair_and_stop():
        yield pairs[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_pairs(yield_one_pair_and_stop(), tmp_path / "lists/pairs.csv", tmp_path / "images")
    assert (tmp_path / "lists/pairs.csv").read_bytes() == before and len(list((tmp_path / "lists").iterdir())) == 1


@pytest.mark.parametrize("label", [-1, 255])
def test_labels_that_a_mask_cannot_have_are_refused(label):
    with pytest.raises(ValueError, match="label from 0 to 254"):
        Pair(Path("a.jpg"), Path("b.jpg"), label=label)
