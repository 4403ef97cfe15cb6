"""The quickstart script: its printed numbers and its figure."""

import re
import runpy
import sys
from pathlib import Path

import pytest
from PIL import Image

pytestmark = pytest.mark.slow

TUTORIALS = Path(__file__).parents[2] / "tutorials"


def run_quickstart(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["quickstart.py", *map(str, arguments)])
    runpy.run_path(str(TUTORIALS / "quickstart.py"), run_name="__main__")
    return capsys.readouterr().out


def test_strongest_matches_of_the_default_pair_agree_with_its_disparity(monkeypatch, capsys, tmp_path):
    printed = run_quickstart(monkeypatch, capsys, "--out", tmp_path)
    for name in ("similarity", "method", "embeddings used", "seconds", "completeness gap"):
        assert re.search(f"^{name}: .+", printed, re.MULTILINE)
    right, chance = map(int, re.search(r"10 strongest matches: (\d+)% right, (\d+)% by chance", printed).groups())
    assert right > 5 * chance
    with Image.open(tmp_path / "explanation.png") as picture:
        assert min(picture.size) > 500 and len(picture.convert("RGB").getcolors(1 << 24)) > 1000


def test_quickstart_with_own_photos_and_another_backbone(monkeypatch, capsys, tmp_path):
    for name, colour in (("a.png", "red"), ("b.jpg", "orange")):
        photo = Image.new("RGB", (90, 60), colour)
        photo.paste((0, 0, 80), (20, 10, 50, 40))
        photo.save(tmp_path / name)
    photos = ("--query", tmp_path / "a.png", "--retrieved", tmp_path / "b.jpg")
    with pytest.warns(UserWarning, match="random weights"):
        printed = run_quickstart(monkeypatch, capsys, *photos, "--backbone", "vgg11", "--samples", "200", "--out", tmp_path / "new")
    assert "vgg11" in printed and "disparity" not in printed
    assert (tmp_path / "new" / "explanation.png").exists()


def test_a_single_photo_is_refused(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run_quickstart(monkeypatch, capsys, "--query", "a.png")
