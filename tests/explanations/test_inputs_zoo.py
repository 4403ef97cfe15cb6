"""Inputs and models of other kinds, each with one clear error or the right number."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from conftest import seeded
from PIL import Image
from torch import Tensor, nn
from torch.testing import assert_close

import captum_pairwise as cp

SIZE = 24


def encoder() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.ReLU(), nn.Conv2d(8, 8, 2, stride=2), nn.ReLU()).eval()


def image(seed: int = 0) -> Tensor:
    return torch.rand(3, SIZE, SIZE, generator=seeded(seed))


def photo(seed: int = 0) -> Image.Image:
    return Image.fromarray((image(seed) * 255).byte().permute(1, 2, 0).numpy())


def to_tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_photos_and_tensors_take_the_precision_of_the_weights(dtype: torch.dtype) -> None:
    model = encoder().to(dtype)
    by_photo, by_tensor = cp.explain(model, photo(), photo(1), transform=to_tensor), cp.explain(model, to_tensor(photo()), image(1))
    inputs = (to_tensor(photo(seed))[None].to(dtype) for seed in range(2))
    assert by_photo.similarity == pytest.approx(cp.SimilarityWrapper(model)(*inputs).item(), abs=1e-2 if dtype == torch.bfloat16 else 1e-9)
    assert by_tensor.similarity == pytest.approx(by_photo.similarity, abs=1e-2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (Tensor.byte, "Expected a floating-point tensor, as the network takes it, got torch.uint8"),
        (lambda tensor: tensor > 0.5, "got torch.bool"),
        (lambda tensor: tensor.to("meta"), "Expected a dense tensor with the numbers of an image, got meta"),
        (Tensor.to_sparse, "Expected a dense tensor"),
        (lambda tensor: tensor[:, :0], r"Expected a dense tensor .* got .*\(3, 0, 24\)"),
        (lambda tensor: tensor / 0, "Expected finite numbers"),
        (lambda tensor: tensor.expand(2, -1, -1, -1), "Expected one image for each tensor"),
        (lambda tensor: tensor[0], r"Expected an image \[3, H, W\] or \[1, H, W\].* of shape \(24, 24\)"),
    ],
    ids=["bytes", "bool", "meta", "sparse", "empty", "infinite", "two images", "grey without channel"],
)
@pytest.mark.usefixtures("without_type_checks")
def test_other_tensors_are_refused(change: Callable, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cp.explain(encoder(), change(image()), image(1))


@pytest.mark.parametrize("item", [None, 3, [1, 2], b"bytes"], ids=["none", "number", "list", "bytes"])
def test_no_photo_is_refused(item: object) -> None:
    with pytest.raises(ValueError, match=r"Expected a photo \(a file.* got (NoneType|int|list|bytes)"):
        cp.explain(encoder(), item, photo(), transform=to_tensor)


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("transform", "message"),
    [
        ("center", "Expected transform to be a function from a PIL image, got str"),
        (lambda photo: to_tensor(photo) / 0 * 0, "Expected transform to return finite numbers"),
        (lambda photo: {"pixel_values": to_tensor(photo)}, r"got dict. Pass lambda photo: processor\(photo, return_tensors='pt'\)"),
        (lambda photo: np.array(photo), "got ndarray. Pass another function"),
        (lambda photo: to_tensor(photo) + torch.rand(1), "Expected a transform without randomness"),
        (lambda photo: to_tensor(photo)[:1], r"Expected a model that takes inputs \(1, 1, 24, 24\) and .*, but it fails: Given groups=1"),
    ],
    ids=["no function", "not finite", "processor", "array", "random", "grey"],
)
def test_other_transforms_are_refused(transform: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cp.explain(encoder(), photo(), photo(1), transform=transform)


def test_a_compiled_encoder_is_refused_before_it_runs() -> None:
    compiled = torch.compile(encoder(), backend="eager")
    with pytest.raises(ValueError, match="Expected a model that is not compiled"):
        cp.explain(compiled, image(), image(1))


def test_an_error_of_a_random_network_says_that_it_is_random() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 16, 4, stride=4), nn.BatchNorm2d(16), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 8))
    nn.init.zeros_(model[-1].weight)
    nn.init.zeros_(model[-1].bias)
    with pytest.raises(ValueError, match=r"nonzero embeddings.*Note that the network has random weights\."):
        cp.explain(model.eval(), image(), image(1))


def test_weights_made_in_inference_mode_have_superpixels() -> None:
    with torch.inference_mode():
        model = encoder()
    explanation = cp.explain(model, image(), image(1))
    assert explanation.choices.startswith("Parts: superpixels")
    expected = cp.explain(encoder(), image(), image(1)).similarity
    assert_close(explanation.similarity, expected)
