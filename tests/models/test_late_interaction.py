"""Late interaction of texts: tokens, skipped tokens and similarity are those of the library; words are explained."""

import string
from functools import cache
from itertools import pairwise

import pytest
import torch
from conftest import assert_refused
from text_cases import make_word_pieces, save_network, transformers
from torch import nn

import captum_pairwise as cp
from captum_pairwise.estimators.enumeration import exact
from captum_pairwise.games.game import CallableGame
from captum_pairwise.models.libraries.late_interaction import from_colbert, from_multi_vector_encoder, is_multi_vector_encoder
from captum_pairwise.models.text_towers import TokenEncoder
from captum_pairwise.results.index import parse_index

library = pytest.importorskip("sentence_transformers", reason="the library of the encoders")
parts = pytest.importorskip("sentence_transformers.base.modules", reason="sentence-transformers 6")
steps = pytest.importorskip("sentence_transformers.multi_vector_encoder.modules", reason="sentence-transformers 6")
QUERIES, DOCUMENTS = ["A red cat!", "find the bike, on the mat"], ["the cat sat on a red mat.", "bike: query!"]
EXPANSIONS = {
    "none": None,
    "fixed": {"strategy": "fixed", "attend": False, "length": 16},
    "attended": {"strategy": "fixed", "attend": True, "length": 16},
    "short queries": {"strategy": "min", "attend": False, "length": 10},
    "own token": {"strategy": "fixed", "attend": False, "length": 16, "token": "on"},
}
every_expansion = pytest.mark.parametrize("expansion", EXPANSIONS)
close = {"rtol": 0, "atol": 1e-6}


@cache
def load_model(expansion: str = "fixed", prompts: bool = True, similarity: str = "maxsim"):
    transformer = parts.Transformer(str(save_network("BertModel")), max_seq_length=32)
    transformer.query_expansion = EXPANSIONS[expansion]
    torch.manual_seed(0)
    fields = {"module_input_name": "token_embeddings", "module_output_name": "token_embeddings"}
    modules = [transformer, parts.Dense(32, 8, bias=False, activation_function=nn.Identity(), **fields), parts.Normalize()]
    modules.append(steps.MultiVectorMask(skiplist_words=list(string.punctuation)))
    named = {"query": "find a: ", "document": "on the mat, "} if prompts else None
    return library.MultiVectorEncoder(modules=modules, prompts=named, device="cpu", similarity_fn_name=similarity).eval()


def read_towers(model) -> tuple[TokenEncoder, TokenEncoder]:
    query, document = model.query_encoder, model.retrieved_tower
    assert isinstance(query, TokenEncoder) and isinstance(document, TokenEncoder)
    return query, document


@torch.no_grad()
def embed(encoder: TokenEncoder, texts: list[str]) -> list[torch.Tensor]:
    """The tokens that are compared."""
    return [tokens[tokens.any(1)] for tokens in encoder(encoder.ids(texts))]


@every_expansion
@pytest.mark.parametrize("prompts", [True, False], ids=["prompts", "no prompts"])
def test_tokens_are_those_of_the_library(expansion: str, prompts: bool) -> None:
    model = load_model(expansion, prompts)
    query, document = read_towers(from_multi_vector_encoder(model))
    for encoder, texts, encode in ((query, QUERIES, model.encode_query), (document, DOCUMENTS, model.encode_document)):
        for found, expected in zip(embed(encoder, texts), encode(texts), strict=True):
            torch.testing.assert_close(found, expected, **close)


@pytest.mark.parametrize("similarity", ["maxsim", "meanmaxsim"])
def test_the_similarity_is_that_of_the_model(similarity: str) -> None:
    model = load_model(similarity=similarity)
    wrapper = from_multi_vector_encoder(model)
    query, document = read_towers(wrapper)
    expected = model.similarity_pairwise(model.encode_query(QUERIES), model.encode_document(DOCUMENTS))
    with torch.no_grad():
        torch.testing.assert_close(wrapper(query.ids(QUERIES), document.ids(DOCUMENTS)), expected, rtol=1e-6, atol=0)


def test_words_of_the_text_are_players_and_nothing_else() -> None:
    query, document = read_towers(from_multi_vector_encoder(load_model()))
    assert query.spell(QUERIES) == [["A", "red", "cat", "!"], ["find", "the", "bike", ",", "on", "the", "mat"]]
    assert document.spell(DOCUMENTS[1:]) == [["bike", ":", "query", "!"]]
    mask = query.layer_mask(query.ids(QUERIES[:1]))[0, :, 0]
    assert mask.tolist() == [-1] * 4 + [0, 1, 2, 3] + [-1] * 8  # the begin and the prompt, then the end and the expansion
    assert query.description == "the query is embedded by `encode_query` with the prompt 'find a: ', which gets no credit"
    assert_refused(lambda: query.ids(["cat " * 40]), "Shorten")


@pytest.mark.parametrize("by", ["mask token", "attention mask"])
def test_pairs_of_words_match_brute_force(by: str) -> None:
    model = load_model()
    query, document = read_towers(from_multi_vector_encoder(model))
    ids = query.ids(["a red cat"]), document.ids(["cat, the"])
    explanation = cp.explain(model, "a red cat", "cat, the", baselines=by, n_samples=64)

    def value(z: torch.Tensor) -> torch.Tensor:
        u, w = query.embed_present(ids[0], z[:, :3].bool(), by), document.embed_present(ids[1], z[:, 3:].bool(), by)
        scores = []
        for own, other in zip(u, w, strict=True):
            compared = other[other.any(1)]
            scores.append(sum(max(float(token @ rival) for rival in compared) for token in own if token.any()))
        return torch.tensor(scores, dtype=torch.float64)

    with torch.no_grad():
        truth = exact(CallableGame(3, 3, value), index=parse_index("banzhaf")).between
    torch.testing.assert_close(explanation.interactions.between, truth, rtol=0, atol=1e-5)
    assert torch.cat(explanation.interactions.map_gaps).abs().max() < 1e-6


def test_a_ranked_list_is_explained_and_saved(tmp_path) -> None:
    model = load_model(prompts=False)
    ranking = cp.explain_ranking(model, "a red cat", ["the cat sat", "bike"], n_samples=20)
    assert [result.between.shape for result in ranking.interactions] == [(1, 3, 3), (1, 3, 1)]
    ranking.save(tmp_path / "page.html")
    assert "the cat sat" in (tmp_path / "page.html").read_text()


def test_the_objects_of_the_libraries_are_recognised() -> None:
    older = type("ColBERT", (nn.Module,), {"__module__": "pylate.models.colbert"})()
    assert is_multi_vector_encoder(load_model()) and is_multi_vector_encoder(older) and not is_multi_vector_encoder(nn.Identity())
    assert_refused(lambda: cp.explain(older, "a", "b"), "sentence-transformers 6 or newer")


# ColBERT from its parts


def load_colbert():
    network = transformers.AutoModel.from_pretrained(save_network("BertModel")).eval()
    torch.manual_seed(1)
    return network, make_word_pieces(), nn.Linear(32, 8, bias=False)


@torch.no_grad()
def embed_by_hand(network, tokenizer, projection, text: str, marker: str, length: int | None) -> torch.Tensor:
    """The tokens of one text as the ColBERT repository computes them; `query` marks a query, whose punctuation is compared."""
    words = tokenizer.convert_ids_to_tokens(tokenizer(text, add_special_tokens=False)["input_ids"])
    tokens = ["[CLS]", marker, *words, "[SEP]"]
    expansion = ["[MASK]"] * (length - len(tokens)) if marker == "query" and length is not None else []
    ids = torch.tensor([tokenizer.convert_tokens_to_ids([*tokens, *expansion])])
    attention = torch.tensor([[1] * len(tokens) + [0] * len(expansion)])
    states = projection(network(input_ids=ids, attention_mask=attention)[0])[0]
    compared = [marker == "query" or token not in string.punctuation for token in [*tokens, *expansion]]
    return nn.functional.normalize(states[compared], dim=1)


@pytest.mark.parametrize("length", [12, None], ids=["expanded", "not expanded"])
def test_colbert_follows_its_formula(length: int | None) -> None:
    model, by_hand = load_colbert(), []
    wrapper = from_colbert(*model, markers=("query", "find"), query_length=length)
    for encoder, texts, marker in zip(read_towers(wrapper), (QUERIES, DOCUMENTS), ("query", "find"), strict=True):
        by_hand.append([embed_by_hand(*model, text, marker, length) for text in texts])
        for found, expected in zip(embed(encoder, texts), by_hand[-1], strict=True):
            torch.testing.assert_close(found, expected, **close)
    for query, document, found in zip(*by_hand, score(wrapper), strict=True):
        assert found.item() == pytest.approx((query @ document.T).amax(1).sum().item(), abs=1e-5)


@torch.no_grad()
def score(wrapper: cp.SimilarityWrapper) -> torch.Tensor:
    query, document = read_towers(wrapper)
    return wrapper(query.ids(QUERIES), document.ids(DOCUMENTS))


def test_colbert_is_explained_in_words() -> None:
    explanation = cp.explain(from_colbert(*load_colbert(), markers=("query", "find"), query_length=12), "a red cat", "a red mat.")
    assert explanation.interactions.between.shape == (1, 3, 4)
    assert [content.tokens for content in (explanation.query, explanation.retrieved)] == [("a", "red", "cat"), ("a", "red", "mat", ".")]
    assert torch.cat(explanation.interactions.map_gaps).abs().max() < 1e-6


def test_markers_and_expansions_that_the_tokenizer_does_not_know_are_refused() -> None:
    network, tokenizer, projection = load_colbert()
    assert_refused(lambda: from_colbert(network, tokenizer, projection), "markers that are tokens of .*, got '\\[unused0\\]'")
    tokenizer.mask_token = None
    assert_refused(lambda: from_colbert(network, tokenizer, projection, markers=("a", "on")), "with a mask token")


def test_expansions_have_the_length_of_the_users_settings() -> None:
    lengths = [len(embed(read_towers(from_multi_vector_encoder(load_model(name)))[0], ["cat"])[0]) for name in EXPANSIONS]
    assert lengths[1] == lengths[2] == lengths[4] == 16 and lengths[3] == 10 and lengths[0] < 10
    assert all(a != b for a, b in pairwise(lengths[:2]))
