"""Encoders and functions of presences: parts that are absent are removed inside the network, not replaced in its input.

An input is a row of numbers: the number of the example, then 1 for each part that is present and 0 for each that is absent. So every method
for inputs runs on it; its parts are the columns after the first.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from captum_pairwise.models.removals import PRESENT
from captum_pairwise.models.words.token_encoder import TokenEncoder
from captum_pairwise.players.regions import NEVER_LEAVES

Presences = Float[Tensor, "rows columns"]
PairScore = Callable[[Tensor, Tensor], Tensor]  # presences [rows, n_query] and [rows, n_retrieved] to scores [rows]


class PresenceInputs(NamedTuple):
    """The inputs of a model of presences: the rows with all parts, their mask, and the rows with none."""

    present: Presences
    mask: Int[Tensor, "rows columns"]
    absent: Presences


def make_presences(counts: Sequence[int], device: torch.device | None = None) -> PresenceInputs:
    """The inputs for examples with these numbers of parts."""
    columns = torch.arange(max(counts) + 1, device=device, dtype=torch.int64).expand(len(counts), -1)
    is_part = (columns > 0) & (columns <= torch.tensor(counts, device=device, dtype=torch.int64)[:, None])
    absent = torch.zeros(columns.shape, device=device, dtype=torch.float32)
    absent[:, 0] = torch.arange(len(counts), device=device, dtype=torch.float32)
    return PresenceInputs(absent + is_part, torch.where(is_part, columns - 1, NEVER_LEAVES), absent)


class PresenceEncoder(nn.Module):
    """The embeddings of examples whose absent parts are removed inside the network.

    Args:
        encoder: an encoder with `removals`, the ways that it knows, and `embed_present(example [1, ...], presence [rows, parts], by)`,
            the embeddings of one example with other parts present in each row.
        examples: a batch for it.
        by: the way to remove a part, one of its `removals`.

    Attributes:
        counts: the number of parts of each example: the words of a sentence, or the patches of a photo.
        grid: rows and columns of the patches; None for words.

    Raises:
        ValueError: the encoder does not know this way.
    """

    def __init__(self, encoder: nn.Module, examples: Tensor, by: str) -> None:
        super().__init__()
        known = getattr(encoder, "removals", ())
        if by not in known:
            wish = f"one of {list(known)}" if known else "other baselines, because it removes no parts inside its network"
            raise ValueError(f"Expected for {type(encoder).__name__} {wish}, got {by!r}. Pass a blur, random words, or your own baselines.")
        self.encoder, self.by = encoder, by
        self.grid: tuple[int, int] | None = None if isinstance(encoder, TokenEncoder) else _measure_grid(encoder, examples)
        self.counts = _count_words(encoder, examples) if isinstance(encoder, TokenEncoder) else [prod(self.grid or ())] * len(examples)
        self._examples = examples  # no buffer: the state is that of the encoder
        self._embed: Any = encoder.embed_present

    def forward(self, presences: Presences) -> Float[Tensor, "rows ..."]:
        """The embedding of each row of presences."""

        def embed(number: int, rows: Tensor) -> Tensor:
            return self._embed(self._examples[number : number + 1], _read_parts(presences[rows], self.counts[number]), self.by)

        return _run_examples(_read_numbers(presences, len(self.counts)), embed)


def _count_words(encoder: TokenEncoder, ids: Tensor) -> list[int]:
    return [int(mask.max()) + 1 for mask in encoder.layer_mask(ids)]


def _measure_grid(encoder: Any, images: Tensor) -> tuple[int, int]:
    """Rows and columns of the patches."""
    rows, columns = encoder.token_grid_size(*images.shape[-2:])
    return rows, columns


class PresencePairs(nn.Module):
    """The scores of pairs whose absent parts are removed inside a network that sees both sides at once.

    Args:
        scores: for each pair, the function from the presences of both sides to scores.
        counts: for each pair, the numbers of parts of the query and of the retrieved side.
        network: the network behind the functions, if it is a module: its mode is checked.
    """

    def __init__(self, scores: Sequence[PairScore], counts: Sequence[tuple[int, int]], network: nn.Module | None = None) -> None:
        super().__init__()
        self.network, self._scores, self.counts = network, list(scores), list(counts)

    def forward(self, query: Float[Tensor, "rows query"], retrieved: Float[Tensor, "rows retrieved"]) -> Float[Tensor, " rows"]:
        """The score of each row of presences of both sides."""
        numbers = _read_numbers(retrieved, len(self.counts))

        def score(number: int, rows: Tensor) -> Tensor:
            n_query, n_retrieved = self.counts[number]
            return self._scores[number](_read_parts(query[rows], n_query), _read_parts(retrieved[rows], n_retrieved))

        return _run_examples(numbers, score)


def _read_numbers(presences: Presences, n_examples: int) -> Int[Tensor, " rows"]:
    """The number of the example of each row."""
    return presences[:, 0].long().clamp(0, n_examples - 1)


def _read_parts(presences: Presences, n_parts: int) -> Bool[Tensor, "rows parts"]:
    return presences[:, 1 : n_parts + 1] >= PRESENT


def _run_examples(numbers: Int[Tensor, " rows"], run: Callable[[int, Tensor], Tensor]) -> Tensor:
    """The results of all rows in order, from a run for each example."""
    places = [(numbers == number).nonzero()[:, 0] for number in numbers.unique()]
    results = torch.cat([run(int(numbers[rows[0]]), rows) for rows in places])
    return results[torch.cat(places).argsort()]
