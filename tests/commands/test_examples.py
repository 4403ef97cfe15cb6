import sys

import pytest
from PIL import Image

from captum_pairwise.commands import examples
from captum_pairwise.commands.examples import find_example_photos


def test_every_example_is_a_pair_of_photos(monkeypatch):
    pairs = find_example_photos()
    if not pairs:
        pytest.skip("photos of gradio: pip install 'captum-pairwise[app]'")
    assert len(pairs) == len(examples.PHOTOS)
    for photo in {photo for pair in pairs for photo in pair}:
        with Image.open(photo) as pixels:
            assert min(pixels.size) > 200


def test_without_gradio_there_is_no_example(monkeypatch):
    monkeypatch.setattr(examples, "find_spec", lambda name: None)
    assert find_example_photos() == []


def test_gradio_is_not_imported():
    assert "gradio" in sys.modules or (find_example_photos() is not None and "gradio" not in sys.modules)
