"""A `SentenceTransformer` as it is: embeddings of `encode`, prompts without credit, words as the user wrote them."""

from functools import cache

import pytest
import torch
from text_cases import make_word_pieces, save_network
from torch import nn

import captum_pairwise as cp
from captum_pairwise.explanations.contents import Sentence
from captum_pairwise.models.libraries.sentence_transformers_encoder import from_sentence_transformers, is_sentence_transformer
from captum_pairwise.models.text import TextEncoder, sentence_encoder
from captum_pairwise.models.words.token_encoder import TokenEncoder

library = pytest.importorskip("sentence_transformers", reason="the library of the encoders")
parts = pytest.importorskip("sentence_transformers.base.modules", reason="sentence-transformers 6")
steps = pytest.importorskip("sentence_transformers.sentence_transformer.modules", reason="sentence-transformers 6")
SENTENCES = ["A red cat!", "the Bikes, 🙂 find", "mat", "a cat sat on the mat: a red mat"]
PROMPTS = {"query": "find a: ", "document": "on the mat, "}
SIZE = 32
POOLINGS = [("mean",), ("cls",), ("max",), ("lasttoken",), ("weightedmean",), ("mean_sqrt_len_tokens",), ("mean", "cls", "max")]
MODULES = {
    "pooling alone": lambda: [],
    "normalised": lambda: [parts.Normalize()],
    "dense": lambda: [parts.Dense(SIZE, 7), parts.Normalize()],
    "layer norm": lambda: [steps.LayerNorm(SIZE), parts.Dense(SIZE, 5, activation_function=nn.Identity())],
}


@cache
def load_model(pooling=("mean",), more="pooling alone", include_prompt=True, network="BertModel", **settings):
    transformer = parts.Transformer(str(save_network(network)), max_seq_length=32 if network == "BertModel" else 80)
    torch.manual_seed(0)
    pools = steps.Pooling(SIZE, pooling_mode=list(pooling), include_prompt=include_prompt)
    return library.SentenceTransformer(modules=[transformer, pools, *MODULES[more]()], device="cpu", **settings).eval()


def read_towers(model, **arguments):
    """The encoders of the query and of the retrieved side."""
    wrapper = from_sentence_transformers(model, **arguments)
    query, retrieved = wrapper.query_encoder, wrapper.retrieved_tower
    assert isinstance(query, TokenEncoder) and isinstance(retrieved, TokenEncoder)
    return query, retrieved


def equals(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def embed(encoder, sentences=SENTENCES):
    with torch.no_grad():
        return encoder(encoder.ids(sentences))


@pytest.mark.parametrize("pooling", POOLINGS, ids="+".join)
@pytest.mark.parametrize("include_prompt", [True, False], ids=["prompt", "no prompt"])
def test_every_pooling_is_that_of_encode(pooling, include_prompt):
    model = load_model(pooling, include_prompt=include_prompt)
    encoder = read_towers(model, prompt="find a: ")[0]
    equals(embed(encoder), model.encode(SENTENCES, prompt="find a: ", convert_to_tensor=True))


@pytest.mark.parametrize("more", MODULES)
def test_every_module_runs(more):
    model = load_model(more=more, truncate_dim=4)
    equals(embed(read_towers(model)[0]), model.encode(SENTENCES, convert_to_tensor=True))


@pytest.mark.parametrize("network", ["Qwen3Model", "Qwen3ChatModel"])
def test_a_causal_network_that_pads_at_the_begin(network):
    model = load_model(("lasttoken",), network=network)
    assert model.tokenizer.padding_side == "left"
    encoder = read_towers(model, prompt="red ")[0]
    expected = model.encode(SENTENCES, prompt="red ", convert_to_tensor=True, batch_size=1)
    equals(torch.cat([embed(encoder, [sentence]) for sentence in SENTENCES]), expected)
    torch.testing.assert_close(embed(encoder), expected, rtol=1e-5, atol=1e-5)  # sums of a longer row are rounded differently
    assert encoder.spell(["red 🙂"])[0][:1] == ["red"] and encoder.removals == ("attention mask",)


def test_a_model_with_prompts_has_two_towers():
    model = make_prompted()
    query, retrieved = read_towers(model)
    equals(embed(query), model.encode_query(SENTENCES, convert_to_tensor=True))
    equals(embed(retrieved), model.encode_document(SENTENCES, convert_to_tensor=True))
    assert query.description == "the query is embedded by `encode_query` with the prompt 'find a: ', which gets no credit"
    assert query.embedding_layer is retrieved.embedding_layer
    single = read_towers(model, prompt_name="query")
    assert single[0] is single[1]
    equals(embed(single[0]), model.encode(SENTENCES, prompt_name="query", convert_to_tensor=True))


def make_prompted(**settings):
    modules = list(load_model())
    return library.SentenceTransformer(modules=modules, device="cpu", prompts=dict(PROMPTS), **settings).eval()


def test_the_default_prompt_is_used():
    model = library.SentenceTransformer(
        modules=list(load_model()), device="cpu", prompts={"own": "red: "}, default_prompt_name="own"
    ).eval()
    query, retrieved = read_towers(model)
    assert query is retrieved
    equals(embed(query), model.encode(SENTENCES, convert_to_tensor=True))


def test_a_router_has_two_towers():
    towers = [[parts.Transformer(str(save_network("BertModel"))), steps.Pooling(SIZE, pooling_mode=mode)] for mode in ("cls", "max")]
    model = library.SentenceTransformer(modules=[parts.Router.for_query_document(*towers)], device="cpu").eval()
    query, retrieved = read_towers(model)
    equals(embed(query), model.encode_query(SENTENCES, convert_to_tensor=True))
    equals(embed(retrieved), model.encode_document(SENTENCES, convert_to_tensor=True))
    assert query.embedding_layer is not retrieved.embedding_layer


@pytest.mark.parametrize("name", ["cosine", "dot", "euclidean", "manhattan"])
def test_the_similarity_is_that_of_the_model(name):
    model = library.SentenceTransformer(modules=list(load_model(more="dense")), device="cpu", similarity_fn_name=name).eval()
    wrapper = from_sentence_transformers(model)
    ids = [read_towers(model)[0].ids(sentences) for sentences in (SENTENCES[:2], SENTENCES[2:])]
    embeddings = [model.encode(sentences, convert_to_tensor=True) for sentences in (SENTENCES[:2], SENTENCES[2:])]
    with torch.no_grad():
        equals(wrapper(*ids), model.similarity_pairwise(*embeddings))
    assert (wrapper.head.lift_query is not None) == (name in ("cosine", "dot"))


def test_words_are_spelled_as_written_and_prompts_are_no_words():
    encoder = read_towers(make_prompted())[0]
    ids = encoder.ids(SENTENCES)
    words = [["A", "red", "cat", "!"], ["the", "Bike", "…s", ",", "🙂", "find"], ["mat"]]
    assert encoder.spell(SENTENCES)[:3] == words
    assert encoder.pieces(ids)[:2] == [["a", "red", "cat", "!"], ["the", "bike", "##s", ",", "[UNK]", "find"]]
    mask = encoder.layer_mask(ids)[..., 0]
    assert mask[2].tolist() == [-1] * 4 + [0] + [-1] * (ids.shape[1] - 5)  # [CLS] find a : mat
    replaced = encoder.random_words(ids, 3, torch.Generator().manual_seed(0)).images
    assert torch.equal(replaced[:, mask < 0], ids.expand(3, -1, -1)[:, mask < 0]) and embed(encoder).isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize("by", ["attention mask", "mask token"])
@pytest.mark.parametrize("pooling", [("mean",), ("cls", "weightedmean", "max", "lasttoken")], ids="+".join)
def test_words_are_removed_as_the_library_would(by, pooling):
    model, sentence = load_model(pooling, include_prompt=False), "the red cat"
    encoder = read_towers(model, prompt="find a: ")[0]
    presence = torch.tensor([[1, 1, 1], [0, 1, 1], [1, 0, 1], [0, 0, 1], [0, 0, 0]]).bool()
    found = encoder.embed_present(encoder.ids([sentence]), presence, by)
    for row, present in zip(found, presence, strict=True):
        features = model.preprocess([sentence], prompt="find a: ")
        for place, is_present in zip((4, 5, 6), present.tolist(), strict=True):  # [CLS] find a : the red cat [SEP]
            if not is_present and by == "mask token":
                features["input_ids"][0, place] = model.tokenizer.mask_token_id
            elif not is_present:
                features["attention_mask"][0, place] = 0
        equals(row, model(features)["sentence_embedding"][0])
    assert (found[0] - found[1:]).abs().amax(1).min() > 1e-3


@pytest.mark.parametrize("name", ["cosine", "manhattan"])
def test_explanations_are_complete_and_equal_brute_force(name):
    model = make_prompted(similarity_fn_name=name)
    wrapper, towers, sentences = from_sentence_transformers(model), read_towers(model), (["a red cat"], ["the bike"])
    ids = towers[0].ids(sentences[0]), towers[1].ids(sentences[1])
    masks = towers[0].layer_mask(ids[0]), towers[1].layer_mask(ids[1])
    layers, baselines = (towers[0].embedding_layer, towers[1].embedding_layer), (towers[0].baseline, towers[1].baseline)
    found = cp.LayerExactShapleyTaylor(wrapper, layers).interactions(ids, baselines, layer_mask=masks)
    between, singles = found.between, found.first_order
    assert between is not None and singles is not None
    values = []
    with torch.no_grad():
        for number in range(2**5):
            words = [word if number >> k & 1 else "[MASK]" for k, word in enumerate(["a", "red", "cat", "the", "bike"])]
            sides = " ".join(words[:3]), " ".join(words[3:])
            encoders = model.encode_query, model.encode_document
            pair = [encode(side, convert_to_tensor=True)[None] for encode, side in zip(encoders, sides, strict=True)]
            values.append(model.similarity_pairwise(*pair))
    _, first, second = cp.shapley_taylor(torch.cat(values).double())
    torch.testing.assert_close(singles[0].double(), first, rtol=0, atol=1e-5)
    torch.testing.assert_close(between[0].double(), second[:3, 3:], rtol=0, atol=1e-5)
    assert found.completeness_gap.abs() < 1e-6 and between.abs().max() > 1e-3


@cache
def load_static():
    return library.SentenceTransformer(
        modules=[steps.StaticEmbedding(make_word_pieces(), embedding_dim=9), parts.Normalize()], device="cpu"
    ).eval()


def test_static_embeddings():
    model = load_static()
    encoder = read_towers(model, prompt="find a: ")[0]
    equals(embed(encoder), model.encode(SENTENCES, prompt="find a: ", convert_to_tensor=True))
    assert encoder.spell(["The Bikes 🙂"]) == [["The", "Bike", "…s", "🙂"]]
    pair = "a red cat", "the red bike"
    tokens = [model.tokenizer.encode(text, add_special_tokens=False).ids for text in pair]
    u, w = (model[0].embedding.weight.detach()[ids] for ids in tokens)
    found = cp.explain(cp.SimilarityWrapper(read_towers(model)[0], similarity="dot"), *pair)
    assert found.similarity == pytest.approx((nn.functional.normalize(u.mean(0), dim=0) @ nn.functional.normalize(w.mean(0), dim=0)).item())


@torch.no_grad()
def test_words_of_static_embeddings_are_left_out_of_the_mean():
    model = load_static()
    encoder = read_towers(model, prompt="find ")[0]
    found = encoder.embed_present(encoder.ids(["a red cat"]), torch.tensor([[True, False, True], [False, False, False]]), "attention mask")
    equals(found, model.encode(["find a cat", "find "], convert_to_tensor=True))


def test_explain_takes_the_object_itself(tmp_path):
    model, documents = make_prompted(), ["the Bikes", "a red mat"]
    ranking = cp.explain_ranking(model, "A Red cat", documents)
    expected = model.similarity(model.encode_query("A Red cat"), model.encode_document(documents))[0]
    assert ranking.scores == pytest.approx(expected.tolist(), abs=1e-6)
    explanation = cp.explain(model, "A Red cat", documents[0], baselines="attention mask")
    explanation.page().save(tmp_path / "page.html")
    assert explanation.similarity == pytest.approx(ranking.scores[0], abs=1e-6)
    assert "embedded by `encode_document` with the prompt 'on the mat, '" in explanation.choices
    assert isinstance(explanation.retrieved, Sentence) and explanation.retrieved.tokens == ("the", "Bike", "…s")


def test_an_object_is_recognised_by_its_class():
    assert is_sentence_transformer(load_static()) and not is_sentence_transformer(load_static()[0]) and not is_sentence_transformer(None)


BAD = {
    "too long": (lambda: read_towers(load_model())[0].ids(["cat " * 40]), "at most 32 tokens, got 42"),
    "unknown prompt": (lambda: from_sentence_transformers(make_prompted(), prompt_name="x"), r"one of \['query', 'document'\], got 'x'"),
    "no mask token": (
        lambda: read_towers(load_model(network="Qwen3Model"))[0].embed_present(torch.tensor([[4]]), torch.tensor([[True]]), "mask token"),
        r"removed by one of \['attention mask'\], got 'mask token'",
    ),
    "nothing to attend to": (
        lambda: read_towers(load_model(network="Qwen3Model"))[0].embed_present(
            torch.tensor([[4]]), torch.tensor([[False]]), "attention mask"
        ),
        "a token that never leaves, such as a begin token",
    ),
    "text encoder": (
        lambda: TextEncoder(load_model(), load_model().tokenizer),
        "got a SentenceTransformer. Pass it to cp.explain as it is",
    ),
    "no folder": (
        lambda: sentence_encoder(load_model()),
        "the folder of a saved model, got SentenceTransformer. Pass a model to cp.explain",
    ),
    "bag of words": (
        lambda: from_sentence_transformers(library.SentenceTransformer(modules=[steps.BoW(["cat", "mat"])], device="cpu")),
        "input is token ids of transformers",
    ),
}


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize("name", BAD)
def test_bad_models_and_sentences_are_refused(name):
    attempt, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        attempt()
