"""Networks of transformers for text as encoders of sentences, pooled as their folder says."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from captum_pairwise.models.text import POOLER, TextEncoder
from captum_pairwise.models.words.sentence_folder import read_sentence_settings
from captum_pairwise.models.words.token_encoder import NO_CREDIT

TOWERS_OF_TWO = ("clip", "siglip")  # types whose sentence vector needs a projection, or padding that is attended
EXAMPLE_IDS = ((0, 0, 0), (0, 1, 0))  # two sentences that differ in their second token, and whose third is padding
HALF_PRECISION = 0.01  # differences that rounding makes


def make_text_encoder(model: Any, tokenizer: Any, pooling: str | Sequence[str] | None = None, prompt: str = "") -> TextEncoder:
    """An encoder of sentences from a network of transformers, such as BERT, ModernBERT, DeBERTa, T5's encoder, or Qwen.

    A head of words or of text generation is left out: the states before it are pooled. Of an encoder-decoder the encoder is taken.

    Args:
        model: the network, in evaluation mode.
        tokenizer: its tokenizer; the side of its padding makes no difference.
        pooling: one or several modes of pooling, as for `TextEncoder`: E5 and GTE take "mean", BGE "cls" (or "class"), Qwen's embedders
            "lasttoken". None takes what a folder of sentence-transformers says from which the network was loaded, else the last token of
            a network with causal attention, and the mean of another.
        prompt: stands before every sentence, such as "query: " for E5; its tokens get no credit.

    Raises:
        ValueError: the network returns no states of tokens, or no pooled output if that is asked for.
    """
    if str(getattr(model.config, "model_type", "")).startswith(TOWERS_OF_TWO):
        raise ValueError(f"Expected a network of text alone, got {type(model).__name__}. Pass the whole model and its AutoProcessor.")
    network = _take_network(model)
    output = _run_example(network)
    chosen, reason = (pooling, "") if pooling is not None else _choose_pooling(model, output)
    modes = "cls" if chosen == "class" else chosen
    if modes == POOLER and getattr(output, "pooler_output", None) is None:
        raise ValueError(f"Expected a network with a pooler for pooling='pooler', got {type(network).__name__} without. Take 'cls'.")
    encoder = TextEncoder(network, tokenizer, modes, prompt).train(model.training)
    names = " and ".join([modes] if isinstance(modes, str) else modes)
    before = f", with the prompt {prompt!r}{NO_CREDIT}" if prompt else ""
    encoder.description = f"sentences are embedded by {type(network).__name__}, pooling {names}{reason}{before}"
    return encoder


def _take_network(model: Any) -> Any:
    """The network without its head and its decoder."""
    if getattr(model.config, "is_encoder_decoder", False):
        return model.get_encoder()
    has_head = hasattr(model, "get_output_embeddings") and model.get_output_embeddings() is not None
    return model.base_model if has_head else model


@torch.no_grad()
def _run_example(network: Any) -> Any:
    """The output for two sentences of two tokens.

    Raises:
        ValueError: it has no states of tokens, or they depend on padding.
    """
    device = next(network.parameters()).device
    ids = torch.tensor(EXAMPLE_IDS, device=device, dtype=torch.int64)
    attended = (torch.arange(3, device=device, dtype=torch.int64) < 2).long().expand(2, 3)
    output, padded = network(input_ids=ids[:, :2], attention_mask=attended[:, :2]), network(input_ids=ids, attention_mask=attended)
    states = output[0] if isinstance(output, (tuple, dict)) else output
    if not isinstance(states, Tensor) or states.shape[:2] != (2, 2) or "logits" in output:
        raise ValueError(
            f"Expected a network that returns the states of its tokens, got {type(network).__name__}. Pass its `base_model`; for a "
            "reranker call from_cross_encoder(model, tokenizer)."
        )
    if not network.training and not torch.allclose(padded[0][:, :2], states, HALF_PRECISION, HALF_PRECISION * states.abs().max().item()):
        raise ValueError(
            f"Expected a network that ignores padding by its attention mask, got {type(network).__name__}. Subclass "
            "cp.models.text.TokenEncoder."
        )
    return output


def _choose_pooling(model: Any, output: Any) -> tuple[str | Sequence[str], str]:
    """The pooling of the folder of the model, or by its attention; and the reason in words."""
    folder = Path(getattr(model.config, "_name_or_path", "") or "")
    if (folder / "modules.json").is_file():
        return read_sentence_settings(folder).pooling, " as its folder says"
    is_causal = bool((output[0][0, 0] == output[0][1, 0]).all())
    return ("lasttoken", ", because its attention is causal") if is_causal else ("mean", ", because no other is configured")
