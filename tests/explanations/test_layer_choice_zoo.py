"""Layers that are chosen for networks of many kinds, against cutting the network at each layer."""

import pytest
import torch
import torchvision
from conftest import seeded
from model_cases import count_calls
from torch import Tensor, nn

from captum_pairwise import SimilarityWrapper
from captum_pairwise.explanations.layer_choice import LayerChoice, choose_layer
from captum_pairwise.network.layer_outputs import get_first_tensor
from captum_pairwise.network.layers import replace_output

SIZE = 64


def photos(size: int = SIZE) -> Tensor:
    return torch.rand(1, 3, size, size, generator=seeded(0))


def choose(encoder: nn.Module, images: Tensor | None = None) -> LayerChoice | None:
    return choose_layer(SimilarityWrapper(encoder.eval()).make_embedder(0), photos() if images is None else images)


class TinyTransformer(nn.Module):
    """A vision transformer with a class token, which alone is used, or with an average of the patches."""

    def __init__(self, uses_class: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.uses_class = uses_class
        self.patches = nn.Conv2d(3, 16, 16, stride=16)
        self.token = nn.Parameter(torch.ones(1, 1, 16))
        self.blocks = nn.Sequential(*(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True) for _ in range(3)))
        self.norm = nn.LayerNorm(16)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).mT
        tokens = torch.cat([self.token.expand(len(tokens), -1, -1), tokens], 1)
        tokens = self.norm(self.blocks(tokens))
        return tokens[:, 0] if self.uses_class else tokens[:, 1:].mean(1)


class InPlace(nn.Module):
    """Steps in place on the input and on the output of a layer, with a branch beside a convolution."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.branch = nn.Conv2d(3, 8, 8, stride=8), nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.stem(images.sub_(0.5)).relu_()
        return (maps + self.branch(maps)).mean((2, 3))


class Windows(nn.Module):
    """The rows of the output of its first layer are windows of images."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.window, self.linear = nn.Conv2d(3, 8, 8, stride=8), nn.Linear(8, 8)

    def forward(self, images: Tensor) -> Tensor:
        quarters = images.unfold(2, SIZE // 2, SIZE // 2).unfold(3, SIZE // 2, SIZE // 2)
        rows = quarters.permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, SIZE // 2, SIZE // 2)
        return self.linear(self.window(rows).mean((2, 3))).reshape(len(images), 4, 8).mean(1)


class Pooled(nn.Module):
    """A network inside a network, whose second output is pooled from the map that it also returns, as in transformers."""

    class Backbone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.stem = nn.Conv2d(3, 8, 8, stride=8)

        def forward(self, images: Tensor) -> dict[str, Tensor]:
            maps = self.stem(images).relu()
            return {"last_hidden_state": maps, "pooler_output": maps.mean((2, 3))}

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key, self.backbone = key, self.Backbone()

    def forward(self, images: Tensor) -> Tensor:
        returned = self.backbone(images)[self.key]
        return returned.mean((2, 3)) if returned.dim() == 4 else returned


@pytest.mark.parametrize(
    ("encoder", "name", "parts"),
    [
        (TinyTransformer(uses_class=True), "blocks.1", "4 × 4 patches"),
        (TinyTransformer(uses_class=False), "norm", "4 × 4 patches"),
        (InPlace(), "stem", "8 × 8 cells"),
        (Pooled("pooler_output"), "backbone.stem", "8 × 8 cells"),
        (torchvision.models.vgg11(num_classes=10), "features", "2 × 2 cells"),
        (torchvision.models.resnet18(num_classes=10), "layer4", "2 × 2 cells"),
        (torchvision.models.swin_t(num_classes=10), "permute", "2 × 2 cells"),
    ],
    ids=["class token", "mean of patches", "in place", "output beside", "vgg11", "resnet18", "swin_t"],
)
def test_the_last_layer_with_places_is_chosen_in_one_pass(encoder: nn.Module, name: str, parts: str) -> None:
    calls, images = count_calls(encoder), photos()
    before = images.clone()
    choice = choose(encoder, images)
    assert choice is not None and (choice.name, choice.parts) == (name, parts)
    assert calls[encoder] == 1
    assert torch.equal(images, before)
    assert_acts_alone(encoder, choice.layer, images)


def assert_acts_alone(encoder: nn.Module, layer: nn.Module, images: Tensor) -> None:
    """Assert that the input changes the embedding, but not while the output of the layer is held."""
    outputs = []
    with layer.register_forward_hook(lambda _module, _inputs, output: outputs.append(get_first_tensor(output).clone())), torch.no_grad():
        before, other = encoder(images.clone()), encoder(images.flip(-1))
    with torch.no_grad(), replace_output(layer, outputs[0]):
        assert torch.equal(encoder(images.flip(-1)), before) and not torch.equal(before, other)


@pytest.mark.parametrize("encoder", [Windows(), torchvision.models.VisionTransformer(SIZE, 16, 2, 2, 32, 64)], ids=["windows", "zero head"])
def test_no_layer_is_chosen_if_rows_are_windows_or_nothing_moves_the_embedding(encoder: nn.Module) -> None:
    calls = count_calls(encoder)
    assert choose(encoder) is None
    assert calls[encoder] == 1


def test_a_network_whose_first_output_is_used_is_the_layer() -> None:
    choice = choose(Pooled("last_hidden_state"))
    assert choice is not None and choice.name == "backbone"
