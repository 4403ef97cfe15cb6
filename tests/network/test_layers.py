"""Hooks of layers, of one thread alone; layers that cannot be recorded, and compiled models, are refused."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from conftest import images, tiny_encoder
from torch import Tensor, nn

from captum_pairwise.network.layer_view import record_output, view_layer
from captum_pairwise.network.layers import record_calls, refuse_compiled, replace_output


def test_another_thread_neither_records_nor_gets_replaced_outputs() -> None:
    layer, rows = nn.ReLU(), torch.ones(2, 3)
    with ThreadPoolExecutor(1) as thread, record_calls([layer]) as (calls,), replace_output(layer, 5 * rows):
        assert torch.equal(thread.submit(layer, rows).result(), rows) and not calls
        assert torch.equal(layer(rows), 5 * rows) and len(calls) == 1


class Words(nn.Module):
    def forward(self, maps: Tensor) -> tuple[str, None]:
        return "no tensor", None


REUSED = nn.Linear(12, 12).double()


@pytest.mark.parametrize(
    ("encoder", "layer", "message"),
    [
        (nn.Sequential(nn.Flatten()), nn.ReLU(), "ran 0 times"),
        (nn.Sequential(REUSED, nn.ReLU(), REUSED), REUSED, "ran 2 times"),
    ],
)
def test_layer_must_run_once(encoder: nn.Module, layer: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        view_layer(encoder, layer, images()[0])


@pytest.mark.parametrize(("layer", "came"), [(Words(), "tuple"), (nn.Unflatten(1, (3, 1, 1)), r"\(2, 3, 1, 1, 12, 12\)")])
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
