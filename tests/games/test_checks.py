"""One image without a batch dimension is refused where the network can tell, and right inputs of few dimensions never are."""

import pytest
import torch
from captum.attr import LayerAttribution
from conftest import INPUT, INPUT_FIRST_ORDER, fail, images, make, tiny_encoder
from torch import nn

import captum_pairwise as cp
from captum_pairwise.games.checks import name_missing_batch

# networks, and batches that each takes
RIGHT = {
    "tokens": (nn.Sequential(nn.Linear(6, 5), nn.GELU(), nn.Flatten(), nn.Linear(20, 3)), (3, 4, 6)),
    "one pair of tokens": (nn.Sequential(nn.Linear(6, 5), nn.GELU(), nn.Flatten(), nn.Linear(20, 3)), (1, 4, 6)),
    "signals": (nn.Sequential(nn.Conv1d(2, 4, 3), nn.Flatten()), (2, 2, 9)),
    "vectors": (nn.Linear(6, 3), (2, 6)),
    "grey images without a channel": (nn.Flatten(), (2, 4, 4)),
    "images": (nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten()), (1, 1, 6, 6)),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_inputs_are_taken(name):
    encoder, shape = RIGHT[name]
    generator = torch.Generator().manual_seed(0)
    pair = tuple(torch.rand(shape, generator=generator) for _ in range(2))
    masks = tuple((torch.arange(batch[0].numel()) % 3).reshape(1, *batch.shape[1:]) for batch in pair)
    model = cp.SimilarityWrapper(encoder)
    for forward in (model, lambda query, retrieved: model(query, retrieved)):
        assert cp.ExactShapleyTaylor(forward).attribute(pair, baselines=(0.5, 0.5), feature_mask=masks).shape == (shape[0], 3, 3)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8)])
def test_a_grey_image_is_told_from_a_batch_though_a_convolution_takes_it(shape):
    """`Conv2d` takes one image as well, and a wrong answer would follow."""
    encoder = nn.Sequential(nn.Conv2d(shape[0], 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    image = torch.rand(shape)
    for cls in (cp.KernelShapley, cp.FactorisedShapleyTaylor):
        with pytest.raises(ValueError, match=r"batch dimension, got shape .*Pass `image\[None\]`"):
            cls(cp.SimilarityWrapper(encoder)).attribute((image, image))


def test_the_network_does_not_run_again_for_images():
    with pytest.raises(ZeroDivisionError), name_missing_batch(fail, images(2), "images"):
        raise ZeroDivisionError


@pytest.mark.parametrize("cls", [cls for cls in (*INPUT, *INPUT_FIRST_ORDER, cp.LayerKernelSAM) if cls is not cp.IntegratedHessians])
def test_methods_without_gradients_take_a_model_made_in_inference_mode(cls):
    with torch.inference_mode():
        made = cp.SimilarityWrapper(tiny_encoder())
    (method, arguments), (ordinary, _) = make(cls, made), make(cls, cp.SimilarityWrapper(tiny_encoder()))
    results = [explain.attribute(images(2), **arguments) for explain in (method, ordinary)]
    for part, expected in zip(*(result if isinstance(result, tuple) else (result,) for result in results), strict=True):
        torch.testing.assert_close(part, expected)


@pytest.mark.parametrize("cls", [cp.IntegratedHessians, cp.LayerIntegratedHessians, cp.LayerIGSAM, cp.LayerVESM])
def test_methods_with_gradients_refuse_a_model_made_in_inference_mode(cls):
    with torch.inference_mode():
        model = cp.SimilarityWrapper(tiny_encoder())
    method, arguments = make(cls, model)
    if issubclass(cls, LayerAttribution):
        method, arguments = cls(model, model.query_encoder[0]), {}  # parameters follow this layer
    with pytest.raises(ValueError, match="made in inference mode"):
        method.attribute(images(2), **arguments)
