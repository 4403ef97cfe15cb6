"""The axis of the channels against what is known of each operation, with sizes that cannot be told apart by their shape."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
import torchvision
from conftest import seeded
from torch import Tensor, nn

from captum_pairwise.network.channel_axis import ChannelTracker
from captum_pairwise.network.output_axis import compare_sizes

SIZE = 4  # of every axis, so that only the operations tell which axis is which


def square(n_axes: int) -> Tensor:
    return torch.rand([SIZE] * n_axes, generator=seeded(0))


def track(function: Callable[[Tensor], object], inputs: Tensor) -> int | None:
    with ChannelTracker() as tracker:
        output = function(inputs)
    output = output[0] if isinstance(output, tuple) else output
    assert isinstance(output, Tensor)
    return tracker.get_axis(output)


LAYERS = {
    "conv1d": (nn.Conv1d(SIZE, SIZE, 1), square(3), 1),
    "conv1d without a batch": (nn.Conv1d(SIZE, SIZE, 1), square(2), 0),
    "conv2d": (nn.Conv2d(SIZE, SIZE, 1), square(4), 1),
    "conv3d": (nn.Conv3d(SIZE, SIZE, 1), square(5), 1),
    "transposed conv1d": (nn.ConvTranspose1d(SIZE, SIZE, 1), square(3), 1),
    "transposed conv2d": (nn.ConvTranspose2d(SIZE, SIZE, 1), square(4), 1),
    "transposed conv3d": (nn.ConvTranspose3d(SIZE, SIZE, 1), square(5), 1),
    "linear": (nn.Linear(SIZE, SIZE), square(4), 3),
    "product with a matrix": (lambda x: x @ square(2), square(3), 2),
    "layer norm": (nn.LayerNorm(SIZE), square(4), 3),
    "layer norm of a map": (nn.LayerNorm([SIZE] * 3), square(4), None),
    "rms norm": (nn.RMSNorm(SIZE), square(3), 2),
    "batch norm 1d": (nn.BatchNorm1d(SIZE), square(3), 1),
    "batch norm 3d": (nn.BatchNorm3d(SIZE), square(5), 1),
    "group norm": (nn.GroupNorm(2, SIZE), square(4), 1),
    "instance norm": (nn.InstanceNorm2d(SIZE, affine=True), square(4), 1),
    "embedding": (lambda x: F.embedding(x.long(), square(2)), square(2), 2),
    "attention": (lambda x: nn.MultiheadAttention(SIZE, 2, batch_first=True)(x, x, x), square(3), 2),
    "gru": (nn.GRU(SIZE, SIZE, batch_first=True), square(3), 2),
    "lstm": (nn.LSTM(SIZE, SIZE, batch_first=True), square(3), 2),
    "rnn": (nn.RNN(SIZE, SIZE, batch_first=True), square(3), 2),
    "nothing known": (nn.ReLU(), square(4), None),
}


@pytest.mark.parametrize(("layer", "inputs", "axis"), LAYERS.values(), ids=LAYERS)
def test_layers_tell_the_axis_of_their_channels(layer: Callable, inputs: Tensor, axis: int | None) -> None:
    assert track(layer, inputs) == axis


# the steps after a convolution [B, C, H, W] = [4, 4, 4, 4]

STEPS: dict[str, tuple[Callable[[Tensor], object], int | None]] = {
    "relu": (F.relu, 1),
    "relu in place": (lambda x: F.relu_(x), 1),
    "add in place": (lambda x: x.add_(1), 1),
    "sum with a new tensor": (lambda x: x + square(4), 1),
    "scale of each channel": (lambda x: x * x.mean((2, 3), keepdim=True), 1),
    "pooling": (lambda x: F.max_pool2d(x, 2), 1),
    "interpolate": (lambda x: F.interpolate(x, scale_factor=2), 1),
    "roll": (lambda x: x.roll(1, 2), 1),
    "normalize": (lambda x: F.normalize(x, dim=1), 1),
    "permute": (lambda x: x.permute(0, 2, 3, 1), 3),
    "permute of numbers below 0": (lambda x: x.permute(0, -2, -1, -3), 3),
    "transpose": (lambda x: x.transpose(1, 2), 2),
    "transpose in place": (lambda x: x.transpose_(1, 2), 2),
    "transpose of the positions": (lambda x: x.transpose(2, 3), 1),
    "swapaxes": (lambda x: x.swapaxes(1, 3), 3),
    "swapdims in place": (lambda x: x.swapdims_(1, 3), 3),
    "movedim": (lambda x: x.movedim(1, -1), 3),
    "moveaxis": (lambda x: torch.moveaxis(x, 1, 2), 2),
    "mT": (lambda x: x.mT, 1),
    "mT of channels": (lambda x: x.flatten(2).mT, 2),
    "flatten of positions": (lambda x: x.flatten(2), 1),
    "tokens": (lambda x: x.flatten(2).transpose(1, 2), 2),
    "flatten of channels": (lambda x: x.flatten(1), None),
    "view": (lambda x: x.view(SIZE, SIZE, SIZE * SIZE), 1),
    "reshape of tokens": (lambda x: x.permute(0, 2, 3, 1).reshape(SIZE, SIZE * SIZE, SIZE), 2),
    "positions into the batch": (lambda x: x.permute(0, 2, 3, 1).reshape(-1, SIZE), 1),
    "unflatten of positions": (lambda x: x.flatten(2).unflatten(2, (SIZE, SIZE)), 1),
    "unflatten of channels": (lambda x: x.unflatten(1, (2, 2)), None),
    "unsqueeze": (lambda x: x.unsqueeze(1), 2),
    "unsqueeze in place": (lambda x: x.unsqueeze_(1), 2),
    "unsqueeze at the end": (lambda x: x.unsqueeze(-1), 1),
    "squeeze": (lambda x: x.unsqueeze(1).squeeze(1), 1),
    "mean of positions": (lambda x: x.mean((2, 3)), 1),
    "mean of rows": (lambda x: x.mean(2), 1),
    "mean of channels": (lambda x: x.mean(1), None),
    "mean of channels kept": (lambda x: x.mean(1, keepdim=True), None),
    "norm of channels": (lambda x: torch.linalg.vector_norm(x, dim=1, keepdim=True), None),
    "amax": (lambda x: x.amax(3), 1),
    "max with places": (lambda x: x.max(3), 1),
    "index of a row": (lambda x: x[:, :, 0], 1),
    "index of a channel": (lambda x: x[:, 0], None),
    "index with a new axis": (lambda x: x[:, None], 2),
    "slice of rows": (lambda x: x[:, :, 1:], 1),
    "slice of channels": (lambda x: x[:, 1:], 1),
    "select": (lambda x: x.select(3, 0), 1),
    "unbind": (lambda x: x.unbind(2), 1),
    "cat of channels": (lambda x: torch.cat([x, x], 1), 1),
    "cat of rows": (lambda x: torch.cat([x, square(4)], 2), 1),
    "chunk of channels": (lambda x: x.chunk(2, 1), 1),
    "chunk of rows": (lambda x: x.chunk(2, 2), 1),
    "stack": (lambda x: torch.stack([x, x], 1), None),
    "einsum": (lambda x: torch.einsum("bchw->bhwc", x), None),
    "product of two maps": (lambda x: x @ x, None),
    "attention of tokens": (lambda x: F.scaled_dot_product_attention(*[x.flatten(2).mT] * 3), None),
    "distances": (lambda x: torch.cdist(x[:, :, 0].mT, x[:, :, 0].mT), None),
    "pixel shuffle": (lambda x: F.pixel_shuffle(x, 2), None),
    "rot90": (lambda x: x.rot90(1, (1, 2)), None),
    "two layouts": (lambda x: x + x.permute(0, 2, 3, 1), None),
    "two layouts in one tensor": (lambda x: torch.cat([x, x.transpose(1, 2)], 1), None),
    "in place with another layout": (lambda x: x.add_(x.transpose(1, 2).clone()), None),
    "linear of the channels": (lambda x: nn.Linear(SIZE, SIZE)(x.permute(0, 2, 3, 1)), 3),
    "linear of the positions": (lambda x: nn.Linear(SIZE, SIZE)(x), None),  # its channels are no features of a position
    "norm of the positions": (lambda x: nn.LayerNorm(SIZE)(x), None),
    "an axis seven": (lambda x: x.movedim(1, -1)[..., None, None, None, :].mean(1), None),
}


@pytest.mark.parametrize(("step", "axis"), STEPS.values(), ids=STEPS)
@torch.no_grad()
def test_steps_keep_move_or_lose_the_axis(step: Callable, axis: int | None) -> None:
    conv = nn.Conv2d(SIZE, SIZE, 1)
    assert track(lambda x: step(conv(x)), square(4)) == axis


@torch.no_grad()
def test_a_mixer_of_tokens_asks_rather_than_takes_tokens_for_channels() -> None:
    channels, tokens = nn.Linear(SIZE, SIZE), nn.Linear(SIZE, SIZE)
    assert track(lambda x: tokens(channels(x).transpose(1, 2)), square(3)) is None
    assert track(lambda x: channels(x) + tokens(channels(x).transpose(1, 2)).transpose(1, 2), square(3)) == 2


def test_a_tensor_from_outside_is_unknown() -> None:
    with ChannelTracker() as tracker:
        assert tracker.get_axis(square(3)) is None


# networks


def tiny_vit() -> nn.Module:
    return torchvision.models.VisionTransformer(32, 8, num_layers=1, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=4)


NETWORKS = {
    "resnet18": (torchvision.models.resnet18, {"conv1": 1, "layer1.0": 1, "layer2.0.downsample": 1, "layer4": 1, "avgpool": 1}),
    "convnext_tiny": (torchvision.models.convnext_tiny, {"features.0": 1, "features.1.0": 1, "features.1.0.block.3": 3, "features.7": 1}),
    "swin_t": (torchvision.models.swin_t, {"features.0": 3, "features.1.1": 3, "features.2": 3, "features.7": 3, "norm": 3, "permute": 1}),
    "vit": (tiny_vit, {"conv_proj": 1, "encoder.layers.encoder_layer_0": 2, "encoder.ln": 2}),
    "densenet121": (torchvision.models.densenet121, {"features.denseblock1": 1, "features.transition1": 1, "features": 1}),
    "swin3d_t": (torchvision.models.video.swin3d_t, {"patch_embed": 4, "features.0.1": 4, "features.1": 4, "norm": 4}),
}


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_layers_of_networks(name: str) -> None:
    make, expected = NETWORKS[name]
    network, axes = make().eval(), {}
    inputs = torch.rand(1, 3, *[4] * (name == "swin3d_t"), 32, 32, generator=seeded(0))

    def note(path: str, _module: nn.Module, _inputs: object, output: Tensor) -> None:
        axes[path] = tracker.get_axis(output)

    for path in expected:
        network.get_submodule(path).register_forward_hook(partial(note, path))
    with ChannelTracker() as tracker:
        network(inputs)
    assert axes == expected


# a second size

FREE = nn.Sequential(nn.Conv2d(3, 5, 1), nn.ReLU())
COMPARED = {
    "map": (torch.jit.script(FREE), torch.rand(1, 3, 5, 5), 1),
    "channels last": (lambda x: FREE(x).permute(0, 2, 3, 1), torch.rand(1, 3, 5, 5), 3),
    "signal": (torch.jit.script(nn.Conv1d(3, 5, 1)), torch.rand(1, 3, 5), 1),
    "volume": (torch.jit.script(nn.Conv3d(3, 5, 1)), torch.rand(1, 3, 5, 5, 5), 1),
    "tokens": (nn.Embedding(9, 5), torch.zeros(1, 5, dtype=torch.long), 2),
    "channels before tokens": (lambda x: nn.Embedding(9, 5)(x).mT, torch.zeros(1, 5, dtype=torch.long), 1),
    "map of a fixed size": (lambda x: F.adaptive_avg_pool2d(FREE(x), 2), torch.rand(1, 3, 5, 5), None),
    "channels mixed with rows": (lambda x: FREE(x).flatten(1, 2), torch.rand(1, 3, 5, 5), None),
    "network of a fixed size": (lambda x: nn.Linear(5, 5)(x), torch.rand(1, 3, 5, 5), None),
    "other axes for another size": (lambda x: FREE(x) if x.shape[2] == 5 else FREE(x).flatten(2), torch.rand(1, 3, 5, 5), None),
    "integer images": (lambda x: FREE(x.float()), torch.zeros(1, 3, 5, 5, dtype=torch.long), None),
}


@pytest.mark.parametrize(("run", "inputs", "axis"), COMPARED.values(), ids=COMPARED)
@torch.no_grad()
def test_a_second_size_shows_the_axis_that_does_not_grow(run: Callable, inputs: Tensor, axis: int | None) -> None:
    assert compare_sizes(run, inputs) == axis
