"""Mosaics with texts: on photos of one colour and a model that matches words and colours, the pointing game has 1."""

import numpy as np
import pytest
import torch
from conftest import assert_refused
from PIL import Image
from torch import nn

import captum_pairwise as cp
from captum_pairwise.datasets import CaptionMosaic, caption_mosaics
from captum_pairwise.metrics import pointing_recognition

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue light": (0, 0, 255), "black": (0, 0, 0), "white": (255, 255, 255)}
PHOTOS = {name: [Image.new("RGB", (40, 60), colour)] for name, colour in COLOURS.items()}


@pytest.fixture(scope="module")
def mosaics():
    return caption_mosaics(PHOTOS, 16, seed=1)


def test_labels_name_the_photo_of_each_pixel(mosaics):
    for mosaic in mosaics:
        pixels, labels = np.asarray(mosaic.image), mosaic.labels.numpy()
        assert pixels.shape == (224, 224, 3) and labels.shape == (224, 224)
        for number, name in enumerate(mosaic.names):
            assert (labels == number).sum() == 112**2
            assert (pixels[labels == number] == COLOURS[name]).all()
        unnamed = {tuple(colour) for colour in pixels[labels == -1].tolist()}
        assert unnamed <= set(COLOURS.values()) - {COLOURS[name] for name in mosaic.names}
        assert len(unnamed) == 4 - len(mosaic.names)


def test_texts_have_one_to_four_names_in_turn_and_tiles_any_order(mosaics):
    assert [len(mosaic.names) for mosaic in mosaics] == [1, 2, 3, 4] * 4
    assert len({tuple(mosaic.labels[::112, ::112].flatten().tolist()) for mosaic in mosaics[3::4]}) > 1
    assert mosaics[1].text == " ".join(mosaics[1].names)


def test_the_seed_decides(mosaics):
    again, other = (caption_mosaics(PHOTOS, 16, seed=seed) for seed in (1, 2))
    assert [mosaic.text for mosaic in again] == [mosaic.text for mosaic in mosaics] != [mosaic.text for mosaic in other]


@pytest.mark.parametrize(
    ("names", "tokens", "owners"),
    [
        (("cat", "dog"), ["cat", "dog"], [0, 1]),
        (("Cat", "guinea pig"), ["ca", "##t", "gui", "nea", "pig"], [0, 0, 1, 1, 1]),
        (("cat", "dog"), ["cat", "-", "dog"], [0, 1, 1]),  # a token without letters belongs to the name that follows
        (("cat",), ["cat", "."], [0, 0]),  # or, at the end, to the last
        (("café", "dog"), ["cafe", "dog"], [0, 1]),  # some tokenizers drop accents
    ],
)
def test_each_token_belongs_to_the_name_that_it_spells(names, tokens, owners):
    mosaic = CaptionMosaic(Image.new("RGB", (224, 224)), names, torch.zeros(224, 224, dtype=torch.int64))
    weights = mosaic.assign_tokens(tokens)
    assert weights.shape == (len(names), len(tokens)) and weights.argmax(0).tolist() == owners and (weights.sum(0) == 1).all()


class _Colours(nn.Module):
    """The amount of red, green and blue in an image, or in words that are given as colours `[B, words, 3]`."""

    def forward(self, inputs):
        return inputs.mean((2, 3)) if inputs.dim() == 4 else inputs.mean(1)


def test_a_model_that_matches_words_and_colours_has_1():
    primary = {name: PHOTOS[name] for name in ("red", "green", "blue light", "black")}
    mosaic = next(mosaic for mosaic in caption_mosaics(primary, 4) if len(mosaic.names) == 4)
    tokens = mosaic.text.split()
    colours = [next(COLOURS[name] for name in COLOURS if token in name) for token in tokens]
    words = torch.tensor(colours, dtype=torch.float64)[None] / 255
    image = torch.from_numpy(np.asarray(mosaic.image) / 255).permute(2, 0, 1)[None]
    model = cp.SimilarityWrapper(_Colours(), similarity="dot")
    masks = torch.arange(len(tokens))[None, :, None], cp.grid(224, 224, 2, 2)
    result = cp.FactorisedInteractions(model).interactions((words, image), baselines=(0, 0), feature_mask=masks, n_samples=64)
    credit = mosaic.assign_tokens(tokens).double() @ result.between[0]
    maps = torch.cat([cp.visualization.to_pixels(row[None], result.retrieved_players, (224, 224)) for row in credit])
    assert pointing_recognition(maps, mosaic.labels).item() == pytest.approx(1, abs=1e-9)
    assert pointing_recognition(maps.roll(1, 0), mosaic.labels).item() < 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: caption_mosaics(dict(list(PHOTOS.items())[:3])), "Expected photos of at least 4 names, got .* Add names."),
        (lambda: caption_mosaics(PHOTOS | {"red": []}), "Expected a list of photos of 'red', got \\[\\]. Pass at least one in a list."),
        (lambda: caption_mosaics(PHOTOS | {"red": "red.jpg"}), "Expected a list of photos of 'red', got 'red.jpg'."),
        (lambda: caption_mosaics(PHOTOS | {"!": PHOTOS["red"]}), "Expected names with letters, got '!'. Rename it."),
        (lambda: caption_mosaics(PHOTOS, 0), "Expected n to be a whole number of at least 1, got 0. Pass an int."),
        (lambda: caption_mosaics(PHOTOS)[1].assign_tokens(["no"]), "Expected tokens that spell '.*', got 'no'. Pass those of"),
    ],
)
def test_bad_input_is_refused(call, message):
    assert_refused(call, message)
