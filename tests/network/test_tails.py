"""Traced tails of torchvision networks against the whole network."""

from functools import cache

import pytest
import torch
import torchvision
from conftest import assert_refused, images, random_tensor, tiny_encoder
from layer_cases import ROWS, assert_follows, halves, is_affine, random_outputs, view_route
from torch import Tensor, nn
from torch.testing import assert_close

import captum_pairwise as cp
from captum_pairwise.network.layer_view import LayerView, view_layer

CASES = [
    ("resnet18", "layer4"),
    ("resnet18", "layer2.1.bn1"),  # the block's input goes around it
    ("resnet18", "layer3.0.downsample"),  # the block's body goes around it, and is added to in place
    ("resnet50", "layer4"),
    ("resnet50", "layer3.2.conv2"),
    ("vgg11", "features"),
    ("vgg11", "features.8"),
    ("densenet121", "features"),
    ("densenet121", "features.denseblock2"),
    ("densenet121", "features.denseblock3.denselayer20.conv1"),  # the block's earlier maps go around it
    ("efficientnet_b0", "features"),
    ("efficientnet_b0", "features.4"),
    ("efficientnet_b0", "features.6.1.block.1"),  # before squeeze and excitation
    ("mobilenet_v2", "features"),
    ("mobilenet_v2", "features.10"),
    ("mobilenet_v3_small", "features"),
    ("mobilenet_v3_small", "features.6"),
    ("convnext_tiny", "features"),
    ("convnext_tiny", "features.4"),
    ("vit", "encoder.layers.encoder_layer_0"),
]
each_case = pytest.mark.parametrize(("name", "layer"), CASES)


@cache
def network(name: str) -> nn.Module:
    """A network of torchvision in float64, with random weights that keep the scale of its maps."""
    built = tiny_vit() if name == "vit" else getattr(torchvision.models, name)()
    if name == "vgg11":
        built.classifier = nn.Sequential(nn.Linear(25088, 8), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(8, 8))  # not 1 GB
    for norm in (module for module in built.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.momentum = None  # the statistics of one batch, instead of mean 0 and variance 1
    with torch.no_grad():
        built.double()(batch(name).repeat(2, 1, 1, 1))
    return built.eval()


def tiny_vit() -> nn.Module:
    vit = torchvision.models.VisionTransformer(32, 8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=4)
    nn.init.normal_(vit.heads.head.weight)  # torchvision's zeros would hide everything
    return vit


def batch(name: str) -> Tensor:
    return random_tensor(2, 3, *((32, 32) if name == "vit" else (64, 64)))


@cache
def view_of(name: str, layer: str) -> LayerView:
    with torch.no_grad():
        return view_layer(network(name), network(name).get_submodule(layer), batch(name))


@pytest.mark.slow
@each_case
@torch.no_grad()
def test_traced_tail_reproduces_the_network(name: str, layer: str) -> None:
    view, expected = view_of(name, layer), network(name)(batch(name))
    assert not view.tail.reruns
    for example in range(2):
        rows = view.output[[example] * ROWS]
        assert_close(view.tail.run(rows, example), expected[[example] * ROWS])


@each_case
@torch.no_grad()
def test_traced_tail_follows_the_layer(name: str, layer: str) -> None:
    assert_follows(view_of(name, layer), network(name), network(name).get_submodule(layer), batch(name))


@each_case
@torch.no_grad()
def test_affine_tails_are_known(name: str, layer: str) -> None:
    view = view_of(name, layer)
    assert view.tail.is_affine is is_affine(view.tail.run, random_outputs(view))


@torch.no_grad()
def test_in_place_relu_does_not_change_the_recorded_output() -> None:
    features = network("densenet121").get_submodule("features")
    assert torch.equal(view_of("densenet121", "features").output, features(batch("densenet121")))


@pytest.mark.parametrize(
    "tail",
    [
        nn.AdaptiveAvgPool2d(1),
        nn.Conv2d(6, 2, 1),
        nn.Linear(5, 2),
        nn.ReLU(),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(6, 2)),
        nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten()),
        nn.Sequential(nn.BatchNorm2d(6), nn.AvgPool2d(2)),
    ],
    ids=lambda tail: "-".join(type(module).__name__ for module in tail.modules()),
)
def test_affine_tail_of_a_split_encoder_is_known(tail: nn.Module) -> None:
    view = view_route("split", halves()[0], tail.double().eval())
    assert view.tail.is_affine is is_affine(view.tail.run, random_outputs(view))


# shortcuts need evidence


class Rectified(nn.Linear):
    """A linear layer with a step more."""

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs).relu()


def change_head(kind: str) -> nn.Module:
    """A head that looks like a linear layer."""
    head = (Rectified if kind == "subclass" else nn.Linear)(6, 5).double()
    for k, parameter in enumerate(head.parameters()):
        parameter.data.copy_(random_tensor(*parameter.shape, seed=k))
    if kind == "forward":
        head.forward = lambda inputs: nn.functional.linear(inputs, head.weight, head.bias).relu()
    if kind == "hook":
        head.register_forward_hook(lambda _module, _inputs, output: output.relu())
    if kind == "pre-hook":
        head.register_forward_pre_hook(lambda _module, inputs: (inputs[0].square(),))
    if kind == "parametrisation":
        nn.utils.parametrizations.spectral_norm(head)
    return head.eval()


@pytest.mark.parametrize("kind", ["subclass", "forward", "hook", "pre-hook", "parametrisation"])
def test_a_changed_linear_head_is_no_shortcut(kind: str) -> None:
    encoder = nn.Sequential(*tiny_encoder(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), change_head(kind)).eval()
    masks = {"layer_mask": (cp.grid(3, 3, 2, 1), cp.grid(3, 3, 1, 2))}
    model, layer = cp.SimilarityWrapper(encoder), encoder[4]
    assert not view_layer(encoder, layer, images()[0]).tail.is_affine
    assert_refused(lambda: cp.LayerSAM(model, layer).attribute(images(), **masks), "only pooling and linear layers")
    whole = lambda q, r: nn.functional.cosine_similarity(encoder(q), encoder(r))  # noqa: E731 - the whole network for each coalition
    exact, by_hand = (cp.LayerExactShapleyTaylor(f, layer).attribute(images(), **masks) for f in (model, whole))
    assert_close(exact, by_hand, rtol=0, atol=1e-12)


class Observer(nn.Module):
    """Divides by the range of the layer's output, which a traced graph holds as the constant of the last run."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.range = tiny_encoder(), torch.ones(1)

    def forward(self, inputs: Tensor) -> Tensor:
        maps = self.layer(inputs)
        if isinstance(maps, Tensor):
            self.range = maps.abs().amax((1, 2, 3), keepdim=True)
        return (maps / self.range).tanh().mean((2, 3))


@torch.no_grad()
def test_a_constant_from_the_layers_output_is_no_tail() -> None:
    encoder, inputs = Observer(), images(1)[0]
    view = view_layer(encoder, encoder.layer, inputs)
    assert view.tail.reruns
    assert_follows(view, encoder, encoder.layer, inputs)


class Caching(nn.Module):
    """Keeps a bias for each device in a dictionary, as LeViT does in evaluation mode; while it is traced, the device is a proxy."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.bias, self.cache = tiny_encoder(), nn.Parameter(random_tensor(6)), {}

    def forward(self, inputs: Tensor) -> Tensor:
        means = self.layer(inputs).mean((2, 3))
        key = str(means.device)
        if key not in self.cache:
            self.cache[key] = self.bias * means.shape[1]
        return (means + self.cache[key]).tanh()


@torch.no_grad()
def test_a_trace_leaves_no_proxy_in_a_cache() -> None:
    encoder, inputs = Caching(), images(1)[0]
    for _ in range(2):
        view = view_layer(encoder, encoder.layer, inputs)
        assert_follows(view, encoder, encoder.layer, inputs)
        assert [type(value) for value in encoder.cache.values()] == [Tensor]
