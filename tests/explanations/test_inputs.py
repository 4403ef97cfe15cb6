"""Photos, tensors and sentences become inputs, and what a picture shows of them."""

import numpy as np
import pytest
import torch
from conftest import images
from explanation_cases import encoder_of_photos, make_photo, save_photo, to_input
from PIL import Image
from torch import nn
from torchvision.transforms.v2.functional import pil_to_tensor

from captum_pairwise.explanations.inputs import LARGEST_SHOWN, read_inputs
from captum_pairwise.models.backbones import IMAGENET_MEAN, IMAGENET_STD, ImageEncoder


def read_one(item, encoder=None, transform=None):
    inputs = read_inputs(encoder if encoder is not None else encoder_of_photos(), [item], ["query"], transform)
    return inputs.batch, inputs.contents[0]


@pytest.mark.parametrize("kind", ["path", "text", "photo", "array"])
def test_every_kind_of_photo_is_the_same_input(kind, tmp_path):
    file = save_photo(tmp_path, "cat.png")
    item = {"path": file, "text": str(file), "photo": make_photo(), "array": np.asarray(make_photo())}[kind]
    batch, content = read_one(item)
    torch.testing.assert_close(batch[0], to_input(make_photo()))
    assert content.name == ("cat.png" if kind in ("path", "text") else "query")


def test_grey_and_16_bit_photos(tmp_path):
    grey = np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32)
    Image.fromarray(grey).save(tmp_path / "depth.png")
    batch, content = read_one(tmp_path / "depth.png")
    eight_bit = Image.fromarray((grey / 257).round().astype(np.uint8)).convert("RGB")
    torch.testing.assert_close(batch[0], to_input(eight_bit))
    assert content.pixels.shape == (1, 3, 32, 32)


def test_the_photo_is_shown_in_its_own_pixels():
    encoder = ImageEncoder(nn.Conv2d(3, 4, 3), size=(16, 16))
    photo = make_photo(90, 30)
    _, content = read_one(photo, encoder)
    torch.testing.assert_close(content.pixels[0], pil_to_tensor(photo).float() / 255)
    assert content.view == (0, 0, 90, 30)


def test_a_large_photo_is_shown_smaller():
    _, content = read_one(make_photo(3000, 200), ImageEncoder(nn.Conv2d(3, 4, 3), size=(16, 16)))
    assert max(content.pixels.shape) == LARGEST_SHOWN
    assert content.view == (0, 0, 3000, 200)


def test_a_photo_is_cut_to_what_the_network_sees():
    def crop(photo):
        return pil_to_tensor(photo.crop((30, 10, 70, 50)).resize((20, 20))).float() / 255

    _, content = read_one(make_photo(100, 60), transform=crop)
    assert content.view == pytest.approx((30, 10, 70, 50), abs=1)
    assert content.pixels.shape[2:] == pytest.approx((40, 40), abs=2)


def test_tensors_are_taken_as_they_are():
    pixels = images(1)[0]
    for item in (pixels, pixels[0]):
        batch, content = read_one(item)
        assert torch.equal(batch, pixels)
        torch.testing.assert_close(content.pixels, pixels.float())


def test_a_normalised_tensor_is_shown_with_its_colours():
    pixels = images(1)[0]
    mean, std = (torch.tensor(values, dtype=torch.float64)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    _, content = read_one((pixels - mean) / std)
    torch.testing.assert_close(content.pixels, pixels.float())


def test_other_tensors_are_shown_from_their_least_to_their_largest_value():
    pixels = 40 * images(1)[0] - 9
    _, content = read_one(pixels)
    torch.testing.assert_close(content.pixels, ((pixels - pixels.min()) / (pixels.max() - pixels.min())).float())


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([torch.zeros(2, 3, 4, 4)], "Expected one image for each tensor"),
        ([torch.zeros(4, 4)], "Expected an image.*cp.Signal"),
        ([torch.zeros(3, 4, 4), make_photo()], "Expected either photos or tensors"),
        ([torch.zeros(3, 4, 4), torch.zeros(3, 4, 5)], "Expected inputs of one size"),
        (["nothing.jpg"], "Expected nothing.jpg to be an image"),
        ([3.0], r"Expected a photo \(a file, a Pillow image"),
    ],
)
def test_other_items_are_refused(items, message):
    with pytest.raises(ValueError, match=message):
        read_inputs(encoder_of_photos(), items, ["item"] * len(items), None)
