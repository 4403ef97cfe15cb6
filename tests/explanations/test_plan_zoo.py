"""Options that contradict each other or the model, and choices that must say what was run."""

import pytest
import torch
from conftest import images, random_tensor, tiny_encoder
from explanation_cases import train_a_little
from torch import Tensor, nn

import captum_pairwise as cp
from captum_pairwise.explanations.explanation import Explanation

MODEL = cp.SimilarityWrapper(train_a_little(tiny_encoder()))
QUERY, RETRIEVED = (batch[0] for batch in images())
MASK = torch.arange(4).reshape(1, 1, 2, 2).repeat_interleave(6, 2).repeat_interleave(6, 3)


def explain(model=MODEL, **options) -> Explanation:
    return cp.explain(model, QUERY, RETRIEVED, **options)


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": "4", "feature_mask": (MASK, MASK)}, "Expected either layer= or feature_mask=, got both"),
        ({"layer": ("4",)}, "Expected one layer, or a pair .* got 1"),
        ({"method": ""}, "Expected method to be one of .* got ''"),
        ({"seed": 0.5}, "Expected seed to be a whole number, got 0.5"),
        ({"n_samples": 0}, "Expected n_samples of at least"),
        ({"baselines": 0}, "Expected baselines to be a pair, .* got int"),
        ({"baselines": (0, 0, 0)}, "Expected baselines to be a pair, .* got 3"),
        ({"background": "folder"}, "Expected background to be a list of images, got 'folder' alone"),
    ],
    ids=["layer and mask", "one of a pair", "empty name", "seed", "no samples", "one baseline", "three baselines", "a folder"],
)
def test_contradictions_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        explain(**options)


def test_the_closed_form_replaces_absent_parts_by_the_same_blur_as_other_methods() -> None:
    model = cp.SimilarityWrapper(MODEL.query_encoder, similarity="dot")
    closed, sampled = explain(model), explain(model, method="factorised", n_samples=2**9)
    assert "LayerPairwiseSAM" in closed.choices and "Absent parts are blurred" in closed.choices
    blurred = model(cp.blur_baseline(QUERY[None], 25), RETRIEVED[None])
    torch.testing.assert_close(closed.interactions.without_query, blurred.detach())
    torch.testing.assert_close(closed.query_map, sampled.query_map)
    torch.testing.assert_close(closed.retrieved_map, sampled.retrieved_map)
    torch.testing.assert_close(closed.pairs, sampled.pairs)


def test_a_baseline_of_one_side_leaves_the_other_to_the_model() -> None:
    assert "Absent parts are blurred." in explain(baselines=(None, None)).choices
    assert "Absent parts are replaced by your baselines and blurred." in explain(baselines=(0, None)).choices


@pytest.mark.parametrize(("n_images", "words"), [(1, "an image"), (3, "3 images"), (8, "8 images"), (9, "8 images"), (20, "8 images")])
def test_a_background_gives_eight_members_or_all(n_images: int, words: str) -> None:
    gallery = [random_tensor(3, 12, 12, seed=seed).sigmoid() for seed in range(n_images)]
    assert f"Absent parts are replaced by {words} of the background." in explain(background=gallery).choices


def test_superpixels_of_an_encoder_have_a_reason() -> None:
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 12, 5)).double().eval()
    assert explain(encoder).choices.startswith("Parts: superpixels of each photo, because no layer with places carries all information.")
    assert explain(lambda query, retrieved: (query * retrieved).mean((1, 2, 3))).choices.startswith("Parts: superpixels of each photo.")


class Pair(nn.Module):
    """A similarity that is no pair of embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.last = nn.Conv2d(6, 4, 4, stride=4).double(), nn.Conv2d(4, 2, 1).double()

    def forward(self, query: Tensor, retrieved: Tensor) -> Tensor:
        return self.last(self.mix(torch.cat([query, retrieved], 1)).relu()).mean((1, 2, 3))


def test_layers_of_functions_have_no_names_but_those_of_modules_have() -> None:
    with pytest.raises(ValueError, match="Expected a module as layer, because the model is a function, got the name 'mix'"):
        explain(lambda query, retrieved: (query * retrieved).mean((1, 2, 3)), layer="mix")
    with pytest.raises(ValueError, match="Expected the name of a layer of Pair, got 'nothing'"):
        explain(Pair().eval(), layer="nothing")
