"""Call a method under test, and read its result by player."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from captum.attr import Attribution
from jaxtyping import Float, Int
from torch import Tensor

from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.testing.tiny_model import CELLS, PIXELS, Encoder, cell_masks, expand_to_pixels, images

Make = Callable[[SimilarityWrapper], Attribution]
Masks = tuple[Tensor, ...]  # integer ids, of the query and of the retrieved image
Credits = tuple[Float[Tensor, "batch ..."], ...]
TOLERANCE = 1e-9  # of the largest credit, in float64


class DoesNotApply(Exception):
    """A check does not apply to this method; the message says why."""


class CheckFailed(AssertionError):
    """A method failed a check; the message says how."""


def expect(condition: bool | Tensor, message: str) -> None:
    """Fail the check with a message if a condition is false.

    Raises:
        CheckFailed: the condition is false.
    """
    if not condition:
        raise CheckFailed(message)


@dataclass(frozen=True)
class Trial:
    """A method under test, and how to call it.

    Attributes:
        make: builds the method for a model whose `query_encoder.layer` is the layer to explain.
        order: 1 for credit of single parts, 2 for credit of pairs of parts.
        players: name of the argument that takes the masks, `"feature_mask"` or `"layer_mask"`; None if there is none.
        chunk: name of the argument that bounds the rows of a forward pass; None if there is none.
        arguments: other arguments of `attribute`.
        tolerance: allowed difference of equal results, relative to the largest credit.
        thorough: True lets every forward pass fail in turn.
    """

    make: Make
    order: int
    players: str | None = "feature_mask"
    chunk: str | None = "perturbations_per_eval"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    tolerance: float = TOLERANCE
    thorough: bool = False

    @property
    def masks(self) -> Masks:
        """The players of both images as the method takes them: 4 and 6, or single cells of the layer if it takes no masks."""
        if self.players is None:
            return (torch.arange(CELLS**2, device="cpu").view(1, 1, CELLS, CELLS),) * 2
        query, retrieved = cell_masks()
        return (expand_to_pixels(query), expand_to_pixels(retrieved)) if self.players == "feature_mask" else (query, retrieved)

    def model(self, encoder: torch.nn.Module | None = None, similarity: str = "cosine") -> SimilarityWrapper:
        """A model to explain; the default encoder is the tiny one."""
        return SimilarityWrapper((Encoder() if encoder is None else encoder).eval(), similarity=similarity)

    def call(self, function: Callable, pair: tuple[Tensor, ...], masks: Masks | None = None, **more: Any) -> Any:
        """The result of a method's `attribute` or `interactions` with the arguments of this trial."""
        players = {self.players: masks or self.masks} if self.players else {}
        return function(pair, **{**self.arguments, **players, **more})

    def explain(
        self, model: SimilarityWrapper | None = None, pair: tuple[Tensor, ...] | None = None, masks: Masks | None = None, **more: Any
    ) -> Credits:
        """The credit of every player of each image, `[B, n]` each; with order 2, of every pair of players, `[B, n_q, n_r]`."""
        result = self.call(self.make(model or self.model()).attribute, pair or images(), masks, **more)
        return self.read(result, masks or self.masks)

    def read(self, result: Any, masks: Masks) -> Credits:
        """The credit in a result of `attribute`, by player."""
        if self.order == 1:
            return tuple(self._read_map(credit, mask) for credit, mask in zip(result, masks, strict=True))
        half = (result.dim() + 1) // 2  # the query's dimensions, then as many of the retrieved image
        return (result.flatten(half).flatten(1, half - 1),)

    def _read_map(self, credit: Float[Tensor, "batch ..."], mask: Int[Tensor, "1 1 _ _"]) -> Float[Tensor, "batch players"]:
        if self.players is None:
            return (credit[:, 0, ::PIXELS, ::PIXELS] if credit.shape[-1] == CELLS * PIXELS else credit).flatten(1)
        n_players = int(mask.max()) + 1
        if credit[0].numel() == n_players:
            return credit.flatten(1)
        first = [int((mask.flatten() == player).nonzero()[0]) for player in range(n_players)]
        return credit[:, 0].flatten(1)[:, first]

    def assert_same(self, credits: Credits, expected: Credits, context: str, tolerance: float = 0.0) -> None:
        """Fail the check if credits differ by more than the tolerance times the largest credit.

        Raises:
            CheckFailed: they differ.
        """
        largest = max(float(side.abs().max()) for side in expected)
        for actual, wanted in zip(credits, expected, strict=True):
            expect(actual.shape == wanted.shape, f"Expected shape {tuple(wanted.shape)} {context}, got {tuple(actual.shape)}.")
            worst = float((actual.to(wanted) - wanted).abs().max())
            is_close = worst <= max(tolerance, self.tolerance) * largest  # false for NaN
            expect(is_close, f"Expected equal credit {context}, got a difference of {worst:.1e}; the largest credit is {largest:.1e}.")
