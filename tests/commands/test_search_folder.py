"""`captum-pairwise search`: its results against brute force, its cache, and its errors."""

import os
import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import captum_pairwise as cp
from captum_pairwise.commands import search_folder
from captum_pairwise.commands.command_line import WRONG_INPUT, run_command
from captum_pairwise.models.backbones import ImageEncoder
from captum_pairwise.models.text import TokenEncoder

pytest.importorskip("faiss", reason="pip install 'captum-pairwise[search]'")
pytest.importorskip("platformdirs", reason="pip install 'captum-pairwise[search]'")

N_PHOTOS = 12


def make_encoder():
    torch.manual_seed(0)
    return ImageEncoder(nn.Sequential(nn.Conv2d(3, 6, 8, stride=8), nn.ReLU()), size=(24, 24)).eval()


def make_dot():
    return cp.SimilarityWrapper(make_encoder(), similarity="dot")


def make_euclidean():
    return cp.SimilarityWrapper(make_encoder(), similarity="euclidean")


class Words(TokenEncoder):
    def forward(self, ids):
        return ids.float()


def make_text():
    return Words(nn.Identity(), None)


def make_function():
    return lambda query, retrieved: torch.zeros(len(query))


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def gallery(tmp_path):
    """A folder of photos, one in a subfolder, with files that are none; and the query beside it."""
    draws = np.random.default_rng(0)
    (tmp_path / "photos" / "sub").mkdir(parents=True)
    for number in range(N_PHOTOS):
        pixels = draws.integers(0, 256, (30, 40, 3), dtype=np.uint8) // (1 + number % 3)
        Image.fromarray(pixels).save(tmp_path / "photos" / ("sub" if number == 5 else "") / f"{number}.png")
    (tmp_path / "photos" / "notes.txt").write_text("no photo, and not named like one")
    (tmp_path / "photos" / ".hidden.png").write_text("hidden")
    Image.fromarray(draws.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(tmp_path / "query.png")
    return tmp_path / "photos"


def search(gallery, *arguments, query=None, model="make_encoder"):
    query = gallery.parent / "query.png" if query is None else query
    out = gallery.parent / "out"
    return run_command(["search", str(query), str(gallery), "--model", f"{__name__}:{model}", "--out", str(out), *arguments])


def rank_slowly(gallery, model, query):
    """Names of all photos by falling similarity, one pair after the other."""
    encoder = make_encoder()
    photos = [file for file in sorted(gallery.rglob("*.png")) if not file.name.startswith(".") and file != query]
    with torch.no_grad():
        values = {file: model(encoder.preprocess(query), encoder.preprocess(file)).item() for file in photos}
    return [str(file.relative_to(gallery)) for file in sorted(photos, key=lambda file: -values[file])], sorted(
        values.values(), reverse=True
    )


def read_results(printed):
    lines = re.findall(r"^\d+\. (\S+)  (\S+)$", printed, re.MULTILINE)
    return [name for _, name in lines], [float(score) for score, _ in lines]


@pytest.mark.parametrize("name", ["make_encoder", "make_dot", "make_euclidean"])
def test_the_results_are_those_of_brute_force(gallery, capsys, name):
    model = cp.SimilarityWrapper(make_encoder()) if name == "make_encoder" else globals()[name]()
    names, values = rank_slowly(gallery, model, gallery.parent / "query.png")
    assert search(gallery, "--top", "3", model=name) == 0
    found, scores = read_results(capsys.readouterr().out)
    assert found == names[:3] and scores == pytest.approx(values[:3], abs=6e-4)
    assert {file.name for file in (gallery.parent / "out").iterdir()} == {"ranking.html", "ranking.png"}


def test_the_query_is_no_result_of_its_own_search(gallery, capsys):
    query = gallery / "0.png"
    names, _ = rank_slowly(gallery, cp.SimilarityWrapper(make_encoder()), query)
    assert search(gallery, query=query) == 0
    printed = capsys.readouterr()
    assert read_results(printed.out)[0] == names[:5] and "left out" in printed.err


def test_files_that_cannot_be_read_are_counted_in_one_line(gallery, capsys):
    for number in range(5):
        (gallery / f"damaged {number}.jpg").write_text("no photo")
    assert search(gallery) == 0
    error = capsys.readouterr().err
    assert f"Left out 5 of {N_PHOTOS + 5} files" in error and error.count("\n") == 1


def test_a_folder_with_fewer_photos_than_results(gallery, capsys):
    for number in range(N_PHOTOS):
        if number not in (1, 2):
            next(gallery.rglob(f"{number}.png")).unlink()
    assert search(gallery) == 0  # without others, a blur takes the place of absent parts
    assert len(read_results(capsys.readouterr().out)[0]) == 2


def test_only_new_photos_are_embedded_again_and_the_folder_stays_as_it_was(gallery, cache, monkeypatch):
    before = sorted(gallery.rglob("*"))
    n_read = []
    monkeypatch.setattr(search_folder, "_read_photo", lambda *given, read=search_folder._read_photo: n_read.append(1) or read(*given))
    for expected in (N_PHOTOS, 0):
        search(gallery)
        assert len(n_read) == expected
        n_read.clear()
    os.utime(gallery / "3.png", ns=(1, 1))
    search(gallery)
    assert len(n_read) == 1 and sorted(gallery.rglob("*")) == before
    assert len(list(cache.rglob("*.safetensors"))) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"query": "nowhere.jpg"}, "which is no file"),
        ({"model": "make_function"}, "embeddings to search"),
        ({"model": "make_text"}, "reads text"),
        ({"folder": "nowhere"}, "Expected a folder of images"),
        ({"folder": "empty"}, "none that can be read"),
        ({"folder": "query.png"}, "Expected a folder of images"),
    ],
    ids=["query", "function", "text", "missing folder", "empty folder", "photo as folder"],
)
def test_wrong_input_is_one_sentence(gallery, capsys, arguments, message):
    (gallery.parent / "empty").mkdir()
    folder = gallery.parent / arguments.get("folder", "photos")
    query = arguments.get("query", str(gallery.parent / "query.png"))
    model = f"{__name__}:{arguments.get('model', 'make_encoder')}"
    assert run_command(["search", query, str(folder), "--model", model, "--out", str(gallery.parent / "out")]) == WRONG_INPUT
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
