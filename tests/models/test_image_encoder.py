"""`ImageEncoder`: preprocessing, normalisation, and credit through its head."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import LAYER_MASKS, images, random_tensor, seeded, tiny_encoder
from model_cases import IMAGENET, image, normalise
from PIL import Image
from torch import Tensor, nn
from torch.testing import assert_close
from torchvision.transforms.v2.functional import pil_to_tensor, resize

import captum_pairwise as cp
from captum_pairwise import SimilarityWrapper
from captum_pairwise.models.backbones import ImageEncoder
from captum_pairwise.network.layer_view import view_layer


def make_encoder_with_head() -> ImageEncoder:
    """A tiny float64 encoder with a head like that of the margin model."""
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4).double())
    with torch.no_grad():
        for seed, parameter in enumerate(head.parameters()):
            parameter.copy_(random_tensor(*parameter.shape, seed=seed))
    return ImageEncoder(tiny_encoder(), head=head).double().eval()


def embed_coalitions(encoder: ImageEncoder, image: Tensor, mask: Tensor) -> Tensor:
    """The embedding of each coalition of parts of a map, with 0.3 in the absent parts; coalition S is row S (bit mask)."""
    features, n_parts = encoder.features((image - encoder.mean) / encoder.std), int(mask.max()) + 1
    present = [[bool(parts >> part & 1) for part in range(n_parts)] for parts in range(2**n_parts)]
    kept = torch.tensor(present)[:, mask].view(-1, 1, 3, 3)
    return encoder.head(torch.where(kept, features, 0.3))


CELLS = torch.arange(9).view(3, 3)


@torch.no_grad()
def test_credit_through_a_head_equals_brute_force() -> None:
    encoder, pair = make_encoder_with_head(), images(1)
    model, (query, retrieved) = SimilarityWrapper(encoder), pair
    given, whole = embed_coalitions(encoder, retrieved, CELLS), encoder(query)
    assert_close(given[-1:], encoder(retrieved))
    background = {"layer_baselines": (0.3, 0.3)}
    frozen = given @ whole[0] / whole.norm() / given[-1].norm()
    assert_close(cp.LayerSAM(model, encoder.features).attribute(pair, **background)[1].flatten(), cp.shapley_values(frozen))
    cosines = torch.cosine_similarity(given, whole)
    kernel = cp.LayerKernelSAM(model, encoder.features).attribute(pair, n_samples=2**9, **background)
    assert_close(kernel[1].flatten(), cp.shapley_values(cosines))


@torch.no_grad()
def test_pairwise_credit_through_a_head_equals_brute_force() -> None:
    encoder, pair = make_encoder_with_head(), images(1)
    u, w = (embed_coalitions(encoder, image, mask) for image, mask in zip(pair, LAYER_MASKS, strict=True))
    cosines = torch.cosine_similarity(u[None], w[:, None], 2).flatten()  # the query's parts are the low bits
    method = cp.LayerFactorisedShapleyTaylor(SimilarityWrapper(encoder), encoder.features)
    found = method.interactions(pair, layer_baselines=(0.3, 0.3), layer_mask=LAYER_MASKS)
    _, first, second = cp.shapley_taylor(cosines)
    assert_close(found.between[0], second[: len(LAYER_MASKS[0].unique()), len(LAYER_MASKS[0].unique()) :])
    assert_close(found.first_order[0], first)


@torch.no_grad()
def test_similarities_of_unit_embeddings_follow_from_the_cosine() -> None:
    """The margin model divides embeddings by their norm; the other similarities then follow from the cosine."""
    encoder, pair = make_encoder_with_head(), images()
    u, w = (nn.functional.normalize(encoder(one)) for one in pair)
    cosine = SimilarityWrapper(encoder)(*pair)
    assert_close((u * w).sum(1), cosine)
    assert_close(-(u - w).square().sum(1), 2 * cosine - 2)


def test_an_encoder_without_a_head_returns_its_features() -> None:
    encoder = ImageEncoder(tiny_encoder()).double()
    assert torch.equal(encoder(images()[0]), encoder.features((images()[0] - encoder.mean) / encoder.std))
    assert view_layer(encoder, encoder.features, images()[0]).tail.is_affine
    assert set(encoder.state_dict()) == {"mean", "std", *(f"features.{key}" for key in tiny_encoder().state_dict())}


def encoder(size: int = 8) -> ImageEncoder:
    return ImageEncoder(nn.Identity(), size=(size, size))


def photo(height: int, width: int) -> np.ndarray:
    return torch.randint(0, 256, (height, width, 3), generator=seeded(0)).byte().numpy()


def scale_to_unit(pixels: np.ndarray) -> Tensor:
    return torch.tensor(pixels).permute(2, 0, 1)[None] / 255


def save_image(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize(
    "given",
    [
        lambda pixels, folder: pixels,
        lambda pixels, folder: Image.fromarray(pixels),
        lambda pixels, folder: save_image(Image.fromarray(pixels), folder / "photo.png"),
        lambda pixels, folder: str(save_image(Image.fromarray(pixels), folder / "photo.png")),
    ],
    ids=["array", "image", "path", "string"],
)
def test_preprocess_takes(given: Callable, tmp_path: Path) -> None:
    assert_close(encoder().preprocess(given(photo(8, 8), tmp_path)), scale_to_unit(photo(8, 8)))


@pytest.mark.parametrize("size", [(16, 12), (5, 30)])
def test_preprocess_resizes_the_whole_image(size: tuple[int, int]) -> None:
    expected = scale_to_unit(np.asarray(Image.fromarray(photo(*size)).resize((8, 8), Image.Resampling.BILINEAR)))
    assert_close(encoder().preprocess(photo(*size)), expected, rtol=0, atol=1 / 255)  # Pillow rounds to bytes


@pytest.mark.parametrize("as_array", [True, False])
def test_grey_becomes_rgb(as_array: bool) -> None:
    grey = photo(8, 8)[..., 0]
    expected = scale_to_unit(np.stack([grey] * 3, 2))
    assert_close(encoder().preprocess(grey if as_array else Image.fromarray(grey)), expected)


@pytest.mark.parametrize("as_array", [True, False])
def test_transparency_is_dropped(as_array: bool) -> None:
    transparent = np.concatenate([photo(8, 8), photo(8, 8)[..., :1]], 2)
    assert_close(encoder().preprocess(transparent if as_array else Image.fromarray(transparent)), scale_to_unit(photo(8, 8)))


def test_preprocessing_text_names_size_and_mean() -> None:
    assert f"{list(IMAGENET.mean)}" in encoder().preprocessing
    assert "8x8" in encoder().preprocessing


@torch.no_grad()
def test_encoder_normalises_its_images() -> None:
    assert_close(encoder()(image()), normalise(image()))


def test_preprocess_follows_the_dtype_of_the_encoder() -> None:
    assert encoder().double().preprocess(photo(8, 8)).dtype == torch.float64


@pytest.mark.parametrize("size", [(300, 451), (37, 100), (224, 224)])
def test_photos_are_resized_as_torchvision_resizes_them(size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    expected = resize(pil_to_tensor(Image.fromarray(pixels)).float() / 255, [224, 224], antialias=True)[None].clamp(0, 1)
    assert torch.equal(ImageEncoder(nn.Identity()).preprocess(pixels), expected)
