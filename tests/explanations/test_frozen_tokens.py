"""`explain` with tokens as they were embedded, against the closed form on the tokens that the libraries return."""

from pathlib import Path

import pytest
import torch
from conftest import assert_refused, random_tensor
from test_colpali import PAGE
from test_colpali import load_model as load_colpali
from test_late_interaction import load_model as load_colbert
from text_cases import make_word_pieces, save_network, transformers
from torch import Tensor, nn

import captum_pairwise as cp
from captum_pairwise.explanations.contents import Sentence

QUERY, DOCUMENTS = "A red cat!", ["the cat sat on a red mat.", "bike: query!"]
CLOSE = {"rtol": 0, "atol": 1e-6}  # of networks in float32, whose rows are in other batches


def explain_tokens(model: object, query: object, document: object, **options: object) -> cp.Explanation:
    return cp.explain(model, query, document, method=cp.MaxSimShapleyTaylor, **options)


@pytest.fixture(scope="module")
def ranking() -> cp.Ranking:
    return cp.explain_ranking(load_colbert(), QUERY, DOCUMENTS, method=cp.MaxSimShapleyTaylor)


def test_pairs_are_of_the_tokens_that_the_library_compares(ranking: cp.Ranking) -> None:
    model = load_colbert()
    query = model.encode_query([QUERY])[0]
    for explanation, document in zip(ranking, model.encode_document(DOCUMENTS), strict=True):
        expected = cp.MaxSimShapleyTaylor(index="banzhaf").interactions((query[None], document[None]))
        torch.testing.assert_close(explanation.pairs, expected["between"][0], **CLOSE)
        torch.testing.assert_close(explanation.retrieved_map, expected.retrieved_map[0], **CLOSE)
        assert explanation.similarity == pytest.approx(expected.full.item(), abs=1e-5)


def test_tokens_are_named_with_markers_and_expansion_and_without_skipped_ones(ranking: cp.Ranking) -> None:
    """The document's punctuation is skipped, and its prompt is compared."""
    query, document = ranking[0].query, ranking[0].retrieved
    assert isinstance(query, Sentence) and isinstance(document, Sentence)
    assert query.tokens == ("[CLS]", "find", "a", ":", "A", "red", "cat", "!", "[SEP]", *["[MASK]"] * 7)
    assert document.tokens == ("[CLS]", "on", "the", "mat", "the", "cat", "sat", "on", "a", "red", "mat", "[SEP]")
    assert ranking[1].places[1].n_parts == len(ranking[1].retrieved.tokens) < len(document.tokens)


def test_words_say_that_tokens_are_compared(ranking: cp.Ranking, tmp_path: Path) -> None:
    explanation = ranking[0]
    assert "of its 16 tokens" in str(explanation.verdict) and "with the query left out" in str(explanation.verdict)
    assert "Parts: tokens as the model embedded them. Method: MaxSimShapleyTaylor. Pairs are Banzhaf" in explanation.choices
    assert "Absent parts are left out." in explanation.choices
    assert "with the prompt 'find a: '" in explanation.choices and "gets no credit" not in explanation.choices
    assert "The credits of pairs are exact." in explanation.verdict.trust.evidence
    for name in ("why.html", "why.png"):
        assert explanation.save(tmp_path / name).stat().st_size and ranking.save(tmp_path / name).stat().st_size


def test_the_marker_of_colbert_is_named() -> None:
    network = transformers.BertModel.from_pretrained(save_network("BertModel")).eval()
    model = cp.models.from_colbert(network, make_word_pieces(), nn.Linear(32, 8), markers=("on", "find"), query_length=8)
    explanation = explain_tokens(model, "a cat", "the mat")
    assert explanation.query.tokens == ("[CLS]", "on", "a", "cat", "[SEP]", *["[MASK]"] * 3)
    assert explanation.retrieved.tokens == ("[CLS]", "find", "the", "mat", "[SEP]")


def test_patches_of_a_page_have_places_and_text_behind_them_has_none() -> None:
    model, processor = load_colpali()
    wrapper = cp.models.from_transformers(model, processor)
    explanation = explain_tokens(wrapper, "red cat", PAGE)
    with torch.no_grad():
        query = wrapper.embed_query(wrapper.query_encoder.ids(["red cat"]))
        page = wrapper.embed_retrieved(wrapper.retrieved_tower.transform(PAGE)[None])
    expected = cp.MaxSimShapleyTaylor(index="banzhaf").interactions((query, page))
    torch.testing.assert_close(explanation.pairs, expected["between"][0][:, :16], **CLOSE)
    torch.testing.assert_close(explanation.retrieved_map, expected.retrieved_map[0, :16], **CLOSE)
    assert explanation.interactions.retrieved_players.shape == (4, 4) and page.shape[1] > 16
    assert isinstance(explanation.query, Sentence)
    assert explanation.query.tokens[:3] == ("<|im_start|>", "Q", "u") and "(space)" in explanation.query.tokens


class Patches(nn.Module):
    """Tokens of 4 × 4 patches behind one token without a place."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 5, 4, stride=4).double()

    def transform(self, _photo: object) -> Tensor:
        return random_tensor(3, 16, 16)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.embed(images).flatten(2).mT
        return torch.cat([tokens.mean(1, keepdim=True), tokens], 1)


def test_a_token_before_the_patches_has_no_place() -> None:
    encoder, images = Patches(), random_tensor(2, 3, 16, 16, seed=3)
    explanation = explain_tokens(cp.SimilarityWrapper(encoder, similarity="maxsim"), images[0], images[1])
    with torch.no_grad():
        tokens = encoder(images)
    expected = cp.MaxSimShapleyTaylor(index="banzhaf").attribute((tokens[:1], tokens[1:]))
    torch.testing.assert_close(explanation.pairs, expected[0, 1:, 1:], rtol=0, atol=1e-12)
    assert explanation.interactions.query_players.shape == (4, 4)
    assert explanation.places[0].describe_part(0).words == "the upper left"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"baselines": "mask token"}, "no other baselines, because parts are left out of the comparison"),
        ({"background": DOCUMENTS}, "no background"),
        ({"layer": "network"}, "neither layer= nor feature_mask="),
        ({"n_samples": 10}, "no n_samples, because MaxSimShapleyTaylor draws nothing"),
    ],
    ids=["baselines", "background", "layer", "budget"],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, object], sentence: str) -> None:
    assert_refused(lambda: explain_tokens(load_colbert(), QUERY, DOCUMENTS[0], **options), sentence)


def test_other_models_and_unknown_places_are_refused() -> None:
    images = random_tensor(2, 3, 16, 16)
    assert_refused(lambda: explain_tokens(cp.SimilarityWrapper(nn.Conv2d(3, 4, 3).double()), images[0], images[1]), "with MaxSim")
    model = cp.SimilarityWrapper(nn.Conv1d(3, 4, 3).double(), similarity="maxsim")
    assert_refused(lambda: explain_tokens(model, images[0, :, 0], images[1, :, 0]), "words or a grid of patches, got .* unknown places")
