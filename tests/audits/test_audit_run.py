"""A whole audit with a small encoder: its rows, resumption, broken files, engines, and its tables."""

import numpy as np
import pytest
import torch
from audit_cases import make_tiny
from PIL import Image

import captum_pairwise as cp
from captum_pairwise.audits import photo_reader, shard_files
from captum_pairwise.audits.audit_run import audit
from captum_pairwise.audits.photo_reader import PhotoReader
from captum_pairwise.commands.command_line import DONE, FAILED, WRONG_INPUT, run_command

parquet = pytest.importorskip("pyarrow.parquet", reason="pip install 'captum-pairwise[audit]'")

N_PHOTOS = 9


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for number in range(N_PHOTOS):
        (folder / f"g{number // 3}").mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (40, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"g{number // 3}" / f"{number}.png")
    return folder


def test_the_hits_of_a_folder_are_the_nearest_by_brute_force(photos, tmp_path):
    model = make_tiny()
    result = audit(model, photos, tmp_path / "out", top=2)
    files = sorted(map(str, photos.rglob("*.png")))
    with torch.no_grad():
        embeddings = torch.cat([model(model.transform(Image.open(file))[None]) for file in files])
    scores = torch.nn.functional.cosine_similarity(embeddings[:, None], embeddings[None], dim=2).fill_diagonal_(-2)
    expected = {(files[query], files[hit]) for query, hits in enumerate(scores.topk(2).indices.tolist()) for hit in hits}
    assert set(zip(result.rows.get("query"), result.rows.get("hit"), strict=True)) == expected
    np.testing.assert_allclose(result.rows.get("score"), result.rows.get("similarity"), rtol=1e-4)


def test_a_row_has_the_credit_of_the_public_method(photos, tmp_path):
    model, files = make_tiny(), sorted(map(str, photos.rglob("*.png")))
    row = audit(model, [(files[0], files[1])], tmp_path / "out").rows.table.to_pylist()[0]
    wrapper = cp.SimilarityWrapper(model)
    inputs = tuple(model.transform(Image.open(file))[None] for file in files[:2])
    result = cp.LayerFactorisedInteractions(wrapper, model.features).interactions(inputs, n_samples=70_000)  # all 2^16 coalitions
    np.testing.assert_allclose(row["query_map"], result.query_map[0], atol=0.03 * result.query_map.abs().max().item())
    between, error = result["between"][0], row["error_of_pairs"]
    scale = 5 * error * between.square().mean().sqrt().item()
    for pair in row["pairs"]:
        assert pair["credit"] == pytest.approx(between[pair["query"], pair["hit"]].item(), abs=scale)
    assert row["r2"] == pytest.approx(result.r2.item(), abs=0.05)


def test_broken_missing_tiny_and_huge_files_are_rows_with_a_sentence(photos, tmp_path, monkeypatch, capsys):
    broken, tiny, huge = photos / "g0" / "0.png", photos / "g1" / "3.png", photos / "g2" / "6.png"
    broken.write_bytes(b"no image")
    Image.new("RGB", (2, 2)).save(tiny)
    Image.new("RGB", (50, 50)).save(huge)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50 * 50 - 1)
    files = sorted(map(str, photos.rglob("*.png")))
    table = tmp_path / "pairs.csv"
    table.write_text("query,hit\n" + "\n".join(f"{files[4]},{file}" for file in [*files, str(photos / "missing.png")]), encoding="utf-8")
    command = ["audit", str(table), "--out", str(tmp_path / "out"), "--model", "audit_cases:make_tiny", "--workers", "1"]
    assert run_command(command) == FAILED
    printed = capsys.readouterr()
    assert "4 of 10 pairs could not be explained" in printed.out and "audit.html" in printed.out
    failed = parquet.read_table(tmp_path / "out" / "failed.parquet").to_pylist()
    assert {row["hit"] for row in failed} == {str(broken), str(tiny), str(huge), str(photos / "missing.png")}
    assert all(row["error"].startswith("Expected ") for row in failed)


def test_a_run_goes_on_with_the_pairs_that_have_no_row(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(shard_files, "SHARD", 4)
    files, out = sorted(map(str, photos.rglob("*.png"))), tmp_path / "out"
    pairs = [(query, hit) for query in files[:3] for hit in files[3:]]
    whole = audit(make_tiny(), pairs, tmp_path / "whole")
    audit(make_tiny(), pairs, out)
    written = sorted((out / "rows").glob("*.parquet"))
    for file in written[1:]:
        file.unlink()
    (out / "rows" / "x.parquet.1.tmp").write_bytes(b"half")
    before = written[0].stat().st_mtime_ns
    resumed = audit(make_tiny(), pairs, out)
    assert resumed.rows.table.equals(whole.rows.table)
    assert written[0].stat().st_mtime_ns == before and not list((out / "rows").glob("*.tmp"))


def test_two_processes_write_the_bytes_of_one(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(shard_files, "SHARD", 4)
    files = sorted(map(str, photos.rglob("*.png")))
    pairs = [(query, hit) for query in files[:3] for hit in files[3:]]
    written = []
    for n_workers in (1, 2):
        out = tmp_path / str(n_workers)
        audit("audit_cases:make_tiny", pairs, out, n_workers=n_workers)
        written.append({file.name: file.read_bytes() for file in (out / "rows").iterdir()})
    assert len(written[0]) == len(pairs) // 4 + 1 and written[0] == written[1]


def test_a_photo_of_many_pixels_is_read_smaller(tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    reader = PhotoReader(make_tiny())
    assert np.array_equal(reader.open(tmp_path / "photo.png"), pixels)
    monkeypatch.setattr(photo_reader, "MOST_PIXELS", 40 * 60 // 4)
    means = pixels.reshape(20, 2, 30, 2, 3).mean((1, 3))
    np.testing.assert_allclose(reader.open(tmp_path / "photo.png"), means, atol=0.51)


def test_rows_do_not_depend_on_the_other_pairs(photos, tmp_path):
    files = sorted(map(str, photos.rglob("*.png")))
    pairs = [(query, hit) for query in files[:3] for hit in files[3:]]
    whole, part = audit(make_tiny(), pairs, tmp_path / "whole").rows.table, audit(make_tiny(), pairs[7:9], tmp_path / "part").rows.table
    keys = part["key"].to_pylist()
    assert [row for row in whole.to_pylist() if row["key"] in keys] == part.to_pylist()


def test_a_model_that_is_no_pair_of_towers_is_explained_pair_by_pair(photos, tmp_path):
    files, model = sorted(map(str, photos.rglob("*.png"))), make_tiny()

    def similarity(query, retrieved):
        return -(model(query) - model(retrieved)).square().sum(1)

    result = audit(similarity, [(files[0], files[1])], tmp_path / "out", transform=model.transform)
    row = result.rows.table.to_pylist()[0]
    inputs = [model.transform(Image.open(file))[None] for file in files[:2]]
    assert row["similarity"] == pytest.approx(similarity(*inputs).item(), rel=1e-5)
    assert row["query_grid"] == [7, 7] and not row["parts"]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"engine": "spark"}, "Expected engine"), ({"top": 3}, "Expected top only with a folder"), ({"remove": ["sky"]}, "Expected a tag")],
)
def test_options_that_do_not_fit_are_refused(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        audit(make_tiny(), [("a", "b")], tmp_path, **options)


def test_the_command_prints_what_it_found(photos, tmp_path, capsys):
    command = ["audit", str(photos), "--out", str(tmp_path / "out"), "--model", "audit_cases:make_tiny", "--workers", "1", "--top", "2"]
    assert run_command([*command, "--remove", "border"]) == DONE
    assert "Without the tag border" in capsys.readouterr().out
    assert run_command(["audit", str(tmp_path / "none.csv"), "--out", str(tmp_path / "out")]) == WRONG_INPUT
