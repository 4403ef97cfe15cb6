"""Two encoders in one embedding space: the encoder of each side is named."""

import pytest
import torch
from conftest import assert_refused, seeded
from torch import nn

import captum_pairwise as cp
from captum_pairwise.models import DualEncoder

IMAGE, TEXT = nn.Flatten(), nn.Sequential(nn.Linear(5, 12, dtype=torch.float64))
TEXT[0].weight.data.copy_(torch.rand(12, 5, generator=seeded(0), dtype=torch.float64))
INPUTS = {
    "image": torch.rand(2, 3, 2, 2, generator=seeded(1), dtype=torch.float64),
    "text": torch.rand(2, 5, generator=seeded(2), dtype=torch.float64),
}


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize(("query", "retrieved"), [("image", "text"), ("text", "image"), ("image", "image"), ("text", "text")])
@torch.no_grad()
def test_a_pair_compares_the_embeddings_of_its_kinds(query: str, retrieved: str, similarity: str) -> None:
    model = DualEncoder(IMAGE, TEXT, similarity).pair(query, retrieved)
    u, w = ({"image": IMAGE, "text": TEXT}[kind](INPUTS[kind]) for kind in (query, retrieved))
    score = {"cosine": torch.cosine_similarity(u, w), "dot": (u * w).sum(1)}[similarity]
    torch.testing.assert_close(model(INPUTS[query], INPUTS[retrieved]), score)
    assert model.is_tied == (query == retrieved)


def test_both_at_once_is_refused() -> None:
    dual = DualEncoder(IMAGE, TEXT)
    assert_refused(lambda: cp.SimilarityWrapper(dual)(INPUTS["image"], INPUTS["image"]), r"SimilarityWrapper\(dual.image, dual.text\)")
    assert_refused(lambda: dual.pair("image", "sound"), "'image' or 'text', got 'sound'")
