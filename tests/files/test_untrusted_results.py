"""Untrusted or cut result files: complete rows are read, damaged rows are named and not used."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import assert_refused
from safetensors.torch import save_file
from table_cases import ROW as TABLE_ROW
from test_interactions import assert_same, estimate, players_of_images

from captum_pairwise.datasets.embedding_store import EmbeddingStore
from captum_pairwise.evaluation.convergence.study import Row
from captum_pairwise.evaluation.rows import Journal, read_rows, write_rows
from captum_pairwise.evaluation.tables.study import TableRow
from captum_pairwise.results.credits import Credits
from captum_pairwise.results.interactions import Interactions

STUDY_ROW = Row("A", "all", 'a "quoted", näme', "here", 500, 0, 500, 400, 0.1, 0.2, 0.3)
ROWS = {"convergence.csv": (Row, STUDY_ROW), "results.csv": (TableRow, replace(TABLE_ROW, category='näme, "quoted"', error="no, 猫"))}


def write_file(name: str, file: Path) -> tuple[type, list]:
    """A header and two rows."""
    kind, row = ROWS[name]
    rows = [replace(row, seconds=float(number)) for number in range(2)]
    write_rows(file, rows, kind)
    return kind, rows


@pytest.mark.parametrize("name", ROWS)
def test_complete_rows_of_a_cut_file_are_read(tmp_path, name):
    kind, rows = write_file(name, tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    for length in range(len(whole) + 1):
        (tmp_path / name).write_bytes(whole[:length])
        n_whole = max(whole[:length].count(b"\n") - 1, 0)
        assert repr(read_rows(tmp_path / name, kind)) == repr(rows[:n_whole])  # compared as text, because NaN is not equal to NaN


@pytest.mark.parametrize("name", ROWS)
def test_a_study_continues_after_any_cut(tmp_path, name):
    kind, rows = write_file(name, tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    for length in range(0, len(whole) + 1, 23):
        (tmp_path / name).write_bytes(whole[:length])
        journal = Journal(tmp_path / name, kind)
        for row in rows[len(journal.rows) :]:
            journal.append(row)
        assert (tmp_path / name).read_bytes() == whole


DAMAGES = {
    "a row without its end": (lambda text: text.replace(b",1.0,", b",1", 1).replace(b",1.0\n", b"\n", 1), "cells in row 3 of"),
    "a word for a number": (lambda text: text.replace(b"1.0", b"one", 1), "in row 3 of .*, got a damaged one: could not convert"),
    "latin-1": (lambda text: text.decode().encode("latin-1", "replace"), "rows of text in UTF-8 in .*, got other bytes"),
    "utf-16": (lambda text: text.decode().encode("utf-16") + b"\n", "rows of text in UTF-8 in .*, got other bytes"),
    "zeros": (lambda text: bytes(100) + b"\n" + text, r"the columns .* got \["),
    "a cell without an end": (lambda text: text + b'"' + b"a" * 200_000 + b"\n", "got other bytes .field larger"),
    "another table": (lambda _: b"a,b\n1,2\n", r"the columns .* got \['a', 'b'\]"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("read", [read_rows, Journal])
def test_damaged_rows_are_named_and_not_changed(tmp_path, name, damage, read):
    kind, _ = write_file(name, tmp_path / name)
    spoil, sentence = DAMAGES[damage]
    spoilt = spoil((tmp_path / name).read_bytes())
    (tmp_path / name).write_bytes(spoilt)
    assert_refused(lambda: read(tmp_path / name, kind), f"{sentence}.*(emove the file|Remove the row, or the file)")
    assert (tmp_path / name).read_bytes() == spoilt


# interactions


def save_image(folder: Path) -> Path:
    estimate(**players_of_images()).save(folder / "pair.safetensors")
    return folder / "pair.safetensors"


def test_interactions_are_written_atomically(tmp_path, monkeypatch):
    known, other = estimate(seed=1), estimate(seed=2)
    known.save(tmp_path / "pair.safetensors")

    def full_disk(_, path, *rest):
        Path(path).write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr("captum_pairwise.results.result_files.save_file", full_disk)
    with pytest.raises(OSError, match="No space"):
        other.save(tmp_path / "pair.safetensors")
    assert list(tmp_path.iterdir()) == [tmp_path / "pair.safetensors"]
    assert_same(Interactions.load(tmp_path / "pair.safetensors"), known)


WHAT = "to be what `Interactions.save` wrote, got other or damaged content: "


@pytest.mark.parametrize("eighths", range(8))
def test_cut_interactions_are_refused(tmp_path, eighths):
    whole = save_image(tmp_path).read_bytes()
    save_image(tmp_path).write_bytes(whole[: len(whole) * eighths // 8])
    assert_refused(lambda: Interactions.load(tmp_path / "pair.safetensors"), f"pair.safetensors {WHAT}")


def test_a_folder_is_refused_as_interactions(tmp_path):
    assert_refused(lambda: Interactions.load(tmp_path), WHAT)


ENDS = {"empty": torch.zeros(2), "full": torch.zeros(2), "n_evaluations": torch.zeros(2).long()}
MARGINAL = {"marginal": torch.zeros(2, 5)}
IDS = {"query_players.ids": torch.tensor([[[[0, 1]]]])}
ODD = {
    "something else": (ENDS, None, "it holds something else"),
    "no JSON": (ENDS, "", "Expecting value"),
    "a list": (ENDS, [], "list indices"),
    "no number of players": (ENDS, {}, "n_query"),
    "a word for a number": (ENDS, {"n_query": "two"}, "n_query to be the number of query players, got 'two'"),
    "a negative number": (ENDS, {"n_query": -5}, "got -5"),
    "a true number": (ENDS, {"n_query": True}, "got True"),
    "too few players": (ENDS | MARGINAL, {"n_query": 6}, r"marginal of shape \[batch, players\], got \[2, 5\]"),
    "ends of other batches": (ENDS | {"empty": torch.zeros(3)}, {"n_query": 2}, r"empty of shape \[batch\], got \[3\]"),
    "blocks of other batches": (ENDS | {"marginal": torch.zeros(3, 5)}, {"n_query": 2}, r"marginal of shape .* got \[3, 5\]"),
    "blocks of other players": (
        ENDS | MARGINAL | {"between": torch.zeros(2, 2, 9)},
        {"n_query": 2},
        r"between of shape .* got \[2, 2, 9\]",
    ),
    "a flat block": (ENDS | {"between": torch.zeros(2, 6)}, {"n_query": 2}, r"between of shape \[batch, query, retrieved\], got \[2, 6\]"),
    "other errors": (ENDS | MARGINAL | {"standard_error.marginal": torch.zeros(2, 4)}, {"n_query": 2}, "standard_error.marginal of shape"),
    "an unknown block": (ENDS | {"credit": torch.zeros(2)}, {"n_query": 2}, "unexpected keyword"),
    "no end": (MARGINAL, {"n_query": 2}, "missing"),
    "players without ids": (ENDS, {"n_query": 2, "query_players": [2]}, "query_players.ids"),
    "players of a word": (ENDS | IDS, {"n_query": 2, "query_players": ["two"]}, "invalid literal"),
    "ids of nobody": (ENDS | IDS, {"n_query": 2, "query_players": [1]}, "query_players are not the ids of 1"),
    "ids of real numbers": (ENDS | {"query_players.ids": torch.zeros(1, 1)}, {"n_query": 2, "query_players": [2]}, "not the ids of 2"),
}


@pytest.mark.parametrize("odd", ODD)
def test_inconsistent_interactions_are_refused(tmp_path, odd, without_type_checks):
    tensors, note, why = ODD[odd]
    metadata = None if note is None else {"captum_pairwise": note if isinstance(note, str) else json.dumps(note)}
    save_file(tensors, tmp_path / "pair.safetensors", metadata)
    assert_refused(lambda: Interactions.load(tmp_path / "pair.safetensors"), f"{WHAT}.*{why}")


def test_the_constructor_refuses_the_same(without_type_checks):
    assert_refused(
        lambda: Interactions(n_query=2, **ENDS, between=torch.zeros(2, 3, 3)), "between of shape .* Give all blocks of one batch"
    )
    errors = Credits(first_order=torch.zeros(1, 5))
    assert_refused(lambda: Interactions(n_query=2, **ENDS, **MARGINAL, standard_error=errors), "standard_error.first_order of shape")


# embeddings


def cache(folder: Path) -> Path:
    store = EmbeddingStore(folder / "cache.safetensors", "encoder")
    store.add([1, 2, 3], torch.rand(3, 4))
    store.merge()
    return folder / "cache.safetensors"


CACHE = "cache.safetensors to be a cache of embeddings, got other or damaged content: .*Name or make another file"


@pytest.mark.parametrize("eighths", range(8))
def test_a_cut_cache_is_refused(tmp_path, eighths):
    whole = cache(tmp_path).read_bytes()
    cache(tmp_path).write_bytes(whole[: len(whole) * eighths // 8])
    assert_refused(lambda: EmbeddingStore(tmp_path / "cache.safetensors", "encoder"), CACHE)


@pytest.mark.parametrize(
    "tensors",
    [
        {"embeddings": torch.zeros(3, 2)},
        {"images": torch.arange(3)},
        {"images": torch.arange(2), "embeddings": torch.zeros(3, 2)},
        {"images": torch.zeros(3), "embeddings": torch.zeros(3, 2)},
        {"images": torch.arange(6).view(3, 2), "embeddings": torch.zeros(3, 2)},
        {"images": torch.arange(3), "embeddings": torch.zeros(3)},
    ],
)
def test_a_cache_of_another_shape_is_refused(tmp_path, tensors):
    save_file(tensors, tmp_path / "cache.safetensors", {"encoder": "encoder"})
    assert_refused(lambda: EmbeddingStore(tmp_path / "cache.safetensors", "encoder"), CACHE)


def test_a_part_of_another_size_is_refused(tmp_path):
    part = {"images": torch.tensor([9]), "embeddings": torch.zeros(1, 7)}
    save_file(part, f"{cache(tmp_path)}.part000000", {"encoder": "encoder"})
    assert_refused(
        lambda: EmbeddingStore(tmp_path / "cache.safetensors", "encoder"), "part000000 to be .*: its embeddings are of another size"
    )


def test_a_folder_is_refused_as_a_cache(tmp_path):
    (tmp_path / "cache.safetensors").mkdir()
    assert_refused(lambda: EmbeddingStore(tmp_path / "cache.safetensors", "encoder"), CACHE)
