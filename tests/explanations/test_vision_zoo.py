"""`explain` on vision models of other libraries, as they are and converted: the layer, its grid, and its numbers."""

import pytest
import torch
import torch.nn.functional as F
from conftest import seeded
from PIL import Image
from test_layer_choice_zoo import assert_acts_alone
from torch import Tensor, nn
from vision_cases import PATCH, PHOTO, SIZE, randomise, vision_cases

import captum_pairwise as cp
from captum_pairwise import SimilarityWrapper
from captum_pairwise.estimators.coalitions import interaction_index
from captum_pairwise.explanations.layer_choice import LayerChoice, choose_layer
from captum_pairwise.models.backbones import IMAGENET_MEAN, IMAGENET_STD, make_pixels
from captum_pairwise.network.layer_outputs import get_first_tensor
from captum_pairwise.network.layers import record_calls, replace_output
from captum_pairwise.results.index import parse_index

transformers = pytest.importorskip("transformers", reason="its models are explained: pip install 'captum-pairwise[text]'")
CASES = vision_cases(transformers)
OTHER = PHOTO.rotate(180)
PLAIN = {"ViT", "ViT classifier", "DeiT", "MSN", "BEiT", "DINOv2", "DINOv2 registers", "DINOv3", "CLIP", "CLIP projection", "SigLIP"}


def photo(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(1, 3, height, width, generator=seeded(seed), dtype=torch.float64)


def choose(encoder: nn.Module, image: Tensor) -> LayerChoice:
    choice = choose_layer(SimilarityWrapper(encoder).make_embedder(0), image)
    assert choice is not None
    return choice


def record_first_tensor(encoder: nn.Module, choice: LayerChoice, image: Tensor) -> Tensor:
    with record_calls([choice.layer]) as calls, torch.no_grad():
        encoder(image)
    output = get_first_tensor(calls[0][-1])
    assert output is not None
    return output


def find_changed_cell(encoder: nn.Module, choice: LayerChoice, before: Tensor, after: Tensor) -> int:
    """The number of the place that differs most between two photos."""
    maps = []
    for image in (before, after):
        output = record_first_tensor(encoder, choice, image)
        maps.append(choice.mask(output) if callable(choice.mask) else output)
    return int((maps[1] - maps[0]).square().sum(1).flatten().argmax())


@pytest.mark.parametrize("name", CASES)
def test_converted_models_of_transformers(name: str) -> None:
    """Each patch that changes is the place of the layer that changes most, and everything passes the layer."""
    encoder = cp.models.from_transformers(randomise(CASES[name][0]()), CASES[name][1])
    height = SIZE if name in PLAIN or name == "Swin" else 64
    image = photo(height, height if name == "Swin" else 2 * height)
    choice = choose(encoder, image)
    assert_acts_alone(encoder, choice.layer, image)
    if name in PLAIN:
        assert choice.parts == "2 × 4 patches"
        for number in range(8):
            row, column = divmod(number, 4)
            changed = image.clone()
            patch = changed[..., row * PATCH : (row + 1) * PATCH, column * PATCH : (column + 1) * PATCH]
            patch.copy_(1 - patch)
            assert find_changed_cell(encoder, choice, image, changed) == number


@pytest.mark.parametrize("name", ["ViT", "DINOv2 registers", "SigLIP", "Swin", "ConvNeXt"])
def test_explained_numbers_against_brute_force(name: str) -> None:
    """All coalitions of the halves of both photos, with the layer's output replaced in the whole network."""
    encoder = cp.models.from_transformers(randomise(CASES[name][0]()), CASES[name][1])
    height = SIZE if name in PLAIN or name == "Swin" else 64
    images = [photo(height, height, seed) for seed in (0, 1)]
    choice, model = choose(encoder, images[0]), SimilarityWrapper(encoder)
    inputs = (*images, *map(cp.blur_baseline, images))
    query, retrieved, blurred_query, blurred = (record_first_tensor(encoder, choice, image) for image in inputs)
    mask = torch.arange(query.shape[1]).reshape(1, -1, *[1] * (query.dim() - 2)) * 2 // query.shape[1]
    if query.dim() == 4:
        mask = (torch.arange(query.shape[3]) * 2 // query.shape[3]).expand(1, 1, *query.shape[2:])
    z = (torch.arange(16)[:, None] >> torch.arange(4)) % 2 == 1
    values = []
    with torch.no_grad():
        for present in z:
            outputs = [
                torch.where(present[2 * side : 2 * side + 2][mask], full, empty)
                for side, (full, empty) in enumerate(((query, blurred_query), (retrieved, blurred)))
            ]
            embeddings = []
            for image, output in zip(images, outputs, strict=True):
                with replace_output(choice.layer, output):
                    embeddings.append(model.embed_query(image))
            values.append(F.cosine_similarity(*embeddings))
    _, first, second = cp.shapley_taylor(torch.cat(values))
    result = cp.LayerExactShapleyTaylor(model, choice.layer).interactions(tuple(images), layer_mask=(mask, mask))
    torch.testing.assert_close(result.first_order[0], first)
    torch.testing.assert_close(result.second_order[0], second)
    assert result.completeness_gap.abs().max() < 1e-12


@pytest.mark.parametrize("name", ["ViT", "BEiT"])
def test_patches_removed_inside_the_network_against_brute_force(name: str) -> None:
    encoder = cp.models.from_transformers(randomise(CASES[name][0]()), CASES[name][1])
    for way in encoder.removals:
        explanation = cp.explain(encoder, PHOTO, OTHER, baselines=way)
        z = (torch.arange(16)[:, None] >> torch.arange(4)) % 2 == 1
        with torch.no_grad():
            embedded = [F.normalize(encoder.embed_present(encoder.preprocess(item), z, way)) for item in (PHOTO, OTHER)]
        values = (embedded[0][None] * embedded[1][:, None]).sum(-1).flatten()  # the query's players are the lowest bits
        _, _, second = interaction_index(values, parse_index("banzhaf"), 4)
        torch.testing.assert_close(explanation.interactions.between[0].double(), second[:4, 4:], rtol=1e-4, atol=1e-6)
        assert torch.cat(explanation.interactions.map_gaps).abs().max() < 1e-6 and "2 × 2 patches" in explanation.choices


@pytest.mark.parametrize("options", [{"features_only": True}, {"num_classes": 5}, {"num_classes": 0}], ids=["maps", "logits", "embeddings"])
def test_models_of_timm_as_they_are(options: dict[str, object]) -> None:
    """Photos have the size for which the model was built; a list of maps gives its last."""
    timm = pytest.importorskip("timm")
    sizes = {"img_size": 64, "embed_dim": 8, "depths": (1, 1, 1, 1), "num_heads": (1, 2, 2, 2), "window_size": 2}
    model = randomise(timm.create_model("swin_tiny_patch4_window7_224", pretrained=False, **sizes, **options))
    explanation = cp.explain(model, PHOTO, OTHER)
    assert "2 × 2 cells" in explanation.choices and "Photos are resized to 64 × 64" in explanation.choices
    with torch.no_grad():
        inputs = map(normalise_photo, (PHOTO, OTHER))
        outputs = [model(image)[-1].mean((1, 2)) if "features_only" in options else model(image) for image in inputs]
    torch.testing.assert_close(explanation.interactions.full, F.cosine_similarity(*outputs), rtol=1e-5, atol=1e-5)


def normalise_photo(item: Image.Image) -> Tensor:
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    return ((make_pixels(item, (64, 64)) - mean) / std).double()
