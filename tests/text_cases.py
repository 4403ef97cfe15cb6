"""Tokenizers and tiny networks of text with random weights, in folders."""

from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
import torch

transformers = pytest.importorskip("transformers", reason="encoders of text need it: pip install 'captum-pairwise[text]'")
tokenizers = pytest.importorskip("tokenizers", reason="encoders of text need it: pip install 'captum-pairwise[text]'")
SPECIAL = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
LETTERS = "abcdefghijklmnopqrstuvwxyz:.,!?"
WHOLE = ["a", "red", "cat", "bike", "sat", "on", "the", "mat", "query", "find"]
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
TEMPLATE = (
    "<|im_start|>system\n{{ messages | selectattr('role', 'eq', 'system') | map(attribute='content') | first | default('Judge.') }}"
    "<|im_end|>\n<Document>: {{ messages | selectattr('role', 'eq', 'document') | map(attribute='content') | first }}\n"
    "<Query>: {{ messages | selectattr('role', 'eq', 'query') | map(attribute='content') | first }}<|im_end|>\n"
)
CHAT = "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>{% endfor %}"


def make_word_pieces(max_length: int = 32):
    """A tokenizer of word pieces without case, as of BERT."""
    vocabulary = [*SPECIAL.values(), *WHOLE, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    built = tokenizers.Tokenizer(tokenizers.models.WordPiece({piece: k for k, piece in enumerate(vocabulary)}, unk_token="[UNK]"))
    built.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    built.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    ends = [(name, vocabulary.index(name)) for name in ("[CLS]", "[SEP]")]
    built.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    names = ["input_ids", "token_type_ids", "attention_mask"]
    return transformers.PreTrainedTokenizerFast(tokenizer_object=built, model_max_length=max_length, model_input_names=names, **SPECIAL)


def make_bytes(**names):
    """A tokenizer of bytes, as of GPT-2 and Qwen."""
    special = ["<pad>", "<|im_start|>", "<|im_end|>"]
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: k for k, piece in enumerate([*special, *alphabet, "re", "red", "Ġa", "Ġcat"])}
    merges = [("r", "e"), ("re", "d"), ("Ġ", "a")]
    built = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, merges))
    built.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    built.decoder = tokenizers.decoders.ByteLevel()
    built.add_special_tokens(special)
    sides = {"padding_side": "left", "model_max_length": 256, "pad_token": "<pad>", "eos_token": "<|im_end|>"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=built, **(sides | names))


@cache
def save_network(kind: str, **settings: object) -> Path:
    """The folder of a network with random weights of order one, and of its tokenizer."""
    is_causal = kind.startswith("Qwen3")
    templates = {"Qwen3ForCausalLM": TEMPLATE, "Qwen3Model": None, "Qwen3ChatModel": CHAT}
    tokenizer = make_bytes(chat_template=templates[kind]) if is_causal else make_word_pieces()
    sizes = SIZES | {"vocab_size": len(tokenizer), "max_position_embeddings": 256}
    sizes |= {"num_key_value_heads": 2, "head_dim": 8} if is_causal else {}
    config = getattr(transformers, "Qwen3Config" if is_causal else "BertConfig")(**sizes, pad_token_id=0, **settings)
    network = getattr(transformers, kind.replace("Chat", ""))(config).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        if parameter.dim() > 1:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 1.5 / parameter.shape[1] ** 0.5
    folder = Path(mkdtemp())
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
