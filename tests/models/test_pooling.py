"""Each mode of pooling equals sentence-transformers, in folders of the old and the new form, for sentences of different length."""

import json

import pytest
import torch
from conftest import random_tensor
from test_text import BERT_NAMES, WORDS, bert, make_tokenizer

from captum_pairwise import text
from captum_pairwise.models.words.pooling import POOLING, pool_states
from captum_pairwise.models.words.sentence_folder import FLAGS

oracle = pytest.importorskip("sentence_transformers", reason="an outside implementation: pip install 'captum-pairwise[oracles]'")
SENTENCES = ["a cat sat window sun", "sun", "kitten dog", "a cat sat"]
CHOICES = [*((mode,) for mode in POOLING), ("cls", "mean"), ("max", "weightedmean", "lasttoken")]


def average(states, weights, power=1):
    return sum(weight * state for weight, state in zip(weights, states, strict=True)) / sum(weights) ** power


LITERAL = {
    "cls": lambda states: states[0],
    "max": lambda states: torch.stack([max(channel) for channel in states.T]),
    "mean": lambda states: average(states, [1] * len(states)),
    "mean_sqrt_len_tokens": lambda states: average(states, [1] * len(states), 0.5),
    "weightedmean": lambda states: average(states, range(1, len(states) + 1)),
    "lasttoken": lambda states: states[-1],
}


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("mode", POOLING)
def test_a_mode_equals_its_formula_over_the_attended_states(mode, side):
    states, lengths = random_tensor(3, 5, 4), (5, 2, 1)
    attended = torch.arange(5) < torch.tensor(lengths)[:, None]
    attended = attended if side == "right" else attended.flip(1)
    expected = torch.stack([LITERAL[mode](row[plays]) for row, plays in zip(states, attended, strict=True)])
    torch.testing.assert_close(pool_states(states, attended, (mode,)), expected)


def test_half_precision_does_not_overflow():
    states = torch.full((1, 400, 2), 1000.0, dtype=torch.float16)
    torch.testing.assert_close(pool_states(states, torch.ones(1, 400, dtype=torch.bool), ("mean",)), states[:, 0])


def write_folder(
    folder, pooling, kinds=("Transformer", "Pooling", "Normalize"), library="sentence_transformers.models", names=BERT_NAMES, **settings
):
    """A folder of sentence-transformers with a small BERT."""
    bert().float().save_pretrained(folder)
    make_tokenizer(WORDS, **names).save_pretrained(folder)
    paths = {"Transformer": ""} | {kind: f"{place}_{kind}" for place, kind in enumerate(kinds) if kind != "Transformer"}
    modules = [{"idx": k, "name": str(k), "path": paths[kind], "type": f"{library}.{kind}"} for k, kind in enumerate(kinds)]
    files = {"modules.json": modules, "sentence_bert_config.json": {"max_seq_length": 8} | settings}
    if "Pooling" in kinds:
        files[f"{paths['Pooling']}/config.json"] = {"word_embedding_dimension": 8} | pooling
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    return folder


def spell_pooling(modes, form):
    """The settings of the pooling in a folder of the old form (flags) or of the new form (names)."""
    return {flag: mode in modes for flag, mode in FLAGS.items()} if form == "old" else {"pooling_mode": list(modes)}


@torch.no_grad()
@pytest.mark.parametrize("form", ["old", "new"])
@pytest.mark.parametrize("modes", CHOICES, ids="+".join)
def test_a_folder_gives_the_embeddings_of_sentence_transformers(tmp_path, modes, form):
    folder = write_folder(tmp_path, spell_pooling(modes, form))
    encoder = text.sentence_encoder(folder)
    expected = oracle.SentenceTransformer(str(folder), device="cpu").encode(SENTENCES, convert_to_tensor=True)
    torch.testing.assert_close(torch.nn.functional.normalize(encoder(encoder.ids(SENTENCES))), expected)


@torch.no_grad()
@pytest.mark.parametrize("modes", CHOICES, ids="+".join)
@pytest.mark.parametrize("padding", ["[SEP]", "[UNK]"])
def test_a_folder_whose_padding_is_another_token(tmp_path, modes, padding):
    folder = write_folder(tmp_path, spell_pooling(modes, "new"), names=BERT_NAMES | {"pad_token": padding})
    encoder = text.sentence_encoder(folder)
    expected = oracle.SentenceTransformer(str(folder), device="cpu").encode(SENTENCES, convert_to_tensor=True)
    torch.testing.assert_close(torch.nn.functional.normalize(encoder(encoder.ids(SENTENCES))), expected)


def test_one_name_and_no_name_of_a_mode_are_read(tmp_path):
    assert text.sentence_encoder(write_folder(tmp_path, {"pooling_mode": "cls"})).pooling == ("cls",)
    assert text.sentence_encoder(write_folder(tmp_path, {})).pooling == ("mean",)


REFUSED = {
    "another module": ({"kinds": ("Transformer", "Pooling", "Dense")}, {}, "got Dense"),
    "no pooling": ({"kinds": ("Transformer", "Normalize")}, {}, "got Transformer . Normalize"),
    "module of its own": ({"library": "custom_st"}, {}, "got custom_st.Transformer, custom_st.Pooling"),
    "prompts left out": ({}, {"include_prompt": False}, "got include_prompt=False"),
    "unknown mode": ({}, {"pooling_mode": ["cls", "sum"]}, "pooling to be one or several of cls, max, .*'sum'"),
    "mode that is no name": ({}, {"pooling_mode": 3}, "pooling to be one or several of cls, max, .*3"),
    "unknown setting": ({}, {"pooling_mode_median": True}, "got pooling_mode_median"),
    "lower case": ({"do_lower_case": True}, {}, "got do_lower_case=True"),
    "another task": ({"transformer_task": "fill-mask"}, {}, "got transformer_task='fill-mask'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_folder_with_other_steps_is_refused(tmp_path, name):
    more, pooling, message = REFUSED[name]
    write_folder(tmp_path, pooling, **more)
    with pytest.raises(ValueError, match=message):
        text.sentence_encoder(tmp_path)


def test_a_prompt_before_every_sentence_is_refused(tmp_path):
    folder = write_folder(tmp_path, {"pooling_mode": "mean"})
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"default_prompt_name": "query", "prompts": {"query": "a "}}))
    with pytest.raises(ValueError, match="without prompts and other steps, got default_prompt_name='query'"):
        text.sentence_encoder(folder)


def test_a_sentence_that_sentence_transformers_cuts_off_is_refused(tmp_path):
    encoder = text.sentence_encoder(write_folder(tmp_path, {}, max_seq_length=4))
    with pytest.raises(ValueError, match="at most 4 tokens, got 5"):
        encoder.ids(["a cat sat"])
