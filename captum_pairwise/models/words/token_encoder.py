"""Encoders of token ids: every ordinary token is a player."""

import abc
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from captum_pairwise.models.removals import ATTENTION_MASK, MASK_TOKEN
from captum_pairwise.models.words.pieces import spell_tokens
from captum_pairwise.models.words.token_lookup import find_lookup
from captum_pairwise.models.words.word_places import Encode, Word, find_words, tells_characters
from captum_pairwise.network.agreement import is_close
from captum_pairwise.network.model_state import describe_state
from captum_pairwise.players.baselines import Backgrounds
from captum_pairwise.players.regions import NEVER_LEAVES

END_TOKENS = ("cls", "sep", "bos", "eos")  # these never leave, and padding neither
OTHER_TOKENS = (*END_TOKENS, "unk", "mask")
N_LOOKED_UP = 4  # tokens that show which layer looks them up
PADDING, PADDING_TOKEN = -1, -2  # marks in ids: padding, and a token of the sentence whose id is the id of padding
NO_CREDIT = ", which gets no credit"  # in descriptions of a prompt
FIXED_TOKEN, HIDDEN_TOKEN = 1 << 40, 1 << 41  # marks that are added to an id: a token that never leaves, and one that is not attended


class TokenEncoder(nn.Module, abc.ABC):
    """An encoder of token ids `[B, T]` together with its tokenizer.

    The layer to explain is `embedding_layer`, or a block of the network.

    Many tokenizers pad with the end token or with the token of unknown words, so an id does not tell padding from that token. A subclass
    whose embedding depends on it sets `marks_padding`. Then `ids` writes -1 for padding and -2 for the token, wherever the two have one
    id, and `forward` calls `separate_padding`. If it also gives the network an attention mask, it sets `hides_tokens`.

    Args:
        network: a network of transformers, which maps ids to states.
        tokenizer: the tokenizer of the network.
        prompt: stands before every sentence; its tokens get no credit.
        encode: the ids of one sentence with its prompt, in a list, if the tokenizer alone does not make them.
    """

    marks_padding = False
    hides_tokens = False
    least_length = 0  # tokens to which every sentence is padded at least
    fixed_length: int | None = None  # of all sentences, if the network takes no other
    marker_name: str | None = None  # the token that the network gets at place 1, in place of another one
    expansion_token: int | None = None  # the id that the network gets in place of padding, if padding is compared
    description = ""  # of what is done with a sentence, for `Explanation.choices`

    def __init__(self, network: Any, tokenizer: Any, prompt: str = "", encode: Encode | None = None) -> None:
        super().__init__()
        self.network, self.tokenizer, self.prompt, self.encode = network, tokenizer, prompt, encode
        self._proven: set[int] = set()  # states of the network in which hidden words have no effect

    @abc.abstractmethod
    def forward(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch channels"]:
        """Embed a batch of token ids."""

    @property
    def embedding_layer(self) -> nn.Module:
        """The layer that looks up the embedding of each token.

        Raises:
            ValueError: no layer does so once.
        """
        ordinary = max(set(range(len(self.tokenizer))) - set(self.tokenizer.all_special_ids))
        length = self.fixed_length or find_padded_length(self.network) or N_LOOKED_UP
        ids = torch.full((1, length), ordinary, dtype=torch.int64, device=self._device)
        return find_lookup(self, lambda: self(ids), ids)

    @property
    def _device(self) -> torch.device:
        return next(self.parameters()).device

    def ids(self, sentences: Sequence[str]) -> Int[Tensor, "batch tokens"]:
        """The token ids of sentences, padded at the end; for SigLIP to the length of its training.

        Raises:
            ValueError: a sentence has no token, or more tokens than the network takes.
        """
        if isinstance(sentences, str):
            raise ValueError("Expected a list of sentences, got one string. Put it in a list.")
        length = find_padded_length(self.network)
        ids, attended = self._tokenize(sentences, length)
        missing, padding = max(0, self.least_length - ids.shape[1]), self.tokenizer.pad_token_id or 0
        ids, attended = nn.functional.pad(ids, (0, missing), value=padding), nn.functional.pad(attended, (0, missing))
        limit = min(self.tokenizer.model_max_length, length or self.tokenizer.model_max_length)
        if ids.shape[1] > limit:
            raise ValueError(f"Expected at most {limit} tokens, got {ids.shape[1]}. Shorten the sentences: none is cut off.")
        ids = self._mark_padding(ids, attended)
        if self.prompt or self.encode is not None:
            ids = torch.stack([self._fix_tokens(row, sentence) for row, sentence in zip(ids, sentences, strict=True)])
        empty = [sentence for sentence, plays in zip(sentences, self._plays(ids), strict=True) if not plays.any()]
        if empty:
            raise ValueError(f"Expected sentences with at least one token, got {empty[0]!r}. Leave it out.")
        return ids.to(self._device)

    def separate_padding(self, ids: Int[Tensor, "batch tokens"]) -> tuple[Int[Tensor, "batch tokens"], Bool[Tensor, "batch tokens"]]:
        """The ids for the network, and True for each token that is no padding.

        Raises:
            ValueError: an id may be padding or another token, and no mark tells which.
        """
        padding = self.tokenizer.pad_token_id
        if self.marks_padding and self._shares_padding() and (ids == padding).any():
            token = self.tokenizer.pad_token
            raise ValueError(
                f"Expected padding and the token {token!r} to be told apart, got their common id {padding}. Take ids from "
                f"`ids(sentences)`, or write {PADDING} for padding and {PADDING_TOKEN} for the token."
            )
        is_padding = ids == PADDING if padding is None else (ids == PADDING) | (ids == padding)
        tokens = torch.where(ids < 0, padding or 0, ids.long() % FIXED_TOKEN)
        return tokens, ~is_padding & (ids.long() < HIDDEN_TOKEN)

    def pieces(self, ids: Int[Tensor, "batch tokens"]) -> list[list[str]]:
        """The players of each sentence: words and pieces of words, in order, as they stand in the sentence."""
        tokens, _ = self.separate_padding(ids)
        return [spell_tokens(self.tokenizer, row[plays].tolist()) for row, plays in zip(tokens, self._plays(ids), strict=True)]

    def layer_mask(self, ids: Int[Tensor, "batch tokens"]) -> Int[Tensor, "batch tokens 1"]:
        """The players over a layer's output `[B, T, C]`: all tokens except the marks of begin, end and padding, which never leave."""
        plays = self._plays(ids)
        return torch.where(plays, plays.cumsum(1) - 1, NEVER_LEAVES)[..., None]

    def baseline(self, ids: Int[Tensor, "batch tokens"], _mask: Tensor | None = None) -> Int[Tensor, "batch tokens"]:
        """The ids with the mask token in place of every player, for `baselines`.

        Raises:
            ValueError: the tokenizer has no mask token.
        """
        if self._mask_id is None:
            raise ValueError("Expected a tokenizer with a mask token, got one without. Pass `random_words`, or a token id.")
        return torch.where(self._plays(ids), self._mask_id, ids)

    @property
    def removals(self) -> tuple[str, ...]:
        """The ways to remove a word inside the network: no attention to it, and the mask token in its place."""
        ways = {ATTENTION_MASK: self.hides_tokens, MASK_TOKEN: self._mask_id is not None}
        return tuple(name for name, is_known in ways.items() if is_known)

    def embed_present(self, ids: Int[Tensor, "1 tokens"], presence: Bool[Tensor, "rows players"], by: str) -> Float[Tensor, "rows ..."]:
        """The embeddings of one sentence without its absent words, each of which is replaced or hidden.

        A hidden word has the attention mask 0 and is left out of pooling; the other words keep their positions.

        Args:
            ids: of one sentence, from `ids`.
            presence: True for each word that is there, in the order of `layer_mask`.
            by: one of `removals`.

        Raises:
            ValueError: there is no such way, or nothing is left to attend to.
        """
        if by not in self.removals:
            raise ValueError(f"Expected words to be removed by one of {list(self.removals)}, got {by!r}. Take one of these.")
        absent = torch.zeros(len(presence), ids.shape[1], dtype=torch.bool, device=ids.device)
        absent[:, self._plays(ids)[0]] = ~presence.to(ids.device)
        if by == MASK_TOKEN:
            return self(torch.where(absent, self.baseline(ids), ids))
        tokens, attended = self.separate_padding(ids)
        if not (attended & ~absent).any(1).all():
            raise ValueError(
                "Expected a token that never leaves, such as a begin token, because a network needs something to attend to, got a sentence "
                f"of words alone. Take random words{' or the mask token' if MASK_TOKEN in self.removals else ''}."
            )
        self._prove_hidden(ids)
        return self(torch.where(absent, tokens + HIDDEN_TOKEN, ids.long()))

    @torch.no_grad()
    def _prove_hidden(self, ids: Int[Tensor, "1 tokens"]) -> None:
        """Put other words in place of hidden ones, once in each state of the network.

        Raises:
            ValueError: this changes the embedding.
        """
        state = describe_state(self.network)
        if state in self._proven:
            return
        tokens, plays = self.separate_padding(ids)[0].long(), self._plays(ids)
        others = set(range(len(self.tokenizer))) - {*self.tokenizer.all_special_ids, *tokens[0].tolist()}
        rows = torch.cat([tokens, torch.where(plays, min(others, default=0), tokens)])
        embeddings = self(torch.where(plays, rows + HIDDEN_TOKEN, ids.long()))
        if not is_close(embeddings[1], embeddings[0]):
            raise ValueError(
                f"Expected a network whose absent words can be hidden by an attention mask, but other words in their places change the "
                f"embedding of {type(self.network).__name__}. Take random words, or the mask token if the tokenizer has one."
            )
        self._proven.add(state)

    def spell(self, sentences: Sequence[str]) -> list[list[str]]:
        """The players of each sentence as they are written in it; as `pieces` if the tokenizer does not tell where they stand."""
        ids = self.ids(sentences)
        if not tells_characters(self.tokenizer):
            return self.pieces(ids)
        spelled = []
        for sentence, pieces, plays in zip(sentences, self.pieces(ids), self._plays(ids), strict=True):
            words = [word.text for word in self._find_words(sentence) if plays[word.place]]
            spelled.append(words if len(words) == len(pieces) else pieces)
        return spelled

    def random_words(self, ids: Int[Tensor, "batch tokens"], n_members: int, generator: torch.Generator) -> Backgrounds:
        """Random tokens of the vocabulary in place of every player, a background distribution for `baselines`.

        Two sentences without their words are equal and have the similarity 1, so no word can raise it. The similarity of two random
        sentences is lower, so words can add to it.

        Args:
            ids: the ids of the sentences.
            n_members: the number of random sentences; each coalition costs a pass for each of them.
            generator: the source of randomness. Pass the same object for both sentences of a pair: two with one seed would draw the same
                words for both, which makes the random sentences alike.
        """
        ordinary = sorted(set(range(len(self.tokenizer))) - set(self.tokenizer.all_special_ids))
        # drawn by place, so padding does not change the words before it
        drawn = torch.randint(len(ordinary), (ids.shape[1], n_members), generator=generator, device=generator.device).cpu()
        return Backgrounds(torch.where(self._plays(ids), torch.tensor(ordinary, device="cpu")[drawn.T][:, None].to(ids), ids))

    def _plays(self, ids: Int[Tensor, "batch tokens"]) -> Tensor:
        """True for each ordinary token; the token of an unknown word is one."""
        tokens, attended = self.separate_padding(ids)
        return (
            attended
            & (ids.long() < FIXED_TOKEN)
            & ~torch.isin(tokens, torch.tensor(self._special_ids(END_TOKENS), device=ids.device, dtype=ids.dtype))
        )

    def _special_ids(self, names: Sequence[str]) -> list[int]:
        """The ids of special tokens, and the id of padding if the tokenizer puts it around a sentence."""
        ids = [getattr(self.tokenizer, f"{name}_token_id", None) for name in names]
        return [token for token in ids if token is not None] + [token for token in self._frame if token == self.tokenizer.pad_token_id]

    @cached_property
    def _frame(self) -> list[int]:
        """The ids that the tokenizer puts around a sentence."""
        return self.tokenizer("")["input_ids"]

    def _shares_padding(self) -> bool:
        """True if the id of padding is the id of another token, too; a name without brackets is an ordinary word."""
        padding = self.tokenizer.pad_token
        return padding is not None and (self.tokenizer.pad_token_id in self._special_ids(OTHER_TOKENS) or not set(padding) & set("<[|"))

    @property
    def _mask_id(self) -> int | None:
        """The id of the mask token, as `ids` would write it."""
        mask = self.tokenizer.mask_token_id
        return PADDING_TOKEN if mask is not None and self.marks_padding and mask == self.tokenizer.pad_token_id else mask

    def _tokenize(self, sentences: Sequence[str], length: int | None) -> tuple[Tensor, Tensor]:
        """The ids of sentences, padded at the end, and True for each that is no padding."""
        if self.encode is not None or self.tokenizer.pad_token_id is None:
            rows = [torch.tensor(self._encode([sentence]), device="cpu", dtype=torch.int64) for sentence in sentences]
            ids = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PADDING)
            return ids.masked_fill(ids == PADDING, self.tokenizer.pad_token_id or 0), ids != PADDING
        how = {"padding": "max_length" if length else True, "max_length": length, "truncation": False, "padding_side": "right"}
        texts = [self.prompt + sentence for sentence in sentences]
        encoded = self.tokenizer(texts, **how, return_tensors="pt", return_attention_mask=True)
        return encoded["input_ids"], encoded["attention_mask"] == 1

    def _encode(self, texts: Sequence[str]) -> list[int]:
        """The ids of one sentence with its prompt."""
        return self.tokenizer(self.prompt + texts[0], truncation=False)["input_ids"] if self.encode is None else self.encode(texts)

    def _find_words(self, sentence: str) -> list[Word]:
        return find_words(self.tokenizer, self._encode, [sentence], self.prompt)[0]

    def _fix_tokens(self, ids: Tensor, sentence: str) -> Tensor:
        """The ids of a sentence with marks for those that would play, but belong to no word of it."""
        is_fixed = self._plays(ids[None])[0]
        is_fixed[[word.place for word in self._find_words(sentence)]] = False
        tokens, _ = self.separate_padding(ids[None])
        return torch.where(is_fixed, tokens[0] + FIXED_TOKEN, ids)

    def _mark_padding(self, ids: Tensor, attended: Tensor) -> Tensor:
        """The ids with marks for padding and for tokens with the id of padding, where they are needed."""
        if self.tokenizer.pad_token_id is None:
            return ids.masked_fill(~attended, PADDING)
        hidden = attended & (ids == self.tokenizer.pad_token_id)
        if self.marks_padding:
            ids = ids.masked_fill(hidden, PADDING_TOKEN)
            return ids.masked_fill(~attended, PADDING) if self._shares_padding() else ids
        if hidden.any() and self.tokenizer.pad_token_id not in self._special_ids(END_TOKENS):
            token = self.tokenizer.pad_token
            raise ValueError(f"Expected sentences without the token of padding, got {token!r} in one. Set another `pad_token`.")
        return ids


def find_padded_length(network: Any) -> int | None:
    """The number of tokens to which all sentences are padded; None is the longest sentence.

    SigLIP attends to padding and takes the last place for the sentence, so another number of tokens gives another embedding.
    """
    config: Any = getattr(network, "config", None)
    is_siglip = str(getattr(config, "model_type", "")).startswith("siglip")
    return getattr(config, "text_config", config).max_position_embeddings if is_siglip else None
