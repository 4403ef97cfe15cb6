from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import jaxtyping
import pytest
import torch
import torchvision
from conftest import images, random_tensor, tiny_encoder
from torch import Tensor, nn
from torch.testing import assert_close

from captum_pairwise import LayerFactorisedShapleyTaylor, SimilarityWrapper
from captum_pairwise.models.backbones import ImageEncoder
from captum_pairwise.network.layer_view import LayerView, SplitEncoder, record_output, view_layer
from captum_pairwise.network.layers import record_calls, refuse_compiled, replace_output

ROWS = 3
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


def random_outputs(view: LayerView, seed: int = 0) -> Tensor:
    return random_tensor(ROWS, *view.output.shape[1:], seed=seed)


def rerun(encoder: nn.Module, layer: nn.Module, inputs: Tensor, outputs: Tensor, example: int) -> Tensor:
    """The oracle: the whole network on one image, with the layer's output replaced."""
    with replace_output(layer, outputs), torch.no_grad():
        return encoder(inputs[example].expand(len(outputs), *inputs.shape[1:]))


def assert_follows(view: LayerView, encoder: nn.Module, layer: nn.Module, inputs: Tensor) -> None:
    for example in range(len(inputs)):
        outputs = random_outputs(view, example)
        expected = rerun(encoder, layer, inputs, outputs, example)
        assert_close(view.tail.run(outputs.clone(), example), expected)


def is_affine(tail: Callable[[Tensor, int], Tensor], outputs: Tensor) -> bool:
    """Whether f(a + b - c) = f(a) + f(b) - f(c), the rows run one at a time."""
    a, b, c = outputs.split(1)
    return torch.allclose(tail(a + b - c, 0), tail(a.clone(), 0) + tail(b.clone(), 0) - tail(c.clone(), 0))


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


class Unsplittable(nn.Module):
    """The same as a SplitEncoder, with control flow that torch.fx cannot follow."""

    def __init__(self, features: nn.Module, tail: nn.Module) -> None:
        super().__init__()
        self.features, self.tail = features, tail

    def forward(self, inputs: Tensor) -> Tensor:
        maps = self.features(inputs)
        return self.tail(maps) if maps.isfinite().all() else maps


ROUTES = {"traced": nn.Sequential, "split": SplitEncoder, "re-run": Unsplittable}


def seen_by(route: str, features: nn.Module, tail: nn.Module) -> LayerView:
    """The view of two parts from between them, by one of three routes."""
    view = view_layer(ROUTES[route](features, tail), features, images()[0])
    assert view.tail.reruns is (route == "re-run")
    return view


def halves() -> tuple[nn.Module, nn.Module]:
    whole = tiny_encoder()
    return whole[:3], whole[3:]


@pytest.mark.parametrize("route", ROUTES)
def test_routes_agree(route: str) -> None:
    features, tail = halves()
    view = seen_by(route, features, tail)
    outputs = random_outputs(view)
    assert_close(view.output, features(images()[0]))
    assert_close(view.tail.run(outputs, 1), tail(outputs))


@pytest.mark.parametrize("routes", [("re-run", "traced"), ("traced", "re-run"), ("re-run", "re-run")])
def test_reruns_are_warned_of_once(routes: tuple[str, str]) -> None:
    """Where something watches what comes before the layer, so that it cannot be skipped."""
    encoders = [ROUTES[route](*halves()) for route in routes]
    for part in (part for encoder in encoders if isinstance(encoder, Unsplittable) for part in encoder.modules()):
        part.register_forward_hook(lambda *_: None)
    layers = tuple(next(encoder.children()) for encoder in encoders)
    with pytest.warns(UserWarning, match="Unsplittable could not be split after the layer.*whole network") as warned:
        LayerFactorisedShapleyTaylor(SimilarityWrapper(*encoders), layers).interactions(images(), n_samples=100)
    assert len(warned) == 1


@pytest.mark.parametrize("route", ROUTES)
def test_gradient_flows_through_the_tail(route: str) -> None:
    features, tail = halves()
    view = seen_by(route, features, tail)
    outputs = random_outputs(view).requires_grad_()
    expected = torch.autograd.grad(tail(outputs).square().sum(), outputs)
    assert_close(torch.autograd.grad(view.tail.run(outputs, 1).square().sum(), outputs), expected)


@pytest.mark.parametrize("route", ROUTES)
def test_only_the_tail_is_run(route: str) -> None:
    features, tail = halves()
    view = seen_by(route, features, tail)
    with record_calls([features[0], tail[1]]) as (first, last):
        view.tail.run(random_outputs(view), 0)
    assert (len(first), len(last)) == (0, 1)


@pytest.mark.parametrize("route", ROUTES)
def test_in_place_tail_leaves_what_it_gets(route: str) -> None:
    features, tail = tiny_encoder()[:1], nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(4, 2, 3).double())
    view = seen_by(route, features, tail)
    assert torch.equal(view.output, features(images()[0]))
    outputs = random_outputs(view)
    view.tail.run(outputs, 0)
    assert torch.equal(outputs, random_outputs(view))


@torch.no_grad()
def test_in_place_relu_of_densenet_leaves_the_record() -> None:
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
        nn.Sequential(nn.BatchNorm2d(6, track_running_stats=False), nn.AvgPool2d(2)),
    ],
    ids=lambda tail: "-".join(type(module).__name__ for module in tail.modules()),
)
def test_affine_tail_of_a_split_encoder_is_known(tail: nn.Module) -> None:
    view = seen_by("split", halves()[0], tail.double().eval())
    assert view.tail.is_affine is is_affine(view.tail.run, random_outputs(view))


def test_last_layer_needs_no_tail() -> None:
    encoder = tiny_encoder()
    view = view_layer(encoder, encoder[4], images()[0])
    assert view.tail.is_affine
    assert_follows(view, encoder, encoder[4], images()[0])


@contextmanager
def without_type_checking() -> Iterator[None]:
    """As users run the package: the checks of its annotations would refuse the proxies of torch.fx."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize("make", [lambda: SplitEncoder(*halves()), lambda: ImageEncoder(tiny_encoder()).double()], ids=["split", "image"])
def test_own_encoders_are_traced_from_any_layer(make: Callable[[], nn.Module]) -> None:
    encoder = make()
    layer = encoder.features[0]
    with without_type_checking():
        view = view_layer(encoder, layer, images()[0])
    assert not view.tail.reruns
    assert_follows(view, encoder, layer, images()[0])


class Net(nn.Module):
    """A layer whose output is positive, and any function of the network, that output and the images."""

    def __init__(self, after: Callable[["Net", Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.layer, self.other = tiny_encoder()[0], tiny_encoder(1)[0]
        self.after = after
        self.register_buffer("gain", random_tensor(1, 4, 1, 1))
        for parameter in self.layer.parameters():
            parameter.data.abs_()

    def forward(self, inputs: Tensor) -> Tensor:
        return self.after(self, self.layer(inputs), inputs)


class WithMask(Net):
    """Has an optional argument that nobody passes."""

    def forward(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        maps = self.layer(inputs)
        return self.after(self, maps if mask is None else maps * mask, inputs)


ODD = {
    "relu that changes nothing here": lambda net, maps, inputs: maps.relu(),
    "in-place relu as a statement": lambda net, maps, inputs: (maps.relu_(), maps.mean((2, 3)))[1],
    "in-place function as a statement": lambda net, maps, inputs: (nn.functional.relu(maps, inplace=True), maps.mean((2, 3)))[1],
    "in-place relu whose result is dropped later": lambda net, maps, inputs: (maps.relu_() + 1, maps.mean((2, 3)))[1],
    "in-place sum into a side value": lambda net, maps, inputs: net.other(inputs).add_(maps),
    "scalar side value": lambda net, maps, inputs: maps * net.gain.sum().to(inputs),
    "vector side value": lambda net, maps, inputs: maps * net.gain[0].to(inputs),
    "side value shared by the batch": lambda net, maps, inputs: maps * net.gain.to(inputs),
    "size of the images": lambda net, maps, inputs: maps.view(inputs.shape[0], -1),
    "two uses of the layer": lambda net, maps, inputs: torch.cat([maps, net.other(inputs), maps], 1).relu(),
    "constant": lambda net, maps, inputs: maps * torch.arange(4)[:, None, None].to(maps),
}


@pytest.mark.parametrize(("make", "odd"), [*((Net, odd) for odd in ODD), (WithMask, "two uses of the layer")])
@torch.no_grad()
def test_odd_encoders_are_never_silently_wrong(make: type[Net], odd: str) -> None:
    encoder, inputs = make(ODD[odd]), images()[0]
    assert_follows(view_layer(encoder, encoder.layer, inputs), encoder, encoder.layer, inputs)


def add_positive_means(net: Net, maps: Tensor, inputs: Tensor) -> Tensor:
    means = inputs.mean((1, 2, 3), keepdim=True)
    means.relu_()
    return maps + means


@torch.no_grad()
def test_in_place_statement_on_a_side_value_is_kept_for_every_example() -> None:
    encoder, inputs = Net(add_positive_means), images()[0] * torch.tensor([1, -1])[:, None, None, None]
    assert_follows(view_layer(encoder, encoder.layer, inputs), encoder, encoder.layer, inputs)


@pytest.mark.parametrize("fix", [lambda net, maps, inputs: maps.view(2, -1), lambda net, maps, inputs: torch.stack([maps[0], maps[1]])])
@torch.no_grad()
def test_hard_coded_batch_size_falls_back(fix: Callable[[Net, Tensor, Tensor], Tensor]) -> None:
    encoder, inputs = Net(fix), images()[0]
    view = view_layer(encoder, encoder.layer, inputs)
    assert view.tail.reruns
    outputs = random_outputs(view)[:2]
    assert_close(view.tail.run(outputs, 1), rerun(encoder, encoder.layer, inputs, outputs, 1))


class Words(nn.Module):
    def forward(self, maps: Tensor) -> tuple[str, None]:
        return "no tensor", None


class Failing(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        raise ArithmeticError("the network fails")


REUSED = nn.Linear(12, 12).double()


@pytest.mark.parametrize(
    ("encoder", "layer", "message"),
    [
        (nn.Sequential(nn.Flatten()), nn.ReLU(), "never did"),
        (nn.Sequential(REUSED, nn.ReLU(), REUSED), REUSED, "ran 2 times"),
    ],
)
def test_layer_must_run_once(encoder: nn.Module, layer: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        view_layer(encoder, layer, images()[0])


@pytest.mark.parametrize(("layer", "came"), [(Words(), "tuple"), (nn.Unflatten(1, (3, 1)), r"\(2, 3, 1, 12, 12\)")])
def test_layer_must_return_a_tensor_of_cells(layer: nn.Module, came: str) -> None:
    with pytest.raises(ValueError, match=came):
        record_output(nn.Sequential(layer), layer, images()[0])


def compiled_in_place() -> nn.Module:
    encoder = tiny_encoder()
    encoder.compile()
    return encoder


@pytest.mark.parametrize(
    "make",
    [lambda: torch.compile(tiny_encoder()), lambda: nn.Sequential(torch.compile(tiny_encoder())), compiled_in_place],
    ids=["whole", "part", "in place"],
)
def test_compiled_models_are_refused(make: Callable[[], nn.Module]) -> None:
    with pytest.raises(ValueError, match="not compiled"):
        refuse_compiled(make())


def hooks(encoder: nn.Module) -> list[object]:
    return [hook for module in encoder.modules() for hook in module._forward_hooks.values()]


@pytest.mark.parametrize("route", ROUTES)
def test_hooks_are_gone(route: str) -> None:
    features, tail = halves()
    view = seen_by(route, features, tail)
    view.tail.run(random_outputs(view), 0)
    assert not hooks(features) + hooks(tail)


def test_hooks_are_gone_after_a_failure() -> None:
    encoder = nn.Sequential(tiny_encoder(), Failing())
    with pytest.raises(ArithmeticError):
        record_output(encoder, encoder[0], images()[0])
    with pytest.raises(ArithmeticError):
        rerun(encoder, encoder[0], images()[0], random_tensor(ROWS, 6), 0)
    assert not hooks(encoder)


def test_looking_leaves_the_model_as_found() -> None:
    encoder = Net(ODD["constant"])
    found = [set(vars(module)) for module in encoder.modules()]
    view_layer(encoder, encoder.layer, images()[0])
    assert [set(vars(module)) for module in encoder.modules()] == found


@torch.no_grad()
def test_hooks_of_the_user_do_not_see_the_tracing() -> None:
    encoder, seen = tiny_encoder(), []
    encoder[4].register_forward_hook(lambda module, inputs, output: seen.append(float(output.mean())))
    view = view_layer(encoder, encoder[2], images()[0])
    assert not view.tail.reruns and seen
    before = len(seen)
    view.tail.run(view.output, 0)
    assert len(seen) == before + 1


@torch.no_grad()
def test_a_hook_on_a_container_is_not_lost() -> None:
    """The graph passes through containers, so a hook that changes their output needs the whole network."""
    encoder = nn.Sequential(tiny_encoder(), nn.Identity())
    encoder[0].register_forward_hook(lambda module, inputs, output: output * 2)
    inputs = images()[0]
    view = view_layer(encoder, encoder[0][2], inputs)
    torch.testing.assert_close(view.tail.run(view.output[:1], 0), encoder(inputs)[:1], rtol=0, atol=1e-12)
