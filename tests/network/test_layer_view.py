"""Views of encoders from a layer: odd encoders, hooks and failures."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import jaxtyping
import pytest
import torch
from conftest import images, random_tensor, tiny_encoder
from layer_cases import ROUTES, ROWS, Unsplittable, assert_follows, halves, random_outputs, rerun, view_route
from torch import Tensor, nn
from torch.testing import assert_close

from captum_pairwise import LayerFactorisedShapleyTaylor, SimilarityWrapper
from captum_pairwise.models.backbones import ImageEncoder
from captum_pairwise.network.layer_view import SplitEncoder, record_output, view_layer
from captum_pairwise.network.layers import record_calls


@pytest.mark.parametrize("route", ROUTES)
def test_routes_agree(route: str) -> None:
    features, tail = halves()
    view = view_route(route, features, tail)
    outputs = random_outputs(view)
    assert_close(view.output, features(images()[0]))
    assert_close(view.tail.run(outputs, 1), tail(outputs))


@pytest.mark.slow
@pytest.mark.parametrize("routes", [("re-run", "traced"), ("traced", "re-run"), ("re-run", "re-run")])
def test_reruns_are_warned_of_once(routes: tuple[str, str]) -> None:
    """Hooks on the modules before the layer forbid skipping them."""
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
    view = view_route(route, features, tail)
    outputs = random_outputs(view).requires_grad_()
    expected = torch.autograd.grad(tail(outputs).square().sum(), outputs)
    assert_close(torch.autograd.grad(view.tail.run(outputs, 1).square().sum(), outputs), expected)


@pytest.mark.parametrize("route", ROUTES)
def test_only_the_tail_is_run(route: str) -> None:
    features, tail = halves()
    view = view_route(route, features, tail)
    with record_calls([features[0], tail[1]]) as (first, last):
        view.tail.run(random_outputs(view), 0)
    assert (len(first), len(last)) == (0, 1)


@pytest.mark.parametrize("route", ROUTES)
def test_in_place_tail_does_not_change_its_input(route: str) -> None:
    features, tail = tiny_encoder()[:1], nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(4, 2, 3).double())
    view = view_route(route, features, tail)
    assert torch.equal(view.output, features(images()[0]))
    outputs = random_outputs(view)
    view.tail.run(outputs, 0)
    assert torch.equal(outputs, random_outputs(view))


def test_last_layer_needs_no_tail() -> None:
    encoder = tiny_encoder()
    view = view_layer(encoder, encoder[4], images()[0])
    assert view.tail.is_affine
    assert_follows(view, encoder, encoder[4], images()[0])


@contextmanager
def disable_type_checking() -> Iterator[None]:
    """Run as for users, because the checks of annotations refuse the proxies of torch.fx."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize("make", [lambda: SplitEncoder(*halves()), lambda: ImageEncoder(tiny_encoder()).double()], ids=["split", "image"])
def test_own_encoders_are_traced_from_any_layer(make: Callable[[], nn.Module]) -> None:
    encoder = make()
    layer = encoder.features[0]
    with disable_type_checking():
        view = view_layer(encoder, layer, images()[0])
    assert not view.tail.reruns
    assert_follows(view, encoder, layer, images()[0])


class Net(nn.Module):
    """A layer with positive output, then any function of the network, that output and the images."""

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
    """Has an optional argument that no caller passes."""

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
def test_odd_encoders_follow_the_layer(make: type[Net], odd: str) -> None:
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
def test_hard_coded_batch_size_is_refused(fix: Callable[[Net, Tensor, Tensor], Tensor]) -> None:
    encoder, inputs = Net(fix), images()[0]
    with pytest.raises(ValueError, match=r"fixed batch sizes|one row for each image"):
        view_layer(encoder, encoder.layer, inputs)


class Failing(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        raise ArithmeticError("the network fails")


def hooks(encoder: nn.Module) -> list[object]:
    return [hook for module in encoder.modules() for hook in module._forward_hooks.values()]


@pytest.mark.parametrize("route", ROUTES)
def test_hooks_are_removed(route: str) -> None:
    features, tail = halves()
    view = view_route(route, features, tail)
    view.tail.run(random_outputs(view), 0)
    assert not hooks(features) + hooks(tail)


def test_hooks_are_removed_after_a_failure() -> None:
    encoder = nn.Sequential(tiny_encoder(), Failing())
    with pytest.raises(ArithmeticError):
        record_output(encoder, encoder[0], images()[0])
    with pytest.raises(ArithmeticError):
        rerun(encoder, encoder[0], images()[0], random_tensor(ROWS, 6), 0)
    assert not hooks(encoder)


def test_viewing_does_not_change_the_model() -> None:
    encoder = Net(ODD["constant"])
    found = [set(vars(module)) for module in encoder.modules()]
    view_layer(encoder, encoder.layer, images()[0])
    assert [set(vars(module)) for module in encoder.modules()] == found


@torch.no_grad()
def test_tracing_does_not_call_hooks_of_the_user() -> None:
    encoder, seen = tiny_encoder(), []
    encoder[4].register_forward_hook(lambda module, inputs, output: seen.append(float(output.mean())))
    view = view_layer(encoder, encoder[2], images()[0])
    assert not view.tail.reruns and seen
    before = len(seen)
    view.tail.run(view.output, 0)
    assert len(seen) == before + 1


@torch.no_grad()
def test_a_hook_on_a_container_is_not_lost() -> None:
    """The graph has no nodes for containers, so a hook that changes the output of one needs the whole network."""
    encoder = nn.Sequential(tiny_encoder(), nn.Identity())
    encoder[0].register_forward_hook(lambda module, inputs, output: output * 2)
    inputs = images()[0]
    view = view_layer(encoder, encoder[0][2], inputs)
    torch.testing.assert_close(view.tail.run(view.output[:1], 0), encoder(inputs)[:1], rtol=0, atol=1e-12)
