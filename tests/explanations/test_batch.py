"""The model and the inputs of a call."""

import pytest
from conftest import images, tiny_encoder
from explanation_cases import encoder_of_photos, make_photo
from torch import nn

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
