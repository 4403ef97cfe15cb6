"""The batch dimension and the kind of tensors: the shape decides, or else the encoder."""

import pytest
import torch
from torch import nn

import captum_pairwise as cp
from captum_pairwise.explanations.contents import Photo
from captum_pairwise.explanations.tensor_inputs import read_tensor
from captum_pairwise.models.libraries.photo_processing import resize_photos
from captum_pairwise.models.photo_encoder import PhotoEncoder


class FramesFirst(nn.Module):
    """An encoder of videos `[B, T, 3, H, W]`."""

    def forward(self, frames):
        assert frames.dim() == 5 and frames.shape[2] == 3
        return frames.mean((1, 3, 4))


class Waveforms(nn.Module):
    """An encoder of waveforms `[B, T]`."""

    def forward(self, waves):
        assert waves.dim() == 2
        return waves.unfold(1, 4, 4).abs().mean(1)


def make_encoder(convolution, n_channels, pool):
    return nn.Sequential(convolution(n_channels, 2, 3), nn.ReLU(), pool(1), nn.Flatten()).eval()


ENCODERS = {
    "grey": lambda: make_encoder(nn.Conv2d, 1, nn.AdaptiveAvgPool2d),
    "photos": lambda: make_encoder(nn.Conv2d, 3, nn.AdaptiveAvgPool2d),
    "bands": lambda: make_encoder(nn.Conv2d, 5, nn.AdaptiveAvgPool2d),
    "signals": lambda: make_encoder(nn.Conv1d, 5, nn.AdaptiveAvgPool1d),
    "volumes": lambda: make_encoder(nn.Conv3d, 1, nn.AdaptiveAvgPool3d),
    "videos": lambda: make_encoder(nn.Conv3d, 3, nn.AdaptiveAvgPool3d),
    "frames first": FramesFirst,
    "waveforms": Waveforms,
}
CASES = [
    ("grey", (1, 8, 8), (1, 1, 8, 8), Photo),
    ("photos", (3, 8, 8), (1, 3, 8, 8), Photo),
    ("photos", (1, 3, 8, 8), (1, 3, 8, 8), Photo),
    ("bands", (5, 8, 8), (1, 5, 8, 8), cp.Picture),
    ("signals", (5, 8), (1, 5, 8), cp.Signal),
    ("signals", (1, 5, 8), (1, 5, 8), cp.Signal),
    ("volumes", (1, 6, 8, 8), (1, 1, 6, 8, 8), cp.Volume),
    ("volumes", (1, 1, 6, 8, 8), (1, 1, 6, 8, 8), cp.Volume),
    ("videos", (3, 6, 8, 8), (1, 3, 6, 8, 8), cp.Video),
    ("frames first", (6, 3, 8, 8), (1, 6, 3, 8, 8), cp.Video),
]


@pytest.mark.parametrize(("encoder", "shape", "expected", "kind"), CASES)
def test_the_batch_dimension_and_the_kind_follow_from_shape_and_encoder(encoder, shape, expected, kind):
    tensor = torch.rand(shape)
    row, content = read_tensor(ENCODERS[encoder](), tensor, "query")
    assert torch.equal(row, tensor.reshape(expected))
    assert isinstance(content, kind) and content.name == "query"


def test_the_frames_of_a_video_are_on_the_axis_without_colours():
    _, content = read_tensor(FramesFirst(), torch.rand(6, 3, 8, 8), "query")
    assert isinstance(content, cp.Video) and content.n_slices == 6


@pytest.mark.parametrize(("shape", "expected"), [((40,), (1, 40)), ((1, 40), (1, 40))])
def test_a_waveform_needs_no_channel_if_the_encoder_takes_none(shape, expected):
    row, content = read_tensor(Waveforms(), cp.Signal(torch.rand(shape), rate=10), "query")
    assert row.shape == expected and content.rate == 10


def test_a_waveform_gets_the_channel_that_the_encoder_takes():
    encoder = make_encoder(nn.Conv1d, 1, nn.AdaptiveAvgPool1d)
    row, _ = read_tensor(encoder, cp.Signal(torch.rand(40)), "query")
    assert row.shape == (1, 1, 40)


def test_an_input_keeps_its_own_name():
    _, content = read_tensor(None, cp.Volume(torch.rand(1, 4, 4, 4), name="scan 7"), "query")
    assert content.name == "scan 7"


@pytest.mark.parametrize(
    ("encoder", "tensor", "message"),
    [
        ("photos", torch.rand(5, 3, 8, 8), "one image for each tensor.*one by one.*cp.Video"),
        ("photos", torch.rand(40), "an image .*cp.Signal"),
        ("photos", torch.zeros(3, 8, 8, dtype=torch.uint8), "floating-point.*divided by 255"),
        ("photos", torch.zeros(3, 8, 0), "dense tensor"),
    ],
)
def test_other_tensors_are_refused(encoder, tensor, message):
    with pytest.raises(ValueError, match=message):
        read_tensor(ENCODERS[encoder](), tensor, "query")


@pytest.mark.parametrize("scale", [lambda pixels: (pixels - 0.5) / 0.5, lambda pixels: pixels * 255], ids=["normalised", "of 255 steps"])
def test_pixels_that_would_be_normalised_twice_are_refused(scale):
    pixels = torch.linspace(0, 1, 3 * 8 * 8).reshape(3, 8, 8)
    network = ENCODERS["photos"]()
    normalises = PhotoEncoder(network, resize_photos((8, 8), (0.5,) * 3, (0.5,) * 3))
    assert torch.equal(read_tensor(normalises, pixels, "query")[0], pixels[None])
    for item in (scale(pixels), cp.Picture(scale(pixels))):
        with pytest.raises(ValueError, match=r"pixels in \[0, 1\], because PhotoEncoder normalises them itself, got values from"):
            read_tensor(normalises, item, "query")
    plain = PhotoEncoder(network, resize_photos((8, 8), (0.0,) * 3, (1.0,) * 3))
    assert torch.equal(read_tensor(plain, scale(pixels), "query")[0], scale(pixels)[None])
