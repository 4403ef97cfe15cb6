"""Encoders split by three routes, and the rerun of a whole network as the oracle for its tails."""

from collections.abc import Callable

import torch
from conftest import images, random_tensor, tiny_encoder
from torch import Tensor, nn
from torch.testing import assert_close

from captum_pairwise.network.layer_view import LayerView, SplitEncoder, view_layer
from captum_pairwise.network.layers import replace_output

ROWS = 3


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
    """True if f(a + b - c) = f(a) + f(b) - f(c), with one row in each run."""
    a, b, c = outputs.split(1)
    return torch.allclose(tail(a + b - c, 0), tail(a.clone(), 0) + tail(b.clone(), 0) - tail(c.clone(), 0))


class Unsplittable(nn.Module):
    """Like `SplitEncoder`, with control flow that torch.fx cannot follow."""

    def __init__(self, features: nn.Module, tail: nn.Module) -> None:
        super().__init__()
        self.features, self.tail = features, tail

    def forward(self, inputs: Tensor) -> Tensor:
        maps = self.features(inputs)
        return self.tail(maps) if maps.isfinite().all() else maps


ROUTES = {"traced": nn.Sequential, "split": SplitEncoder, "re-run": Unsplittable}


def view_route(route: str, features: nn.Module, tail: nn.Module) -> LayerView:
    """The view between two parts of an encoder, by one of three routes."""
    view = view_layer(ROUTES[route](features, tail), features, images()[0])
    assert view.tail.reruns is (route == "re-run")
    return view


def halves() -> tuple[nn.Module, nn.Module]:
    whole = tiny_encoder()
    return whole[:3], whole[3:]
