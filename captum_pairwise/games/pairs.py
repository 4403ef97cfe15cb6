"""The games of a batch of pairs, and the result of estimating each of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.games.game import Game, QueryTables, make_one_image_games
from captum_pairwise.games.sides import Side
from captum_pairwise.network.autocast import disable_autocast
from captum_pairwise.network.batching import get_memory_bytes
from captum_pairwise.results.interactions import Interactions, stack_interactions
from captum_pairwise.results.renumbering import renumber_players


@dataclass(frozen=True)
class Pairs:
    """The games of a batch of pairs.

    Attributes:
        query: the side of the query images.
        retrieved: the side of the retrieved images.
        make_game: `(example, query tables) -> game`.
    """

    query: Side
    retrieved: Side
    make_game: Callable[[int, QueryTables], Game]

    def games(self) -> Iterator[Game]:
        """Build the game of each pair, one after the other.

        Yields:
            a game. Consecutive games with the same query share its tables. The tables are large, so later games do not keep them.
        """
        tables: QueryTables = {}
        for example in range(len(self.query.present)):
            if example and not self.query.is_same(example - 1, example):
                tables = {}
            yield self.make_game(example, tables)

    def measure_changes(self, example: int) -> Float[Tensor, " players"]:
        """The part of the mean squared difference between the masked and the whole pair that each absent player causes.

        Players share no element, so the distance of a coalition is the sum over its absent players.
        """
        sides = (self.query, self.retrieved)
        return torch.cat([side.measure_changes(example) for side in sides]) / sum(side.present[example].numel() for side in sides)

    @disable_autocast()
    def explain(self, estimate: Callable[[Game], Interactions]) -> Interactions:
        """Estimate every game."""
        self.refuse_beyond_memory()
        return self.join([estimate(game) for game in self.games()])

    def refuse_beyond_memory(self) -> None:
        """Refuse matrices of pairs that do not fit into memory.

        Raises:
            ValueError: they do not fit.
        """
        n_players, present = self.query.players.n_players + self.retrieved.players.n_players, self.query.present
        needed, available = 2 * len(present) * n_players**2 * present.element_size(), get_memory_bytes(present.device)
        if needed > available:
            raise ValueError(
                f"Expected fewer players: all pairs of {n_players} need {needed / 2**30:.0f} GiB for {len(present)} pairs of images, "
                f"and there are {available / 2**30:.0f} GiB. Group them with a coarser mask, or take a deeper layer."
            )

    @disable_autocast()
    def explain_images(self, estimate: Callable[[Game, Side, int], Interactions]) -> tuple[Interactions, Interactions]:
        """For each pair, estimate the game of the query's players and the game of the retrieved image's (paper eq. 2).

        Args:
            estimate: gets the game, its side, and the index of the pair in the batch.
        """
        query, retrieved = [], []
        for example, game in enumerate(self.games()):
            query_game, retrieved_game = make_one_image_games(game)
            query.append(estimate(query_game, self.query, example))
            retrieved.append(estimate(retrieved_game, self.retrieved, example))
        return _join_estimates(query, (self.query, None)), _join_estimates(retrieved, (None, self.retrieved))

    def join(self, estimates: Sequence[Interactions]) -> Interactions:
        """One batch of the estimates of all pairs, with the player ids of the masks."""
        return _join_estimates(estimates, (self.query, self.retrieved))


def _join_estimates(estimates: Sequence[Interactions], sides: tuple[Side | None, Side | None]) -> Interactions:
    """One batch of the estimates of all pairs; None is a side without players."""
    no_ids = torch.zeros(0, dtype=torch.long, device=estimates[0].full.device)
    query, retrieved = (side.shown if side is not None else None for side in sides)
    sizes = [players.n_players if players is not None else 0 for players in (query, retrieved)]
    batch = []
    for example, estimate in enumerate(estimates):
        ids = [side.ids(example) if side is not None else no_ids for side in sides]
        batch.append(renumber_players(estimate, ids[0], ids[1], sizes[0], sizes[1]))
    return replace(stack_interactions(batch), query_players=query, retrieved_players=retrieved)
