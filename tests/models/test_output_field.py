"""Encoders that return several things: the field that is the embedding."""

from collections import OrderedDict, namedtuple
from collections.abc import Callable

import pytest
import torch
from conftest import assert_refused, seeded
from torch import Tensor, nn

import captum_pairwise as cp
from captum_pairwise import SimilarityWrapper

PAIR = tuple(torch.rand(1, 3, 4, 4, generator=seeded(k), dtype=torch.float64) for k in range(2))
Named = namedtuple("Named", ["tokens", "pooled"])
CONTAINERS: dict[str, Callable] = {
    "dict": dict,
    "ordered": OrderedDict,
    "named": lambda members: Named(*members.values()),
    "tuple": lambda members: tuple(members.values()),
    "list": lambda members: list(members.values()),
}


class Several(nn.Module):
    """Returns the flat image and its mean in a container."""

    def __init__(self, pack: Callable) -> None:
        super().__init__()
        self.layer, self.pack = nn.Conv2d(3, 4, 1, dtype=torch.float64), pack
        for k, parameter in enumerate(self.parameters()):
            parameter.data.copy_(torch.rand(parameter.shape, generator=seeded(k), dtype=torch.float64) - 0.4)

    def forward(self, images: Tensor) -> object:
        maps = self.layer(images).relu()
        return self.pack({"tokens": maps.flatten(2).mT, "pooled": maps.mean((2, 3)), "none": None})


class Pooled(nn.Module):
    """The same network with its embedding alone."""

    def __init__(self, several: Several) -> None:
        super().__init__()
        self.layer = several.layer

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images).relu().mean((2, 3))


def make_container(name: str) -> Callable:
    build = CONTAINERS[name]
    return (lambda members: build({key: value for key, value in members.items() if value is not None})) if name == "named" else build


@pytest.mark.parametrize(
    ("container", "field"),
    [
        ("dict", "pooled"),
        ("ordered", "pooled"),
        ("named", "pooled"),
        ("named", 1),
        ("tuple", 1),
        ("list", -2),
        ("dict", lambda output: output["tokens"].mean(1)),
    ],
    ids=lambda value: "function" if callable(value) else str(value),
)
def test_the_field_is_the_embedding(container: str, field: object) -> None:
    several = Several(make_container(container)).eval()
    expected = cp.LayerExactShapleyTaylor(SimilarityWrapper(Pooled(several)), several.layer)
    actual = cp.LayerExactShapleyTaylor(SimilarityWrapper(several, output=field), several.layer)
    mask = (cp.grid(4, 4, 2, 2),) * 2
    torch.testing.assert_close(actual.attribute(PAIR, layer_mask=mask), expected.attribute(PAIR, layer_mask=mask))


def test_each_encoder_has_its_own_field() -> None:
    several = Several(dict).eval()
    model = SimilarityWrapper(several, output=("pooled", lambda output: 2 * output["pooled"]), similarity="dot")
    torch.testing.assert_close(model(*PAIR), 2 * SimilarityWrapper(Pooled(several), similarity="dot")(*PAIR))


@pytest.mark.parametrize("container", CONTAINERS)
def test_an_output_without_a_field_lists_what_came(container: str) -> None:
    model = SimilarityWrapper(Several(make_container(container)).eval())
    named = container in ("dict", "ordered", "named")
    assert_refused(lambda: model(*PAIR), rf"{'pooled' if named else '1'}: \(1, 4\).*Pass SimilarityWrapper\(encoder, output=")
    assert_refused(lambda: cp.explain(model.query_encoder, *PAIR), rf"{'pooled' if named else '1'}: \(1, 4\).*output=")


@pytest.mark.filterwarnings("error")
def test_the_list_of_fields_comes_before_any_warning() -> None:
    several = Several(dict).eval()
    method = cp.LayerFactorisedShapleyTaylor(SimilarityWrapper(several), several.layer)
    assert_refused(lambda: method.interactions(PAIR), r"tokens: \(1, 16, 4\), pooled: \(1, 4\), none: NoneType.*output='pooled'")


@pytest.mark.parametrize("field", ["missing", 9])
def test_an_unknown_field_lists_what_came(field: object) -> None:
    several = Several(make_container("dict" if isinstance(field, str) else "tuple")).eval()
    assert_refused(lambda: SimilarityWrapper(several, output=field)(*PAIR), rf"field {field!r}, got .*with")


def test_a_field_of_a_tensor_is_refused() -> None:
    assert_refused(lambda: SimilarityWrapper(nn.Flatten(), output="pooled")(*PAIR), "got a tensor.*Leave `output` out")


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize("output", [1.5, True, ("a", "b", "c"), ("a", 1.0)], ids=str)
def test_an_output_that_names_no_field_is_refused(output: object) -> None:
    assert_refused(lambda: SimilarityWrapper(nn.Flatten(), output=output), "Expected output to be the name")


def test_captum_takes_the_layers_of_the_encoder_inside() -> None:
    several = Several(dict).eval()
    model = SimilarityWrapper(several, output="pooled")
    first, second = model.tower_layers(several.layer)
    assert first is several.layer
    assert second is not first
    assert model.query_encoder.layer is several.layer
