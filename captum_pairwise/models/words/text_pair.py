"""The score of two texts together, as a function of the presence of their words."""

import abc
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from captum_pairwise.models.removals import ATTENTION_MASK, MASK_TOKEN, PRESENT
from captum_pairwise.models.words.word_places import Word, find_words

PAIRS_PER_PASS = 32  # rows of one forward pass
Features = dict[str, Any]
Presence = Float[Tensor, "rows _words"] | Bool[Tensor, "rows _words"]


class Reranker(nn.Module, abc.ABC):
    """A model that scores two texts together. The words of both are its parts.

    Args:
        network: the model.
        tokenizer: its tokenizer.
        prompt: stands before the query, and gets no credit.
    """

    def __init__(self, network: nn.Module, tokenizer: Any, prompt: str = "") -> None:
        super().__init__()
        self.network, self.tokenizer, self.prompt = network, tokenizer, prompt

    @property
    def removals(self) -> tuple[str, ...]:
        """The ways to remove a word, the default first: the mask token in its place if there is one, or no attention to it."""
        return (MASK_TOKEN, ATTENTION_MASK) if self.tokenizer.mask_token_id is not None else (ATTENTION_MASK,)

    @abc.abstractmethod
    def read_features(self, texts: Sequence[str]) -> Features:
        """The inputs of the network for one pair, which is not cut off.

        Raises:
            ValueError: the pair is longer than the network takes.
        """

    @abc.abstractmethod
    def score_features(self, features: Features) -> Float[Tensor, " rows"]:
        """The score of each row."""

    def encode_pair(self, query: str, retrieved: str, by: str | None = None) -> "TextPair":
        """The function of the presence of the words of two texts.

        Args:
            query: the first text.
            retrieved: the second text.
            by: one of `removals`; None is the first.

        Raises:
            ValueError: a text is no string or has no word, the pair is too long, or the model has no such removal.
        """
        texts, removal = (query, retrieved), self.removals[0] if by is None else by
        if removal not in self.removals:
            raise ValueError(f"Expected words to be removed by one of {list(self.removals)}, got {by!r}. Take one of these.")
        for text in texts:
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f"Expected two texts with at least one word each, got {text!r}. Pass two strings.")
        words = find_words(self.tokenizer, lambda pair: self.read_features(pair)["input_ids"][0].tolist(), texts, self.prompt)
        return TextPair(self, self.read_features(texts), words, removal)

    @torch.no_grad()
    def forward(self, queries: Sequence[str], retrieved: Sequence[str]) -> Float[Tensor, " pairs"]:
        """The score of each pair of texts."""
        pairs = [self.encode_pair(*texts) for texts in zip(queries, retrieved, strict=True)]
        return torch.cat([pair(*pair.presences) for pair in pairs])


@final
class TextPair(nn.Module):
    """The score of two texts as a function of the presence of their words: `pair(query, retrieved) -> [rows]`.

    Each argument is a tensor `[rows, words]` of 1 for a present word and 0 for an absent one (below 0.5). Every method of this package
    for functions of two inputs runs on it, such as `cp.KernelShapleyTaylor(pair).interactions(pair.presences)`. The tokens around the
    texts, such as a prompt, never leave. `Reranker.encode_pair` makes it.

    Attributes:
        words: the words and pieces of words of each text, with their places.
        removal: "mask token" if it stands in place of an absent word, or "attention mask" if an absent word is not attended.
    """

    def __init__(self, reranker: Reranker, features: Mapping[str, Any], words: Sequence[Sequence[Word]], removal: str) -> None:
        super().__init__()
        self.reranker, self.features, self.removal = reranker, dict(features), removal
        self.places = [word.place for word in chain(*words)]
        self.words = tuple(map(tuple, words))

    @property
    def pieces(self) -> tuple[tuple[str, ...], ...]:
        """The words and pieces of words of each text, as they are written."""
        return tuple(tuple(word.text for word in text) for text in self.words)

    @property
    def presences(self) -> tuple[Float[Tensor, "1 query"], Float[Tensor, "1 retrieved"]]:
        """Both inputs with every word present."""
        device = next(self.parameters()).device
        query, retrieved = (torch.ones(1, len(words), device=device, dtype=torch.float32) for words in self.words)
        return query, retrieved

    def forward(self, query: Presence, retrieved: Presence) -> Float[Tensor, " rows"]:
        """The score with the present words of both."""
        chunks = zip(query.split(PAIRS_PER_PASS), retrieved.split(PAIRS_PER_PASS), strict=True)
        return torch.cat([self._score_rows(torch.cat(presences, 1) < PRESENT) for presences in chunks])

    def _score_rows(self, absent: Tensor) -> Tensor:
        """The scores of rows, in which True marks an absent word."""
        device = next(self.parameters()).device
        features = {name: _repeat_rows(value, len(absent), device) for name, value in self.features.items()}
        hidden = torch.zeros_like(features["input_ids"], dtype=torch.bool)
        hidden[:, self.places] = absent.to(device)
        if self.removal == MASK_TOKEN:
            features["input_ids"] = features["input_ids"].masked_fill(hidden, self.reranker.tokenizer.mask_token_id)
        else:
            attended = features.get("attention_mask", torch.ones_like(features["input_ids"]))
            features["attention_mask"] = attended.masked_fill(hidden, 0)
        return self.reranker.score_features(features)


def _repeat_rows(value: object, n_rows: int, device: torch.device) -> Any:
    """A tensor of one row with as many equal rows; another feature as it is."""
    return value.to(device).expand(n_rows, *value.shape[1:]) if isinstance(value, Tensor) else value


def refuse_long_text(n_tokens: int, limit: int | None) -> None:
    """Refuse a text that the model would cut off.

    Raises:
        ValueError: there are more tokens than the limit.
    """
    if limit is not None and n_tokens > limit:
        raise ValueError(f"Expected at most {limit} tokens, got {n_tokens}. Shorten the text: none is cut off.")
