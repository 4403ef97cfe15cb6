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
from captum_pairwise.models.words.token_encoder import TokenEncoder

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


WHITE = 255


def make_transformed():
    model = nn.Sequential(nn.Conv2d(3, 6, 8, stride=8), nn.Flatten()).eval()
    model.transform = lambda photo: torch.from_numpy(np.array(photo.resize((24, 24)))).permute(2, 0, 1) / WHITE
    return model


class Positions(nn.Module):
    """A map whose second axis may be channels or positions."""

    def forward(self, images):
        return images[:, :, :5, 0]


def make_positions(layout="NTC"):
    encoder = Positions()
    encoder.transform = make_transformed().transform
    return cp.SimilarityWrapper(encoder.eval(), layout=layout)


def make_refusing():
    model = make_transformed()

    def refuse(photo):
        raise ValueError("Expected a larger photo, got a small one. Take another.")

    model.transform = refuse
    return model


def make_endless():
    model = make_transformed()
    model.transform = lambda photo: make_transformed().transform(photo) / (photo.width != 40)  # the photos of the gallery
    return model


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


@pytest.fixture
def count_read(monkeypatch):
    """The number of photos that were embedded since the last call."""
    read_files = []
    read = search_folder._read_photo
    monkeypatch.setattr(search_folder, "_read_photo", lambda *given: read_files.append(given[-1]) or read(*given))

    def count():
        n_read = len(read_files)
        read_files.clear()
        return n_read

    return count


def embed_gallery(gallery, model):
    files = sorted(file for file in gallery.rglob("*.png") if not file.name.startswith("."))
    return search_folder.embed_folder(cp.SimilarityWrapper(model) if not isinstance(model, cp.SimilarityWrapper) else model, gallery, files)


def test_other_code_of_the_transform_makes_the_embeddings_anew(gallery, count_read, monkeypatch):
    torch.manual_seed(0)
    model = make_transformed()
    before = embed_gallery(gallery, model)
    assert count_read() == N_PHOTOS and torch.equal(embed_gallery(gallery, model).rows, before.rows) and count_read() == 0
    monkeypatch.setitem(globals(), "WHITE", 128)
    assert not torch.allclose(embed_gallery(gallery, model).rows, before.rows) and count_read() == N_PHOTOS


def test_another_deviation_of_timm_makes_the_embeddings_anew(gallery, count_read):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 8, stride=8), nn.Flatten()).eval()
    for deviation in (0.5, 0.2):
        model.pretrained_cfg = {"input_size": (3, 24, 24), "mean": (0.5,) * 3, "std": (deviation,) * 3}
        embed_gallery(gallery, model)
        assert count_read() == N_PHOTOS


def test_another_layout_makes_the_embeddings_anew(gallery, count_read):
    for layout, n_channels in (("NTC", 5), ("NCT", 3)):
        model = make_positions(layout)
        assert embed_gallery(gallery, model).rows.shape[1] == n_channels and count_read() == N_PHOTOS


def test_rounding_keeps_the_embeddings(gallery, count_read):
    """The number of threads changes the last digits of an embedding."""
    for change, n_read in ((0, N_PHOTOS), (1e-5, 0), (1e-2, N_PHOTOS)):
        model = make_positions()
        model.query_encoder.register_forward_hook(lambda module, inputs, output, scale=1 + change: output * scale)
        embed_gallery(gallery, model)
        assert count_read() == n_read


def test_existing_photos_are_not_overwritten_and_it_is_told_before_the_work(gallery, count_read, capsys):
    before = (gallery / "3.png").read_bytes()
    for out in (gallery / "3.png", gallery.parent / "query.png"):
        assert search(gallery, "--out", str(out)) == WRONG_INPUT
        assert "leave your photos as they are" in capsys.readouterr().err and count_read() == 0
    assert (gallery / "3.png").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "make_refusing"}, "Expected a larger photo"),
        ({"model": "make_endless"}, "return finite numbers"),
        ({"query": "nowhere.jpg"}, "which is no file"),
        ({"model": "make_function"}, "embeddings to search"),
        ({"model": "make_text"}, "reads text"),
        ({"folder": "nowhere"}, "Expected a folder of images"),
        ({"folder": "empty"}, "none that can be read"),
        ({"folder": "query.png"}, "Expected a folder of images"),
    ],
    ids=["transform", "not finite", "query", "function", "text", "missing folder", "empty folder", "photo as folder"],
)
def test_wrong_input_is_one_sentence(gallery, capsys, arguments, message):
    (gallery.parent / "empty").mkdir()
    folder = gallery.parent / arguments.get("folder", "photos")
    query = arguments.get("query", str(gallery.parent / "query.png"))
    model = f"{__name__}:{arguments.get('model', 'make_encoder')}"
    assert run_command(["search", query, str(folder), "--model", model, "--out", str(gallery.parent / "out")]) == WRONG_INPUT
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
