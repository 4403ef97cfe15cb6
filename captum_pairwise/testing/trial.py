"""How the battery calls a method, and how it reads what comes back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from captum.attr import Attribution
from jaxtyping import Float, Int
from torch import Tensor

from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.testing.test_model import PIXELS, Encoder, cell_masks, images, on_pixels

Make = Callable[[SimilarityWrapper], Attribution]
Masks = tuple[Tensor, ...]  # integer ids, of the query and of the retrieved image
Credits = tuple[Float[Tensor, "batch ..."], ...]
TOLERANCE = 1e-9  # of the largest credit, in float64


class DoesNotApply(Exception):
    """A check says nothing of this method; its message is why."""


class CheckFailed(AssertionError):
    """A method failed a check; the message says how."""


def expect(holds: bool | Tensor, sentence: str) -> None:
    """Fail with a sentence where something does not hold.

    Raises:
        CheckFailed: it does not.
    """
    if not holds:
        raise CheckFailed(sentence)


@dataclass(frozen=True)
class Trial:
    """One method, and how it is called.

    Attributes:
        make: builds the method for a model whose `query_encoder.layer` is the layer to explain.
        order: of single parts, 1, or of pairs of parts, 2.
        players: the name of the argument that takes the masks, `"feature_mask"` or `"layer_mask"`; None for a method without.
        chunk: the name of the argument that bounds a forward pass; None for a method without.
        arguments: more of `attribute`'s.
        tolerance: by how much equal results may differ, relative to the largest credit.
        thorough: let every forward pass fail in turn, and more like it.
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
        """The players of both images, 4 and 6, as the method takes them."""
        query, retrieved = cell_masks()
        return (on_pixels(query), on_pixels(retrieved)) if self.players == "feature_mask" else (query, retrieved)

    def model(self, encoder: torch.nn.Module | None = None, similarity: str = "cosine") -> SimilarityWrapper:
        """A model to explain, of the battery's own encoder if none is given."""
        return SimilarityWrapper((Encoder() if encoder is None else encoder).eval(), similarity=similarity)

    def attribute(self, method: Any, pair: tuple[Tensor, ...], masks: Masks | None = None, **more: Any) -> Any:
        """What the method returns."""
        chosen = {self.players: masks or self.masks} if self.players else {}
        return method.attribute(pair, **{**self.arguments, **chosen, **more})

    def explain(
        self, model: SimilarityWrapper | None = None, pair: tuple[Tensor, ...] | None = None, masks: Masks | None = None, **more: Any
    ) -> Credits:
        """The credit of every player of each image, `[B, n]` each; of second order that of every pair, `[B, n_q, n_r]`."""
        found = self.attribute(self.make(model or self.model()), pair or images(), masks, **more)
        return self.read(found, masks or self.masks)

    def read(self, found: Any, masks: Masks) -> Credits:
        """What `attribute` returned, by player."""
        if self.order == 1:
            return tuple(self._of_players(one, mask) for one, mask in zip(found, masks, strict=True))
        if self.players:
            return (found.reshape(len(found), *(int(mask.max()) + 1 for mask in masks)),)
        n_query = found[0].numel() // found[0, ..., 0].numel() if found.dim() == 3 else found[0, ..., 0, 0].numel()
        return (found.reshape(len(found), n_query, -1),)

    def _of_players(self, found: Float[Tensor, "batch ..."], mask: Int[Tensor, "1 1 _ _"]) -> Float[Tensor, "batch players"]:
        if self.players is None:
            return found[:, 0, ::PIXELS, ::PIXELS].flatten(1) if self._is_of_pixels(found) else found.flatten(1)
        n_players = int(mask.max()) + 1
        if found[0].numel() == n_players:
            return found.flatten(1)
        first = [int((mask.flatten() == player).nonzero()[0]) for player in range(n_players)]
        return found[:, 0].flatten(1)[:, first]

    def _is_of_pixels(self, found: Float[Tensor, "batch ..."]) -> bool:
        return found.shape[-1] % PIXELS == 0

    def assert_same(self, found: Credits, expected: Credits, what: str, tolerance: float = 0.0) -> None:
        """Fail with a sentence where credits differ by more than a share of the largest.

        Raises:
            CheckFailed: they do.
        """
        largest = max(float(one.abs().max()) for one in expected)
        for one, other in zip(found, expected, strict=True):
            expect(one.shape == other.shape, f"{what}: expected a result of shape {tuple(other.shape)}, got {tuple(one.shape)}.")
            worst = float((one.to(other) - other).abs().max())
            close = worst <= max(tolerance, self.tolerance) * largest  # false of NaN
            expect(close, f"{what}: credits differ by {worst:.1e}, where the largest is {largest:.1e}.")
