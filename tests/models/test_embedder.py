"""Embeddings of an encoder: the average over positions, wherever the channels are."""

import pytest
import torch
from conftest import assert_refused, random_tensor
from torch import Tensor, nn

from captum_pairwise.models.embedder import Embedder

IMAGES = random_tensor(2, 3, 8, 6)


class ChannelsLast(nn.Module):
    """A convolution whose output has the channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 5, 2, stride=2).double()

    def forward(self, images: Tensor) -> Tensor:
        return self.convolution(images).permute(0, 2, 3, 1)


@pytest.mark.parametrize("layout", [None, "NHWC"])
def test_positions_are_averaged_and_channels_stay(layout):
    encoder = ChannelsLast()
    maps = encoder(IMAGES)
    expected = sum(maps[:, row, column] for row in range(4) for column in range(3)) / 12
    embedder = Embedder(encoder, layout)
    torch.testing.assert_close(embedder.embed(IMAGES), expected)
    torch.testing.assert_close(embedder.embed(IMAGES[:1]), expected[:1])  # the axis is found once


@pytest.mark.parametrize(("layout", "axis"), [("NCHW", 1), ("NHWC", 3), ("NCDHW", 1)])
def test_a_layout_tells_the_axis_of_the_channels(layout, axis):
    output = random_tensor(2, *range(3, 2 + len(layout)))
    expected = torch.stack([output.select(axis, channel).flatten(1).mean(1) for channel in range(output.shape[axis])], 1)
    torch.testing.assert_close(Embedder(nn.Identity(), layout).pool(output), expected)


def test_tokens_are_kept_only_on_request():
    tokens = random_tensor(2, 4, 5)
    assert Embedder(nn.Identity(), keeps_tokens=True).pool(tokens) is tokens
    torch.testing.assert_close(Embedder(nn.Identity(), "NTC").pool(tokens), tokens.mean(1))
    assert_refused(lambda: Embedder(nn.Identity()).pool(tokens), "layout='NTC' to average its tokens")
