"""A layer whose layout is named gives the results of the same network with a permuted layer."""

import inspect

import pytest
import torch
from conftest import LAYER, assert_refused, seeded, tiny_encoder
from torch import Tensor, nn

import captum_pairwise as cp
from captum_pairwise import SimilarityWrapper

PAIR = tuple(torch.rand(1, 3, 10, 10, generator=seeded(k), dtype=torch.float64) for k in range(2))


class FixedSize(nn.Module):
    """Refuses images of another size, so that these do not tell the layout."""

    def forward(self, inputs: Tensor) -> Tensor:
        if inputs.shape[-1] != 10:
            raise RuntimeError("another size")
        return inputs


class ChannelsLast(nn.Module):
    """A step that does not say where the channels went."""

    def forward(self, maps: Tensor) -> Tensor:
        return torch.einsum("bchw->bhwc", maps)


def make_models() -> tuple[SimilarityWrapper, SimilarityWrapper]:
    """The model with the channels last, and the reference."""
    encoder = tiny_encoder()
    return SimilarityWrapper(nn.Sequential(FixedSize(), *encoder, ChannelsLast()), layout="NHWC"), SimilarityWrapper(encoder)


def explain(cls: type, model: SimilarityWrapper, **options: str) -> object:
    layer = model.query_encoder[-1]
    if cls is cp.LayerIGCAM:
        return cls(model.given_query(PAIR[0]), layer, **options).attribute(PAIR[1])
    return cls(model, layer, **options).attribute(PAIR)


@pytest.mark.parametrize("cls", [*LAYER, cp.LayerVESM, cp.LayerIGCAM], ids=lambda cls: cls.__name__)
def test_every_layer_method_takes_the_layout(cls: type) -> None:
    model, reference = make_models()
    assert "layout" in inspect.signature(cls).parameters
    assert_refused(lambda: explain(cls, model), "channels can be told.*layout='NCHW' or layout='NHWC'")
    torch.testing.assert_close(explain(cls, model, layout="NHWC"), explain(cls, reference), rtol=0, atol=1e-10)
    with pytest.raises(ValueError, match="Expected layout"):
        explain(cls, model, layout="NHCW")


def test_projection_takes_the_layout() -> None:
    model, reference = make_models()
    attention = torch.rand(1, 10, 10, generator=seeded(5), dtype=torch.float64)
    expected = cp.project_attention(reference, reference.query_encoder[-1], PAIR, attention)
    torch.testing.assert_close(cp.project_attention(model, model.query_encoder[-1], PAIR, attention, layout="NHWC"), expected)
    through = cp.project_attention_through(model, [model.query_encoder[-1]] * 2, PAIR, attention, layouts=["NHWC", "NHWC"])
    torch.testing.assert_close(through, cp.project_attention_through(reference, [reference.query_encoder[-1]] * 2, PAIR, attention))
    assert_refused(lambda: cp.project_attention(model, None, PAIR, attention, layout="NHWC"), "layout with a layer")
    one_name = lambda: cp.project_attention_through(model, [model.query_encoder[-1]] * 2, PAIR, attention, layouts=["NHWC"])  # noqa: E731
    assert_refused(one_name, "layouts with an entry for each of 2 layers, got 1")
