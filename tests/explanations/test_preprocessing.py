"""The part of a photo that a transform keeps, against the geometry of the transform; and the transform of an encoder."""

import pytest
import torch
from explanation_cases import encoder_of_photos, make_photo, to_input
from PIL import Image
from torch import nn
from torchvision import models
from torchvision.transforms import v2

from captum_pairwise.explanations.preprocessing import Preprocessing, find_preprocessing
from captum_pairwise.models.backbones import ImageEncoder

TO_TENSOR = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
NORMALISE = v2.Normalize([0.4, 0.5, 0.6], [0.2, 0.3, 0.1])
TOLERANCE = 2.0  # pixels of a photo of 300: the colours of the probes are 8-bit numbers


def view_of(*steps, size=(300, 200)):
    return Preprocessing(v2.Compose([*steps, *TO_TENSOR, NORMALISE]), "", sees_all=False).find_view(make_photo(*size))


def centre_crop(width, height, shorter, side):
    """The square that `Resize(shorter)` and `CenterCrop(side)` keep, in pixels of the photo."""
    scale = min(width, height) / shorter
    half = side * scale / 2
    return width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (250, 250)])
@pytest.mark.parametrize(("shorter", "side"), [(64, 56), (64, 64), (128, 96)])
def test_the_view_of_a_centre_crop(size, shorter, side):
    view = view_of(v2.Resize(shorter), v2.CenterCrop(side), size=size)
    assert view == pytest.approx(centre_crop(*size, shorter, side), abs=TOLERANCE)


def test_a_squashed_photo_is_seen_whole():
    assert view_of(v2.Resize((32, 32))) == pytest.approx((0, 0, 300, 200), abs=TOLERANCE)


OTHER_STEPS = {
    "flip": v2.RandomHorizontalFlip(1.0),
    "rotation": v2.RandomRotation((30, 30)),
    "quarter turn": v2.Lambda(lambda photo: photo.rotate(90)),
    "grey": v2.Grayscale(1),
}


@pytest.mark.parametrize("name", OTHER_STEPS)
def test_the_view_of_other_steps_is_unknown(name):
    transform = v2.Compose([v2.Resize((32, 32)), OTHER_STEPS[name], *TO_TENSOR])
    assert Preprocessing(transform, "", sees_all=False).find_view(make_photo(300, 200)) is None


def test_a_random_transform_is_refused():
    transform = v2.Compose([v2.RandomCrop(8), *TO_TENSOR])
    with pytest.raises(ValueError, match="Expected a transform without randomness"):
        Preprocessing(transform, "").make_input(make_photo())


@pytest.mark.parametrize("returned", [torch.zeros(3, 4, 4, dtype=torch.uint8), torch.zeros(2, 3, 4, 4), torch.zeros(4, 4), "text"])
def test_other_returned_values_are_refused(returned):
    with pytest.raises(ValueError, match="Expected transform to return a floating-point tensor"):
        Preprocessing(lambda photo: returned, "").make_input(make_photo())


def test_the_input_of_torchvision_networks_is_that_of_its_weights():
    photo, network = make_photo(300, 200), models.squeezenet1_1()
    preprocessing = find_preprocessing(network, None)
    resized = v2.functional.resize(v2.functional.pil_to_tensor(photo).float() / 255, [224, 224], antialias=True)
    mean, std = torch.tensor([0.485, 0.456, 0.406])[:, None, None], torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    torch.testing.assert_close(preprocessing.make_input(photo)[0], (resized.clamp(0, 1) - mean) / std)
    assert preprocessing.find_view(photo) == (0, 0, 300, 200)


def test_the_settings_of_timm_are_taken():
    network = nn.Conv2d(3, 4, 3)
    network.pretrained_cfg = {"input_size": (3, 20, 24), "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
    pixels = find_preprocessing(network, None).make_input(Image.new("RGB", (50, 50), (255, 255, 255)))
    torch.testing.assert_close(pixels, torch.full((1, 3, 20, 24), 2.0))


def test_an_encoder_of_images_preprocesses_itself():
    photo, encoder = make_photo(), ImageEncoder(nn.Conv2d(3, 4, 3), size=(16, 20))
    torch.testing.assert_close(find_preprocessing(encoder, None).make_input(photo), encoder.preprocess(photo))


def test_the_users_transform_comes_first():
    encoder = encoder_of_photos()
    assert find_preprocessing(encoder, None).transform is to_input
    assert find_preprocessing(encoder, TO_TENSOR[0]).transform is TO_TENSOR[0]


@pytest.mark.parametrize("encoder", [nn.Conv2d(3, 4, 3), None])
def test_a_model_that_says_nothing_needs_a_transform(encoder):
    with pytest.raises(ValueError, match="Expected transform=, a function from a PIL image"):
        find_preprocessing(encoder, None)
