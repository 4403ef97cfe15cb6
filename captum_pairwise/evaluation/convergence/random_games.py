"""Random games of which everything is known: their values are enumerated once, and looked up by whoever estimates them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from captum_pairwise.estimators.coalitions import all_coalitions
from captum_pairwise.estimators.enumeration import enumerate_values, exact
from captum_pairwise.games.game import CallableGame, Game, TwoTowerGame
from captum_pairwise.models.heads import normalize_rows
from captum_pairwise.results.interactions import Interactions

HIDDEN = 20  # the paper's (A.3), and that of the embeddings
SPREAD_OF_BIASES = 0.1  # larger ones make the towers nearly linear


class Lookup:
    """A function of coalitions, from a table with a row for each (see `all_coalitions`), that knows which were asked for."""

    def __init__(self, table: Float[Tensor, "coalitions ..."]) -> None:
        self.table = table
        self.is_asked = torch.zeros(len(table), dtype=torch.bool)

    def __call__(self, z: Bool[Tensor, "rows players"] | Float[Tensor, "rows players"]) -> Float[Tensor, "rows ..."]:
        """The table's row for each row of `z`, whose entries are 0 or 1."""
        place = (z.long() << torch.arange(z.shape[1])).sum(1)
        self.is_asked[place] = True
        return self.table[place]


@dataclass(frozen=True)
class RandomGame:
    """A game as tables: one of all its values, or two of the embeddings of each tower's coalitions.

    Attributes:
        n_query: players of the query.
        n_retrieved: players of the retrieved image.
        tables: one or two.
    """

    n_query: int
    n_retrieved: int
    tables: tuple[Tensor, ...]

    @property
    def is_two_tower(self) -> bool:
        """Whether it is known how each image is embedded; then the pairs between the images are judged, else all pairs."""
        return len(self.tables) == 2

    @property
    def passes_per_value(self) -> int:
        """What one evaluation of `v` costs: a pass through each tower where a budget is one of passes, else itself."""
        return len(self.tables)

    def opaque(self) -> tuple[Game, list[Lookup]]:
        """The game as an opaque box, fresh, and what it looks up."""
        lookups = [Lookup(table) for table in self.tables]
        if not self.is_two_tower:
            return CallableGame(self.n_query, self.n_retrieved, lookups[0]), lookups
        towers = TwoTowerGame(self.n_query, self.n_retrieved, lookups[0], lookups[1])
        return CallableGame(self.n_query, self.n_retrieved, towers.values), lookups

    def towers(self) -> tuple[TwoTowerGame, list[Lookup]]:
        """The game as two towers, fresh, and what they look up.

        Raises:
            ValueError: it is opaque.
        """
        if not self.is_two_tower:
            raise ValueError("Expected a game of two towers, got one that is opaque. Ask for `opaque()`.")
        lookups = [Lookup(table) for table in self.tables]
        return TwoTowerGame(self.n_query, self.n_retrieved, lookups[0], lookups[1]), lookups

    def exact(self) -> Interactions:
        """The exact indices."""
        return exact(self.towers()[0] if self.is_two_tower else self.opaque()[0])

    def judged(self, second_order: Float[Tensor, "players players"]) -> Float[Tensor, " pairs"]:
        """The pairs that count, of a matrix of all."""
        if self.is_two_tower:
            return second_order[: self.n_query, self.n_query :].flatten()
        return second_order[tuple(torch.triu_indices(len(second_order), len(second_order), 1))]


def relu_network(
    sizes: Sequence[int], spread_of_biases: float, generator: torch.Generator
) -> Callable[[Float[Tensor, "rows inputs"]], Float[Tensor, "rows outputs"]]:
    """A random network with Glorot's uniform weights, normal biases, and rectified linear units between its layers."""
    bounds = [(6 / (a + b)) ** 0.5 for a, b in pairwise(sizes)]
    layers = [
        ((2 * _uniform((a, b), generator) - 1) * bound, spread_of_biases * _normal((b,), generator))
        for (a, b), bound in zip(pairwise(sizes), bounds, strict=True)
    ]

    def network(x: Tensor) -> Tensor:
        for depth, (weight, bias) in enumerate(layers):
            x = (x.relu() if depth else x) @ weight + bias
        return x

    return network


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def _normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def network_game(seed: int, n_query: int = 8, n_retrieved: int = 7) -> RandomGame:
    """The paper's random network (Figure 5): three layers, 20 hidden units, of a random input whose absent entries are 0."""
    generator, n_players = torch.Generator().manual_seed(seed), n_query + n_retrieved
    network, inputs = relu_network([n_players, HIDDEN, HIDDEN, 1], 0.0, generator), _normal((n_players,), generator)
    return RandomGame(n_query, n_retrieved, (network(all_coalitions(n_players) * inputs)[:, 0],))


def boolean_game(seed: int, n_query: int = 8, n_retrieved: int = 7) -> RandomGame:
    """The paper's random Boolean function (Figure 10): the sum of all products of variables, with coefficients from U(0, 10)."""
    n_players = n_query + n_retrieved
    values = 10 * _uniform((2**n_players,), torch.Generator().manual_seed(seed))
    for player in range(n_players):  # add, along each axis of the cube, the face without the player
        faces = values.view(-1, 2, 2**player)
        faces[:, 1] += faces[:, 0]
    return RandomGame(n_query, n_retrieved, (values,))


def tower_game(seed: int, n_query: int = 8, n_retrieved: int = 7) -> RandomGame:
    """The cosine of two random networks' embeddings; their biases give the coalition of nobody a direction."""
    generator = torch.Generator().manual_seed(seed)
    return RandomGame(n_query, n_retrieved, tuple(_embeddings(n_players, generator) for n_players in (n_query, n_retrieved)))


def _embeddings(n_players: int, generator: torch.Generator) -> Float[Tensor, "coalitions channels"]:
    network = relu_network([n_players, HIDDEN, HIDDEN, HIDDEN], SPREAD_OF_BIASES, generator)
    return normalize_rows(network(all_coalitions(n_players) * _normal((n_players,), generator)))


def as_opaque(game: RandomGame) -> RandomGame:
    """The same values, without the towers."""
    return RandomGame(game.n_query, game.n_retrieved, (enumerate_values(game.towers()[0]),))


GAMES: dict[str, Callable[[int], RandomGame]] = {
    "A": network_game,
    "B": lambda seed: as_opaque(tower_game(seed)),
    "B-towers": tower_game,
    "C": lambda seed: tower_game(seed, 16, 16),
    "D": boolean_game,
}
TWO_TOWER = {"B-towers", "C"}
TITLES = {
    "A": "A: random ReLU network, 15 players (paper's Figure 5)",
    "B": "B: cosine of two random towers, 8 + 7 players, as an opaque box",
    "B-towers": "B-towers: the same with its towers known, pairs between them",
    "C": "C: two random towers, 16 + 16 players, pairs between them",
    "D": "D: random Boolean function, 15 players (paper's Figure 10)",
}
