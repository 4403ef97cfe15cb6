"""The model and the inputs of a call."""

import pytest
import torch
from conftest import images, seeded, tiny_encoder
from explanation_cases import encoder_of_photos, make_photo
from torch import Tensor, nn

import captum_pairwise as cp
from captum_pairwise.explanations.batch import wrap_model

QUERY, RETRIEVED = images(1)


class CrossEncoder(nn.Module):
    def forward(self, query, retrieved):
        return (query * retrieved).mean((1, 2, 3))


def similarity(query, retrieved):
    return CrossEncoder()(query, retrieved)


def test_an_encoder_is_wrapped():
    encoder = tiny_encoder()
    wrapped = wrap_model(encoder)
    assert isinstance(wrapped, cp.SimilarityWrapper) and wrapped.query_encoder is encoder


@pytest.mark.parametrize("model", [CrossEncoder(), similarity, cp.SimilarityWrapper(tiny_encoder())], ids=["module", "function", "wrapper"])
def test_models_of_two_inputs_are_taken_as_they_are(model):
    assert wrap_model(model) is model


def test_something_else_is_refused():
    with pytest.raises(ValueError, match="Expected an encoder, a SimilarityWrapper or a function"):
        wrap_model("resnet50")


def test_an_empty_background_is_refused():
    with pytest.raises(ValueError, match="Expected background to hold at least one image"):
        cp.explain(encoder_of_photos(), make_photo(), make_photo(), background=[])


@pytest.mark.parametrize("is_function", [False, True], ids=["encoder", "function"])
def test_a_model_in_training_mode_is_refused_as_it_was(is_function: bool) -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    before = {name: value.clone() for name, value in network.state_dict().items()}

    def compare(query: Tensor, retrieved: Tensor) -> Tensor:
        return torch.cosine_similarity(network(query), network(retrieved))

    images = torch.rand(2, 1, 3, 8, 8, generator=seeded(0))
    with pytest.raises(ValueError, match="Expected the model in evaluation mode, but its BatchNorm2d is training"):
        cp.explain(compare if is_function else network, *images)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
