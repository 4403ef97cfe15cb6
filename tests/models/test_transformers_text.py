"""Networks of transformers as encoders of sentences: their own states, pooled and removed as written out here."""

from functools import cache

import pytest
import torch
from text_cases import SIZES, make_bytes, make_word_pieces, transformers
from torch import nn

import captum_pairwise as cp
from captum_pairwise.models.libraries.transformers_text import make_text_encoder
from captum_pairwise.models.text import TextEncoder

SENTENCES = ["A red cat", "the bike!", "mat"]
BERT = SIZES | {"vocab_size": 80, "pad_token_id": 0}
T5 = {"vocab_size": 80, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
QWEN = {"num_key_value_heads": 2, "head_dim": 8, "bos_token_id": None, "eos_token_id": None}
GPT = {"vocab_size": 280, "n_embd": 32, "n_layer": 2, "n_head": 4, "bos_token_id": 0, "eos_token_id": 0}
NETWORKS = {  # the class of the network, the class and the settings of its configuration
    "BERT with a head": ("BertForMaskedLM", "BertConfig", BERT),
    "RoBERTa": ("RobertaModel", "RobertaConfig", BERT),
    "DistilBERT": ("DistilBertModel", "DistilBertConfig", {"vocab_size": 80, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48}),
    "MPNet": ("MPNetModel", "MPNetConfig", BERT),
    "DeBERTa": ("DebertaV2Model", "DebertaV2Config", BERT | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}),
    "ModernBERT": ("ModernBertModel", "ModernBertConfig", BERT | dict.fromkeys(("cls_token_id", "sep_token_id", "bos_token_id"), 2)),
    "ALBERT": ("AlbertModel", "AlbertConfig", BERT | {"embedding_size": 16}),
    "T5": ("T5EncoderModel", "T5Config", T5),
    "T5 with a decoder": ("T5ForConditionalGeneration", "T5Config", T5),
    "Qwen": ("Qwen3ForCausalLM", "Qwen3Config", SIZES | QWEN | {"vocab_size": 280}),
    "GPT-2": ("GPT2Model", "GPT2Config", GPT),
}
CAUSAL = ("Qwen", "GPT-2")


@cache
def load_network(name):
    kind, config, settings = NETWORKS[name]
    torch.manual_seed(0)
    network = getattr(transformers, kind)(getattr(transformers, config)(**settings)).eval()
    for parameter in network.parameters():
        if parameter.dim() > 1:
            parameter.data = torch.randn_like(parameter) * 1.5 / parameter.shape[1] ** 0.5
    return network


def load_tokenizer(name):
    return make_bytes() if name in CAUSAL else make_word_pieces()


def run_states(name, inputs):
    """The last states by the call of transformers, of the network without its head."""
    network = load_network(name)
    encoder = network.get_encoder() if name == "T5 with a decoder" else network.base_model
    return encoder(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).last_hidden_state


@torch.no_grad()
@pytest.mark.parametrize("name", NETWORKS)
def test_states_are_pooled_by_the_default_of_the_network(name):
    encoder = make_text_encoder(load_network(name), load_tokenizer(name))
    found = encoder(encoder.ids(SENTENCES))
    for row, sentence in zip(found, SENTENCES, strict=True):
        states = run_states(name, load_tokenizer(name)([sentence], return_tensors="pt"))[0]
        torch.testing.assert_close(row, states[-1] if name in CAUSAL else states.mean(0), rtol=1e-5, atol=1e-5)
    assert (", because its attention is causal" in encoder.description) == (name in CAUSAL)


@torch.no_grad()
@pytest.mark.parametrize("name", NETWORKS)
def test_hidden_words_have_the_attention_mask_zero_and_are_not_pooled(name):
    encoder, inputs = (
        make_text_encoder(load_network(name), load_tokenizer(name), "mean"),
        load_tokenizer(name)(SENTENCES[:1], return_tensors="pt"),
    )
    ids = encoder.ids(SENTENCES[:1])
    places = encoder.layer_mask(ids)[0, :, 0].tolist()
    presence = torch.ones(2, max(places) + 1).bool()
    presence[1, 1] = False
    found = encoder.embed_present(ids, presence, "attention mask")
    for row, present in zip(found, presence.tolist(), strict=True):
        attended = torch.tensor([[int(place < 0 or present[place]) for place in places]])
        states = run_states(name, {"input_ids": inputs["input_ids"], "attention_mask": attended})[0]
        torch.testing.assert_close(row, states[attended[0] == 1].mean(0), rtol=1e-5, atol=1e-5)
    assert (found[0] - found[1]).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["ALBERT", "T5", "ModernBERT"])
def test_words_are_explained_where_blocks_or_embeddings_are_shared(name):
    encoder = make_text_encoder(load_network(name), load_tokenizer(name))
    explanation = cp.explain(encoder, "a red", "the cat", method=cp.LayerExactShapleyTaylor, baselines=(encoder.baseline, encoder.baseline))
    values = []
    with torch.no_grad():
        for number in range(2**4):
            words = [word if number >> k & 1 else "[MASK]" for k, word in enumerate(["a", "red", "the", "cat"])]
            u, w = (
                run_states(name, load_tokenizer(name)([" ".join(side)], return_tensors="pt"))[0].mean(0) for side in (words[:2], words[2:])
            )
            values.append(torch.cosine_similarity(u, w, dim=0))
    _, _, second = cp.shapley_taylor(torch.stack(values).double())
    torch.testing.assert_close(explanation.pairs.double(), second[:2, 2:], rtol=0, atol=1e-5)
    assert explanation.interactions.completeness_gap.abs() < 1e-6 and second.abs().max() > 1e-3


@torch.no_grad()
def test_pooling_and_prompt_by_argument():
    network, tokenizer = transformers.BertModel(transformers.BertConfig(**BERT)).eval(), make_word_pieces()
    inputs = tokenizer(["query: a red cat"], return_tensors="pt")
    output = network(**inputs)
    expected = {"cls": output[0][:, 0], "class": output[0][:, 0], "max": output[0].max(1).values, "pooler": output.pooler_output}
    for pooling, embedding in expected.items():
        encoder = cp.models.from_transformers(network, tokenizer, pooling=pooling, prompt="query: ")
        torch.testing.assert_close(encoder(encoder.ids(["a red cat"])), embedding)
        assert encoder.spell(["a Red cat"]) == [["a", "Red", "cat"]]


def test_the_pooling_of_a_folder_is_taken(tmp_path):
    library = pytest.importorskip("sentence_transformers", reason="the library of the folder")
    steps = pytest.importorskip("sentence_transformers.sentence_transformer.modules", reason="sentence-transformers 6")
    load_network("MPNet").save_pretrained(tmp_path / "network")
    make_word_pieces().save_pretrained(tmp_path / "network")
    modules = [steps.Transformer(str(tmp_path / "network")), steps.Pooling(32, pooling_mode="cls")]
    library.SentenceTransformer(modules=modules, device="cpu").save(str(tmp_path / "all"))
    network = transformers.AutoModel.from_pretrained(tmp_path / "all").eval()
    encoder = cp.models.from_transformers(network, make_word_pieces())
    assert isinstance(encoder, TextEncoder) and encoder.pooling == ("cls",) and "cls as its folder says" in encoder.description


class LooksUpTwice(nn.Module):
    """A network that runs its embedding layer twice, as universal transformers may."""

    def __init__(self):
        super().__init__()
        self.embedding, self.config = nn.Embedding(80, 8), None

    def forward(self, input_ids, attention_mask):
        return (self.embedding(input_ids) + self.embedding(input_ids).sin(),)


BAD = {
    "reranker": (
        lambda: transformers.BertForSequenceClassification(transformers.BertConfig(**BERT)),
        None,
        "returns the states of its tokens",
    ),
    "no pooler": (lambda: load_network("T5"), "pooler", "a network with a pooler for pooling='pooler', got T5EncoderModel without"),
    "tower": (lambda: transformers.CLIPTextModel(transformers.CLIPTextConfig(**BERT)), None, "a network of text alone, got CLIPTextModel"),
    "padding": (
        lambda: transformers.FNetModel(
            transformers.FNetConfig(vocab_size=80, hidden_size=32, num_hidden_layers=1, intermediate_size=48)
        ).eval(),
        None,
        "ignores padding by its attention mask, got FNetModel",
    ),
    "looked up twice": (LooksUpTwice, None, "looks up the embeddings of the tokens once, got Embedding 2 times"),
}


@pytest.mark.parametrize("name", BAD)
def test_networks_that_would_be_wrong_are_refused(name):
    make, pooling, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        assert make_text_encoder(make(), make_word_pieces(), pooling).embedding_layer
