"""Functions and bound methods are encoders; the modules that they run are found."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from conftest import assert_refused, images, tiny_encoder
from model_cases import close, exactly
from torch import Tensor, nn

import captum_pairwise as cp
from captum_pairwise.models.function_encoder import FunctionEncoder, find_modules, wrap_function

NET = tiny_encoder()


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = NET

    def encode(self, batch: Tensor, power: int = 1) -> Tensor:
        return self.net(batch) ** power


class Pipeline:
    def __init__(self) -> None:
        self.net = NET

    def embed(self, batch: Tensor) -> Tensor:
        return self.net(batch)


@torch.enable_grad()
def embed_by_global(batch: Tensor) -> Tensor:
    return NET(batch)


def make_closure() -> partial:
    net = NET
    return partial(lambda batch, scale: net(batch) / scale, scale=2.0)


HOLDER = SimpleNamespace(net=NET)
LISTED, NAMED, HOLDER_OF_LIST = [NET], {"a.b": NET}, SimpleNamespace(nets=(NET,))
FUNCTIONS = {
    "lambda": lambda batch: NET(batch),
    "decorated": embed_by_global,
    "calls a function": lambda batch: embed_by_global(batch),
    "partial of a closure": make_closure(),
    "method of a module": Network().encode,
    "method of an object": Pipeline().embed,
    "attribute of an object": lambda batch: HOLDER.net(batch),
    "member of a list": lambda batch: LISTED[0](batch),
    "member of a dictionary": lambda batch: NAMED["a.b"](batch),
    "member of an attribute": lambda batch: HOLDER_OF_LIST.nets[0](batch),
    "argument": partial(nn.Module.__call__, NET),
    "forward": NET.forward,
}
EACH = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)


@EACH
def test_a_function_is_explained_like_its_module(function) -> None:
    def explain(model: cp.SimilarityWrapper) -> Tensor:
        return cp.LayerFactorisedShapleyTaylor(model, NET[-1]).interactions(images(), n_samples=2**9)["between"]  # all coalitions

    model = cp.SimilarityWrapper(function)
    close(explain(model), explain(cp.SimilarityWrapper(NET)))
    assert model.is_tied


@EACH
def test_training_modules_of_a_function_are_refused(function) -> None:
    NET.append(nn.Dropout(0.5))
    try:
        NET.train()
        call = cp.KernelShapley(cp.SimilarityWrapper(function)).attribute
        assert_refused(lambda: call(images()), "Dropout is training")
        assert NET[-1].training
    finally:
        del NET[-1]
        NET.eval()


def test_the_modules_of_a_library_are_not_searched() -> None:
    assert find_modules(torch.flatten) == find_modules(nn.functional.normalize) == find_modules(SimpleNamespace) == {}


def test_a_module_is_named_once() -> None:
    network = Network()
    assert find_modules(lambda batch: network.net(network.encode(batch))) == {"network": network}
    assert wrap_function(network) is network


def test_modules_of_one_name_are_all_found() -> None:
    first, second = SimpleNamespace(net=nn.Linear(2, 2)), SimpleNamespace(net=nn.Dropout())
    modules = find_modules(lambda batch: second.net(first.net(batch)))
    assert set(modules.values()) == {first.net, second.net} and set(modules) == {"net", "net_2"}


def test_a_method_can_be_copied_for_captum_and_a_closure_cannot() -> None:
    network = Network().eval()
    by_method, by_function = cp.SimilarityWrapper(network.encode), cp.SimilarityWrapper(lambda batch: network.encode(batch))
    layer, twin = by_method.tower_layers(network.net[0])
    assert layer is network.net[0] and twin is not layer
    exactly(by_method.retrieved_encoder(images()[0]), network.net(images()[0]))
    assert_refused(lambda: by_function.tower_layers(network.net[0]), "encoder that can be copied")


def test_explain_takes_a_function_of_one_batch_for_an_encoder() -> None:
    query, retrieved = (batch[:1] for batch in images())
    by_function, by_module = (cp.explain(model, query, retrieved, layer=NET[-1], transform=None) for model in (FUNCTIONS["lambda"], NET))
    close(by_function.interactions.between, by_module.interactions.between)


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize("encoder", [None, nn.Flatten, "resnet50"], ids=["nothing", "a class", "a name"])
def test_what_is_no_encoder_is_refused(encoder: object) -> None:
    assert_refused(lambda: cp.SimilarityWrapper(encoder), "an encoder, an nn.Module or a function")


def test_names_of_attributes_are_kept() -> None:
    function = NET
    encoder = FunctionEncoder(lambda batch: function(batch))
    assert [name for name, _ in encoder.named_children()] == ["function_"]
