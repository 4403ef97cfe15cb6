"""Parts that are removed inside the network: by an attention mask, or by a mask token."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from captum_pairwise.explanations.absent_parts import DEFAULTS
from captum_pairwise.explanations.contents import Sentence
from captum_pairwise.explanations.inputs import Inputs
from captum_pairwise.explanations.phrases import Phrases, divide_text
from captum_pairwise.games.context import ForwardFunc
from captum_pairwise.models.presence import PresenceEncoder, PresenceInputs, PresencePairs, make_presences
from captum_pairwise.models.removals import ATTENTION_MASK, MASK_TOKEN, REMOVALS
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.models.words.token_encoder import NO_CREDIT, TokenEncoder
from captum_pairwise.players.baselines import Baseline
from captum_pairwise.players.regions import NEVER_LEAVES, Players
from captum_pairwise.results.interactions import Interactions
from captum_pairwise.results.selection import keep_first

NamedBaselines = tuple[Baseline | str, Baseline | str] | str | None  # the names are those of `REMOVALS` and `DEFAULTS`
TextParts = Sequence[tuple[str, ...]] | None  # the parts of each text, or None
WORDS, PHRASES = "words and pieces of words", "words, or phrases of a long text"
MOST_PHRASES = 20  # of a text: pairs of more parts need more passes than a model that reads both texts can make
ABSENT_WORDS = {ATTENTION_MASK: "hidden by an attention mask", MASK_TOKEN: "replaced by the mask token"}


@dataclass(frozen=True)
class Removal:
    """A function of presences in place of a model.

    Attributes:
        sides: the inputs of both sides, with all parts and with none, and their masks.
        parts: the parts in words, for both sides.
        absent: what happens to absent parts of each side.
        words: the words of each text of either side, if they were not known before.
        grids: rows and columns of the patches of each side; None for words.
        noun: the name of a part of a text.
    """

    sides: tuple[PresenceInputs, PresenceInputs]
    parts: str
    absent: tuple[str, str]
    words: tuple[TextParts, TextParts] = (None, None)
    grids: tuple[tuple[int, int] | None, tuple[int, int] | None] = (None, None)
    noun: str = "word"

    @property
    def masks(self) -> tuple[Tensor, Tensor]:
        """The masks over the inputs of both sides."""
        return self.sides[0].mask, self.sides[1].mask

    @property
    def baselines(self) -> tuple[Tensor, Tensor]:
        """The inputs without any part."""
        return self.sides[0].absent, self.sides[1].absent

    def replace_inputs(self, inputs: Sequence[Inputs]) -> list[Inputs]:
        """The same contents with presences as inputs."""
        replaced = []
        for side, presences, words in zip(inputs, self.sides, self.words, strict=True):
            names = [content.name for content in side.contents]
            texts = [Sentence(tokens, name, self.noun) for tokens, name in zip(words or (), names if words else (), strict=True)]
            description = side.description if self.noun == "word" else side.description.replace(NO_CREDIT, "")
            replaced.append(Inputs(presences.present, tuple(texts) or side.contents, description))
        return replaced

    def place_patches(self, interactions: Interactions) -> Interactions:
        """The same results with the patches of photos in their places, and without tokens behind them, which have none."""
        counts = [None if grid is None else prod(grid) for grid in self.grids]
        players = [
            own if grid is None else _lay_out_patches(*grid, interactions.full.device)
            for own, grid in zip((interactions.query_players, interactions.retrieved_players), self.grids, strict=True)
        ]
        return replace(keep_first(interactions, *counts), query_players=players[0], retrieved_players=players[1])


def _lay_out_patches(rows: int, columns: int, device: torch.device) -> Players:
    ids = torch.arange(rows * columns, device=device, dtype=torch.int64).reshape(1, 1, rows, columns)
    return Players(ids, (rows, columns))


def read_names(baselines: Any) -> tuple[tuple[str | None, str | None] | None, Any]:
    """The ways to remove the parts of both sides (None if nothing is removed), and the baselines that are left.

    A side whose way is None takes the first that its encoder knows.

    Args:
        baselines: of the user: a name, or a pair of names, baselines and None; or None.

    Raises:
        ValueError: a name is unknown, or the parts of one side only are removed.
    """
    sides = (baselines, baselines) if isinstance(baselines, str) else baselines
    if not isinstance(sides, (tuple, list)) or not any(isinstance(side, str) for side in sides):
        return None, baselines
    names = [side for side in sides if isinstance(side, str)]
    if unknown := [name for name in names if name not in (*REMOVALS, *DEFAULTS)]:
        raise ValueError(f"Expected the name of a baseline, one of {[*REMOVALS, *DEFAULTS]}, got {unknown[0]!r}. Pass one of these.")
    if set(names) <= set(DEFAULTS):
        return None, sides
    if len(sides) != 2 or not all(side is None or (isinstance(side, str) and side in REMOVALS) for side in sides):
        raise ValueError(f"Expected baselines that remove the parts of both sides, or of none, got {names}. Pass {names[0]!r} alone.")
    return (sides[0], sides[1]), None


def remove_parts(model: ForwardFunc, inputs: Sequence[Inputs], ways: tuple[str | None, str | None]) -> tuple[SimilarityWrapper, Removal]:
    """The model of presences, and its inputs.

    Args:
        model: the model.
        inputs: of both sides.
        ways: to remove a part, for each side.

    Raises:
        ValueError: the model is no `SimilarityWrapper`, or an encoder does not know the way.
    """
    if not isinstance(model, SimilarityWrapper):
        raise ValueError(f"Expected an encoder that removes parts by {ways[0] or ways[1]}, got a function. Pass other baselines.")
    encoders = [
        PresenceEncoder(encoder, side.batch, way or _get_first_way(encoder))
        for encoder, side, way in zip((model.query_encoder, model.retrieved_tower), inputs, ways, strict=True)
    ]
    sides = [make_presences(encoder.counts, side.batch.device) for encoder, side in zip(encoders, inputs, strict=True)]
    grids = [None if isinstance(encoder.encoder, TokenEncoder) else encoder.grid for encoder in encoders]
    parts = dict.fromkeys(WORDS if grid is None else f"{grid[0]} × {grid[1]} patches" for grid in grids)
    absent = tuple(ABSENT_WORDS[encoder.by] for encoder in encoders)
    return model.with_encoders(*encoders), Removal(
        (sides[0], sides[1]), " and ".join(parts), (absent[0], absent[1]), grids=(grids[0], grids[1])
    )


def _get_first_way(encoder: nn.Module) -> str:
    """The way that an encoder takes by itself; the name of one that it refuses if it knows none."""
    return next(iter(getattr(encoder, "removals", ())), REMOVALS[0])


def remove_words(reranker: Any, inputs: Sequence[Inputs], ways: tuple[str | None, str | None]) -> tuple[PresencePairs, Removal]:
    """The function of the presence of the words of both texts, and its inputs.

    Args:
        reranker: makes a function for two texts, as `models.text_pair.Reranker`.
        inputs: one query, and the texts that it is compared with.
        ways: to remove a word, the same for both sides; None is the first that the model knows.

    Raises:
        ValueError: the model does not know the way, the sides have different ways, or the model cannot take a pair.
    """
    way, other = ways
    if way != other:
        raise ValueError(f"Expected one way for both texts, because one network reads them together, got {ways}. Pass one name.")
    query, texts = inputs[0].contents[0].name, [content.name for content in inputs[1].contents]
    pairs = [reranker.encode_pair(query, text, way) for text in texts]
    counts = [(len(pair.words[0]), len(pair.words[1])) for pair in pairs]
    phrases = (
        [divide_text(query, pairs[0].words[0], MOST_PHRASES)],
        [divide_text(text, pair.words[1], MOST_PHRASES) for text, pair in zip(texts, pairs, strict=True)],
    )
    device = inputs[0].batch.device
    presences = make_presences([counts[0][0]], device), make_presences([n_retrieved for _, n_retrieved in counts], device)
    sides = _join_words(presences[0], phrases[0]), _join_words(presences[1], phrases[1])
    has_phrases = any(len(phrase.texts) < len(phrase.numbers) for side in phrases for phrase in side)
    parts = f"{PHRASES}, because only {MOST_PHRASES} parts of a text can be told apart by a model that reads both" if has_phrases else WORDS
    absent, shown = ABSENT_WORDS[pairs[0].removal], [[phrase.texts for phrase in side] for side in phrases]
    return PresencePairs(pairs, counts, reranker), Removal(sides, parts, (absent, absent), (shown[0], shown[1]))


def _join_words(presences: PresenceInputs, phrases: Sequence[Phrases]) -> PresenceInputs:
    """The same inputs with the words of a phrase as one player."""
    mask = torch.full_like(presences.mask, NEVER_LEAVES)
    for row, phrase in zip(mask, phrases, strict=True):
        row[1 : len(phrase.numbers) + 1] = torch.tensor(phrase.numbers, device=mask.device, dtype=mask.dtype)
    return presences._replace(mask=mask)
