"""What the pairwise attribution classes share: one game for both images, of which they credit the pairs between them."""

import abc

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.attr.base import Explanation, InputExplanation, LayerExplanation
from captum_pairwise.games.game import Game
from captum_pairwise.games.sides import Pairs
from captum_pairwise.results.interactions import Interactions

Attribution = Float[Tensor, "batch ..."]
Delta = Float[Tensor, " batch"]


def between(interactions: Interactions) -> Attribution:
    """The pairs between the images laid out as their players are, `[B, *query_players, *retrieved_players]`."""
    pairs, query, retrieved = interactions["between"], interactions.query_players, interactions.retrieved_players
    if query is not None and retrieved is not None:
        pairs = pairs.reshape(len(pairs), *query.shape, *retrieved.shape)
    return pairs.contiguous()


class Pairwise(Explanation[Interactions, Attribution], abc.ABC):
    """A method that credits parts of two images and pairs of them."""

    order = 2

    def _view(self, found: Interactions, inputs: tuple[Tensor, Tensor]) -> Attribution:
        return between(found)

    def _delta(self, found: Interactions) -> Delta:
        return -found.completeness_gap


class GamePairwise(Pairwise, abc.ABC):
    """A pairwise method that estimates one game at a time."""

    @abc.abstractmethod
    def _estimate(self, game: Game, n_samples: int | None, generator: torch.Generator | None) -> Interactions:
        """Estimate one game."""

    def _explain(self, pairs: Pairs, n_samples: int | None, generator: torch.Generator | None) -> Interactions:
        return pairs.explain(lambda game: self._estimate(game, n_samples, generator))


class InputPairwise(InputExplanation[Interactions, Attribution], GamePairwise, abc.ABC):
    """A pairwise method whose players are parts of the images; `cls(forward_func)`."""


class LayerPairwise(LayerExplanation[Interactions, Attribution], GamePairwise, abc.ABC):
    """A pairwise method whose players are cells of a layer's output; `cls(forward_func, layer)`."""
