"""Rerankers: the score of `predict`, and each word removed as transformers itself would."""

from functools import cache

import pytest
import torch
from text_cases import make_word_pieces, save_network, transformers

import captum_pairwise as cp
from captum_pairwise.explanations.contents import Sentence
from captum_pairwise.models.libraries.cross_encoder import from_cross_encoder, is_cross_encoder

library = pytest.importorskip("sentence_transformers", reason="the library of cross-encoders")
modules = pytest.importorskip("sentence_transformers.base.modules", reason="sentence-transformers 6")
scores = pytest.importorskip("sentence_transformers.cross_encoder.modules", reason="sentence-transformers 6")
QUERY, RETRIEVED = "A Red cat", "the bike!"
KINDS = ("one label", "three labels", "causal")


@cache
def load_model(kind, **settings):
    if kind == "causal":
        causal = modules.Transformer(str(save_network("Qwen3ForCausalLM")), transformer_task="text-generation")
        parts = [causal, scores.LogitScore(70, 80)]
        return library.CrossEncoder(modules=parts, device="cpu", **settings)
    folder = save_network("BertForSequenceClassification", num_labels=1 if kind == "one label" else 3)
    return library.CrossEncoder(str(folder), device="cpu", **settings)


def make_reranker(kind):
    return from_cross_encoder(load_model(kind), label="LABEL_2" if kind == "three labels" else None)


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_the_score_with_all_words_is_that_of_predict(kind):
    reranker, pairs = make_reranker(kind), [(QUERY, RETRIEVED), ("Größe 🙂 find", "a mat, a mat"), ("on", "on on")]
    expected = load_model(kind).predict(pairs, convert_to_tensor=True)
    expected = expected[:, 2] if kind == "three labels" else expected
    torch.testing.assert_close(reranker(*zip(*pairs, strict=True)), expected, rtol=0, atol=1e-6)
    assert expected.std() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("by", ["mask token", "attention mask"])
def test_words_are_removed_as_transformers_would(by):
    """All coalitions of a short pair, against the network on ids and attention masks that are written here."""
    pair = make_reranker("one label").encode_pair(QUERY, RETRIEVED, by)
    network = transformers.BertForSequenceClassification.from_pretrained(save_network("BertForSequenceClassification", num_labels=1)).eval()
    tokenizer = make_word_pieces()
    inputs = tokenizer(QUERY, RETRIEVED, return_tensors="pt")
    places = [1, 2, 3, 5, 6, 7]  # [CLS] a red cat [SEP] the bike ! [SEP]
    values = []
    for number in range(2**6):
        ids, attended = inputs["input_ids"].clone(), inputs["attention_mask"].clone()
        for k, place in enumerate(places):
            if not number >> k & 1 and by == "mask token":
                ids[0, place] = tokenizer.mask_token_id
            elif not number >> k & 1:
                attended[0, place] = 0
        logits = network(input_ids=ids, attention_mask=attended, token_type_ids=inputs["token_type_ids"]).logits
        values.append(logits[0, 0].sigmoid())
    _, first, second = cp.shapley_taylor(torch.stack(values).double())
    found = cp.ExactShapleyTaylor(pair).interactions(pair.presences)
    torch.testing.assert_close(found.first_order[0].double(), first, rtol=0, atol=1e-5)
    pairs = found.second_order
    assert pairs is not None
    torch.testing.assert_close(pairs[0].double(), second, rtol=0, atol=1e-5)
    assert second.abs().max() > 1e-3 and found.completeness_gap.abs() < 1e-6


@torch.no_grad()
def test_words_of_a_causal_reranker_are_removed_in_its_template():
    """The template, the prompt and the text that stands first in it keep their tokens."""
    model = load_model("causal")
    pair = from_cross_encoder(model, prompt="red red").encode_pair("red 🙂", "a red")
    assert pair.pieces == (("red", "…", "🙂", "…", "…", "…"), ("a", "…", "red")) and pair.removal == "attention mask"
    whole = model.predict([("red 🙂", "a red")], prompt="red red", convert_to_tensor=True)
    torch.testing.assert_close(pair(*pair.presences), whole, rtol=0, atol=1e-6)
    features = model.preprocess([("red 🙂", "a red")], prompt="red red")
    text = model.tokenizer.decode(features["input_ids"][0])
    spans = model.tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    at = text.index("<Query>: ") + len("<Query>: ")
    features["attention_mask"][0, [k for k, (start, end) in enumerate(spans) if at <= start < at + 3]] = 0  # "red" of the query
    query, retrieved = pair.presences
    query[0, 0] = 0
    expected = model(features)["scores"][:, 0].sigmoid()
    torch.testing.assert_close(pair(query, retrieved), expected, rtol=0, atol=1e-6)
    assert (expected - whole).abs() > 1e-5


@pytest.mark.parametrize("method", [cp.KernelShapleyTaylor, cp.GaussianProcessShapleyTaylor, cp.ExactShapleyTaylor])
def test_methods_for_functions_of_two_inputs_run_on_a_pair(method):
    pair = make_reranker("one label").encode_pair(QUERY, RETRIEVED)
    exact = cp.ExactShapleyTaylor(pair).interactions(pair.presences)
    found = method(pair).interactions(pair.presences)
    torch.testing.assert_close(found.between, exact.between, rtol=0, atol=1e-4)
    assert found.completeness_gap.abs() < 1e-6


@torch.no_grad()
def test_a_classifier_of_transformers_scores_by_its_logit():
    network = transformers.BertForSequenceClassification.from_pretrained(save_network("BertForSequenceClassification", num_labels=3)).eval()
    tokenizer = make_word_pieces()
    reranker = from_cross_encoder(network, tokenizer, label=1, prompt="find ")
    inputs = tokenizer(f"find {QUERY}", RETRIEVED, return_tensors="pt")
    torch.testing.assert_close(reranker([QUERY], [RETRIEVED]), network(**inputs).logits[:, 1], rtol=0, atol=1e-6)
    assert reranker.encode_pair(QUERY, "the bikes 🙂").pieces == (("A", "Red", "cat"), ("the", "bike", "…s", "🙂"))


@pytest.mark.parametrize("kind", ["one label", "causal"])
def test_explain_takes_the_object_itself(kind, tmp_path):
    model, documents = load_model(kind), ["re red", "a red mat"]
    ranking = cp.explain_ranking(model, "red", documents)
    assert ranking.scores == pytest.approx(model.predict([("red", document) for document in documents]), abs=1e-6)
    explanation = cp.explain(model, "red", documents[0])
    explanation.page().save(tmp_path / "page.html")
    assert explanation.similarity == pytest.approx(ranking.scores[0], abs=1e-6)
    assert isinstance(explanation.query, Sentence) and explanation.query.tokens == ("red",)
    assert torch.cat(explanation.interactions.map_gaps).abs().max() < 1e-6


def test_an_object_is_recognised_by_its_class():
    assert is_cross_encoder(load_model("causal")) and not is_cross_encoder(make_reranker("causal")) and not is_cross_encoder(None)


BAD = {
    "too long": (lambda: make_reranker("one label").encode_pair("cat " * 20, "mat " * 20), "at most 32 tokens, got 43. Shorten the text"),
    "no label": (lambda: from_cross_encoder(load_model("three labels")), r"label to be one of 0 \(LABEL_0\), .*2 \(LABEL_2\), got None"),
    "unknown label": (lambda: from_cross_encoder(load_model("three labels"), label="cat"), "label to be one of .*, got 'cat'"),
    "label out of range": (lambda: from_cross_encoder(load_model("one label"), label=1), r"label to be one of 0 \(LABEL_0\), got 1"),
    "no words": (lambda: make_reranker("one label").encode_pair(" ", "mat"), "two texts with at least one word each, got ' '"),
    "no mask token": (
        lambda: make_reranker("causal").encode_pair("a", "b", "mask token"),
        r"one of \['attention mask'\], got 'mask token'",
    ),
    "no reranker": (lambda: from_cross_encoder(torch.nn.Linear(2, 2)), "a CrossEncoder, or a model for sequence classification and its"),
}


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize("name", BAD)
def test_bad_rerankers_and_texts_are_refused(name):
    attempt, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        attempt()
