"""Two encoders in one embedding space: the encoder of each side is named."""

import pytest
import torch
from conftest import assert_refused, seeded
from torch import nn

import captum_pairwise as cp
from captum_pairwise.models import DualEncoder
from captum_pairwise.models.dual_encoder import choose_encoders

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


@pytest.mark.parametrize(
    "item", ["photo.jpg", "photos/query.jpgg", "./query", "/photos/query", "https://example.org/cat", "a text of a.png"]
)
def test_a_path_without_a_file_is_no_sentence(item: str) -> None:
    dual = DualEncoder(IMAGE, TEXT)
    assert_refused(lambda: choose_encoders(dual, item, ["a red bike"]), "there is no such file.*dual.pair")
    assert_refused(lambda: choose_encoders(dual, "a red bike", ["a cat", item]), "there is no such file")


@pytest.mark.parametrize("item", ["AC/DC", "a bike, red/black.", "node.js", "e.g. a bike/car. Or a van.", "3/4", "www"])
def test_words_with_slashes_and_dots_are_sentences(item: str) -> None:
    assert choose_encoders(DualEncoder(IMAGE, TEXT), item, [INPUTS["image"]]).query_encoder is TEXT
