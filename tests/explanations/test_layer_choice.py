"""The layer that is chosen: the last one with places that all information passes."""

import pytest
import torch
from conftest import images, seeded, tiny_encoder
from torch import nn
from torchvision import models

from captum_pairwise.explanations.layer_choice import choose_layer, describe_layer, find_named_layer
from captum_pairwise.models.embedder import Embedder
from captum_pairwise.models.output_field import SelectedOutput
from captum_pairwise.players.position_layouts import apply_layout

PHOTO = torch.rand(1, 3, 64, 64, generator=seeded(0))


def make_vit():
    network = models.VisionTransformer(64, 16, num_layers=3, num_heads=2, hidden_dim=16, mlp_dim=32)
    network.heads = nn.Identity()  # the head of torchvision begins at 0
    return network


class Transformer(nn.Module):
    """Patches with two tokens before them; the embedding is the first token, or the mean of all."""

    def __init__(self, is_mean: bool) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.patches = nn.Conv2d(3, 8, 16, stride=16)
        self.prefix = nn.Parameter(torch.randn(1, 2, 8))
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True) for _ in range(3))
        self.is_mean = is_mean

    def forward(self, pixels):
        tokens = self.patches(pixels).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.prefix.expand(len(tokens), -1, -1), tokens], 1)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens.mean(1) if self.is_mean else tokens[:, 0]


class Page(Transformer):
    """Tokens of text follow the patches, and the encoder names the layer with the patches alone."""

    def __init__(self) -> None:
        super().__init__(is_mean=True)
        self.projector = nn.Linear(8, 8)

    @property
    def patch_layer(self):
        return self.projector

    def forward(self, pixels):
        tokens = self.projector(self.patches(pixels).flatten(2).transpose(1, 2))
        tokens = torch.cat([tokens, self.prefix.expand(len(tokens), -1, -1)], 1)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens


class Residual(nn.Module):
    """The last convolution is a branch beside a skip connection."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.branch = nn.Conv2d(3, 8, 3, stride=2), nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, pixels):
        before = self.stem(pixels)
        return (before + self.branch(before)).mean((2, 3))


class InPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.activation = nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(inplace=True)
        self.head = nn.Linear(8, 5)

    def forward(self, pixels):
        return self.head(self.activation(self.convolution(pixels) + 1).mean((2, 3)))


@pytest.mark.parametrize(
    ("build", "name", "parts"),
    [
        (models.resnet18, "layer4", "2 × 2 cells"),
        (models.densenet121, "features", "2 × 2 cells"),
        (models.mobilenet_v3_small, "features", "2 × 2 cells"),
        (models.convnext_tiny, "features", "2 × 2 cells"),
        (models.swin_t, "permute", "2 × 2 cells"),
        (make_vit, "encoder.layers.encoder_layer_1", "4 × 4 patches"),
        (lambda: Transformer(False), "blocks.1", "4 × 4 patches"),
        (lambda: Transformer(True), "blocks.2", "4 × 4 patches"),
        (Residual, "stem", "31 × 31 cells"),
        (InPlace, "activation", "31 × 31 cells"),
    ],
)
def test_the_layer_and_its_parts(build, name, parts):
    torch.manual_seed(0)
    choice = choose_layer(Embedder(build().eval()), PHOTO)
    assert (choice.name, choice.parts) == (name, parts)


def test_an_encoder_that_returns_a_map():
    choice = choose_layer(Embedder(tiny_encoder()), images(1)[0])
    assert (choice.name, choice.n_parts) == ("4", 9)


def test_an_encoder_without_places():
    assert choose_layer(Embedder(nn.Sequential(nn.Flatten(), nn.Linear(12, 5))), torch.rand(1, 3, 2, 2)) is None


def test_a_layer_that_runs_twice_is_passed_over():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.block = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)

        def forward(self, pixels):
            return self.block(self.block(self.stem(pixels))).mean((2, 3))

    assert choose_layer(Embedder(Twice()), PHOTO).name == "stem"


def test_the_network_is_left_as_it_was():
    encoder = tiny_encoder()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    choose_layer(Embedder(encoder), images(1)[0])
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())
    assert all(parameter.grad is None for parameter in encoder.parameters())
    assert not any(module._forward_hooks for module in encoder.modules())


def test_the_prefix_tokens_are_no_parts():
    encoder = Transformer(False).eval()
    choice = choose_layer(Embedder(encoder), PHOTO)
    positions = torch.arange(18).reshape(1, 18, 1)
    assert choice.mask(positions).flatten().tolist() == list(range(2, 18))


def test_a_named_layer():
    encoder = Transformer(False).eval()
    choice = describe_layer(Embedder(encoder), find_named_layer(encoder, "blocks.0"), PHOTO)
    assert (choice.layer, choice.name, choice.n_parts) == (encoder.blocks[0], "blocks.0", 16)


@pytest.mark.parametrize("name", ["blocks.7", "", "nothing"])
def test_an_unknown_name_is_refused(name):
    with pytest.raises(ValueError, match="Expected the name of a layer of Transformer"):
        find_named_layer(Transformer(False), name)


@pytest.mark.parametrize(
    ("size", "shape", "words"),
    [((64, 64), (4, 4), "4 × 4 patches"), ((288, 272), (9, 9), "9 × 9 blocks of 2 × 2 patches")],
    ids=["few patches", "many patches"],
)
def test_an_encoder_may_name_its_layer_of_patches(size, shape, words):
    page, pixels = Page().eval(), torch.rand(1, 3, *size, generator=seeded(0))
    choice = choose_layer(Embedder(page, keeps_tokens=True), pixels)
    assert choice.layer is page.projector and choice.parts == words and choice.n_parts == shape[0] * shape[1]
    players = apply_layout(torch.zeros(1, size[0] * size[1] // 256, 8), choice.mask, "the mask")
    assert players.shape == shape


class Adapter(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network


@pytest.mark.parametrize("wrap", [lambda network: SelectedOutput(network, 0), Adapter], ids=["selected output", "adapter"])
def test_a_layer_keeps_the_name_that_it_has_in_the_users_network(wrap):
    network = Transformer(False)
    assert find_named_layer(wrap(network), "blocks.0") is network.blocks[0]
