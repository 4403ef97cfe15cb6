"""The text side of a model of open_clip, with its tokenizer."""

from collections.abc import Sequence
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from captum_pairwise.models.clip import hide_absent_tokens
from captum_pairwise.models.words.token_encoder import TokenEncoder

TWO_WORDS = "two words"
FIRST_TOKEN = "!"  # of CLIP's vocabulary, whose id 0 is also the padding


@final
class SimpleTokens:
    """open_clip's `SimpleTokenizer` with the methods of a tokenizer of transformers that a `TokenEncoder` calls.

    Args:
        tokenizer: the `SimpleTokenizer`.
        length: the number of tokens that the network takes.
    """

    mask_token_id = None
    unk_token_id = None
    pad_token_id = 0
    pad_token = FIRST_TOKEN

    def __init__(self, tokenizer: Any, length: int) -> None:
        self.tokenizer, self.model_max_length = tokenizer, length
        self.byte_decoder = tokenizer.byte_decoder
        self.all_special_ids = list(tokenizer.all_special_ids)
        self.bos_token_id, self.eos_token_id = tokenizer.sot_token_id, tokenizer.eot_token_id

    def __call__(self, sentences: str | Sequence[str], **_options: object) -> dict[str, Any]:
        """The ids of one sentence, or of a batch padded to the length of the network, with an attention mask; no sentence is cut off."""
        if isinstance(sentences, str):
            return {"input_ids": self._encode(sentences)}
        rows = [self._encode(sentence) for sentence in sentences]
        length = max(self.model_max_length, *map(len, rows))
        ids = torch.tensor([row + [self.pad_token_id] * (length - len(row)) for row in rows], dtype=torch.int64, device="cpu")
        attended = torch.arange(length, dtype=torch.int64, device="cpu") < torch.tensor(
            [[len(row)] for row in rows], dtype=torch.int64, device="cpu"
        )
        return {"input_ids": ids, "attention_mask": attended.long()}

    def _encode(self, sentence: str) -> list[int]:
        return [self.bos_token_id, *self.tokenizer.encode(sentence), self.eos_token_id]

    def __len__(self) -> int:
        return self.tokenizer.vocab_size

    def get_added_vocab(self) -> dict[str, int]:
        """The special tokens, which are no words."""
        return {self.tokenizer.decoder[token]: token for token in self.all_special_ids}

    def convert_ids_to_tokens(self, ids: Sequence[int]) -> list[str]:
        """The tokens as they stand in the vocabulary."""
        return [self.tokenizer.decoder[token] for token in ids]


@final
class CleanedTokens:
    """open_clip's `HFTokenizer` with the methods of the tokenizer of transformers inside it: sentences are cleaned and padded as it does.

    Args:
        tokenizer: the `HFTokenizer`.
        length: the number of tokens that the network takes.
    """

    def __init__(self, tokenizer: Any, length: int) -> None:
        self.clean, self.inner, self.model_max_length = tokenizer.clean_fn, tokenizer.tokenizer, length

    def __call__(self, sentences: str | Sequence[str], **options: Any) -> Any:
        """The ids of one sentence, or of a batch padded to the length of the network; no sentence is cut off."""
        if isinstance(sentences, str):
            return self.inner(self.clean(sentences))
        padding = {"padding": "max_length", "max_length": self.model_max_length}
        return self.inner([self.clean(sentence) for sentence in sentences], **(options | padding))

    def __len__(self) -> int:
        return len(self.inner)

    def __getattr__(self, name: str) -> Any:
        if name == "inner":  # before `__init__`, as in a copy
            raise AttributeError(name)
        return getattr(self.inner, name)


@final
class OpenClipTextEncoder(TokenEncoder):
    """The text side of a model of open_clip. All sentences are padded to the length of its training, as its own tokenizer does it.

    Args:
        model: a model of open_clip.
        tokenizer: its tokenizer, a `SimpleTokenizer`, or an `HFTokenizer` around a tokenizer of transformers.

    Raises:
        ValueError: the tokenizer is of another kind.
    """

    marks_padding = True

    def __init__(self, model: Any, tokenizer: Any) -> None:
        length = int(getattr(tokenizer, "context_length", None) or model.context_length)
        super().__init__(getattr(model, "text", model), _adapt_tokenizer(tokenizer, length))
        self.fixed_length = length
        self.hides_tokens = getattr(self.network, "cls_emb", None) is None  # CoCa's class token stands after the words
        self.train(model.training)

    def forward(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch channels"]:
        """Embed a batch of token ids."""
        tokens, _ = self.separate_padding(ids)
        with hide_absent_tokens(ids):
            output = self.network.encode_text(tokens) if hasattr(self.network, "encode_text") else self.network(tokens)
        return output[0] if isinstance(output, tuple) else output


def _adapt_tokenizer(tokenizer: Any, length: int) -> Any:
    """The tokenizer with the methods of one of transformers.

    Raises:
        ValueError: it is of an unknown kind, or the ids of a sentence differ.
    """
    adapter = SimpleTokens if hasattr(tokenizer, "bpe") else CleanedTokens if hasattr(tokenizer, "clean_fn") else None
    adapted = None if adapter is None else adapter(tokenizer, length)
    if adapted is None or not torch.equal(
        adapted([TWO_WORDS], return_tensors="pt")["input_ids"], tokenizer([TWO_WORDS], context_length=length)
    ):
        raise ValueError(
            f"Expected a tokenizer of open_clip with ordinary tokens for each word, got {type(tokenizer).__name__} with other ids. Pass "
            "open_clip.get_tokenizer(name)."
        )
    return adapted
