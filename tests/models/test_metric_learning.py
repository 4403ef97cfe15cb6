"""Inference models of pytorch-metric-learning are encoders."""

import pytest
import torch
from conftest import assert_refused, images, tiny_encoder
from model_cases import close, exactly
from torch import nn

import captum_pairwise as cp
from captum_pairwise.models.libraries.metric_learning import convert_inference_model, is_inference_model

inference = pytest.importorskip("pytorch_metric_learning.utils.inference", reason="pip install 'captum-pairwise[test]'")


def make_model(**options):
    trunk = nn.Sequential(tiny_encoder(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5)).double()
    options = {"embedder": nn.Linear(6, 4).double(), "data_device": torch.device("cpu"), **options}
    return inference.InferenceModel(trunk.train(), **options)


@pytest.mark.parametrize("options", [{}, {"embedder": None}, {"normalize_embeddings": False}], ids=["whole", "trunk", "not normalised"])
def test_the_encoder_returns_the_embeddings_of_the_model(options) -> None:
    model = make_model(**options)
    exactly(convert_inference_model(model)(images()[0]), model.get_embeddings(images()[0]))


def test_the_wrapper_and_explain_take_the_model_as_it_is() -> None:
    model, (query, retrieved) = make_model(), images()
    expected = nn.functional.cosine_similarity(model.get_embeddings(query), model.get_embeddings(retrieved))
    exactly(cp.SimilarityWrapper(model)(query, retrieved), expected)
    close(cp.explain(model, query[:1], retrieved[:1]).similarity, expected[0].item())


def test_a_model_with_a_type_of_its_own_is_refused() -> None:
    assert_refused(lambda: convert_inference_model(make_model(dtype=torch.float16)), "without a dtype")


def test_other_objects_are_no_inference_models() -> None:
    assert is_inference_model(make_model()) and not any(map(is_inference_model, (None, nn.Flatten(), inference.MatchFinder(None))))
