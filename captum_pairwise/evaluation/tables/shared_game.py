"""One game of a pair of images for all methods: the similarity when equal parts of both images are blurred."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from captum_pairwise.estimators.coalitions import all_coalitions
from captum_pairwise.estimators.independent_presence import draw_present
from captum_pairwise.games.build import build_input_pairs
from captum_pairwise.games.context import ForwardContext
from captum_pairwise.games.game import EmbeddedGame, find_distinct
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.players.regions import Players

MOST_ENUMERATED = 8  # parts of an image of which all coalitions are embedded: 256 images
N_ROWS = 32  # coalitions of each image for the surrogate: about the 1000 combinations of FIxLIP's protocol
PROBABILITIES = (0.3, 0.5, 0.7)


@dataclass(frozen=True)
class SharedGame:
    """The similarity of the coalitions of parts of a pair; absent ones show the blurred image.

    Equal parts favour no method, and no part wins by its size. Numbers do not depend on the methods that ask: few parts have a table of all
    coalitions, and of many each call embeds its own.

    Attributes:
        model: the similarity of two encoders.
        images: the pair, a batch of one.
        ids: the parts of each image, from 0.
    """

    model: SimilarityWrapper
    images: tuple[Float[Tensor, "1 3 height width"], Float[Tensor, "1 3 height width"]]
    ids: tuple[Int[Tensor, "1 1 height width"], Int[Tensor, "1 1 height width"]]

    @property
    def parts(self) -> tuple[Players, Players]:
        """The parts of each image as players."""
        query, retrieved = (Players(ids, (int(ids.max()) + 1,)) for ids in self.ids)
        return query, retrieved

    @cached_property
    def _game(self) -> EmbeddedGame:
        pairs = build_input_pairs(self.model, self.images, ForwardContext(), None, self.ids)
        game = next(iter(pairs.games()))
        if not isinstance(game, EmbeddedGame):
            raise ValueError("Expected a model that embeds each image alone, got another one. Leave out the metrics of shared parts.")
        return game

    @cached_property
    def _tables(self) -> tuple[Float[Tensor, "query channels"] | None, Float[Tensor, "retrieved channels"] | None]:
        """The embeddings of all coalitions of each image, if there are few."""
        game = self._game
        query = game.embed_query(all_coalitions(game.n_query)) if game.n_query <= MOST_ENUMERATED else None
        return query, game.embed_retrieved(all_coalitions(game.n_retrieved)) if game.n_retrieved <= MOST_ENUMERATED else None

    @torch.no_grad()
    def embed(self, side: int, coalitions: Bool[Tensor, "rows parts"]) -> Float[Tensor, "rows channels"]:
        """The embedding of each coalition of the query (`side` is 0) or of the retrieved image (1)."""
        table = self._tables[side]
        if table is not None:
            return table[(coalitions.long() << torch.arange(coalitions.shape[1], device="cpu")).sum(1)]
        distinct, rows = find_distinct(coalitions)
        return (self._game.embed_query, self._game.embed_retrieved)[side](distinct)[rows]

    @torch.no_grad()
    def values(self, coalitions: Bool[Tensor, "rows parts"]) -> Float[Tensor, " rows"]:
        """The similarity of each coalition of the parts of both images, the query's first."""
        query, retrieved = coalitions.split([self._game.n_query, self._game.n_retrieved], 1)
        (u, rows), (w, columns) = (
            (self.embed(side, part), where) for side, (part, where) in enumerate(map(find_distinct, (query, retrieved)))
        )
        return self._game.combine(u, w)[rows, columns]

    @torch.no_grad()
    def values_given_query(self, coalitions: Bool[Tensor, "rows parts"]) -> Float[Tensor, " rows"]:
        """The similarity of each coalition of the retrieved image's parts with the whole query."""
        whole = torch.ones(len(coalitions), self._game.n_query, dtype=torch.bool, device="cpu")
        return self.values(torch.cat([whole, coalitions.cpu()], 1))

    @cached_property
    def held_out(self) -> list[tuple[Bool[Tensor, "rows parts"], Float[Tensor, " rows"]]]:
        """For each of the three probabilities that a part is present, 1024 coalitions of the pair and their similarities."""
        return [self._draw_combinations(p, number) for number, p in enumerate(PROBABILITIES)]

    def _draw_combinations(self, p: float, seed: int) -> tuple[Bool[Tensor, "rows parts"], Float[Tensor, " rows"]]:
        """All combinations of some coalitions of each image, in which each part is present with a probability."""
        generator = torch.Generator().manual_seed(seed)
        query, retrieved = (draw_present(n, N_ROWS, p, generator) for n in (self._game.n_query, self._game.n_retrieved))
        rows = torch.cartesian_prod(torch.arange(N_ROWS, device="cpu"), torch.arange(N_ROWS, device="cpu"))
        both = torch.cat([query[rows[:, 0]], retrieved[rows[:, 1]]], 1)
        return both, self.values(both)
