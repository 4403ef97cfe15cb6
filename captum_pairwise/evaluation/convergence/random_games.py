"""Random games as tables: all their values are known, and estimators look them up."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from captum_pairwise.estimators.coalitions import all_coalitions
from captum_pairwise.games.game import CallableGame, Game, TwoTowerGame
from captum_pairwise.models.heads import normalize_rows

HIDDEN = 20  # units of a layer (§A.3), and channels of an embedding
BIAS_SCALE = 0.1  # larger biases make the towers nearly linear


class Lookup:
    """A function of coalitions, read from a table with a row for each (see `all_coalitions`); it records which rows were read."""

    def __init__(self, table: Float[Tensor, "coalitions ..."]) -> None:
        self.table = table
        self.is_read = torch.zeros(len(table), dtype=torch.bool, device="cpu")

    def __call__(self, z: Bool[Tensor, "rows players"] | Float[Tensor, "rows players"]) -> Float[Tensor, "rows ..."]:
        """The table's row for each row of `z`, whose entries are 0 or 1."""
        rows = (z.long() << torch.arange(z.shape[1], device="cpu")).sum(1)
        self.is_read[rows] = True
        return self.table[rows]


@dataclass(frozen=True)
class TableGame:
    """A game as one table of all its values, or as two tables, one for each tower, of the embeddings of its coalitions.

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
        """True if the towers are known; then the study judges the pairs between the images, else all pairs."""
        return len(self.tables) == 2

    @property
    def values(self) -> Float[Tensor, " coalitions"]:
        """The value of every coalition, query players in the lower bits."""
        return (self.tables[1] @ self.tables[0].T).flatten() if self.is_two_tower else self.tables[0]

    def build(self, hide_towers: bool = False) -> tuple[Game, list[Lookup]]:
        """A new game and its lookups.

        Args:
            hide_towers: True for a game whose value is any function, even if its towers are known.
        """
        lookups = [Lookup(table) for table in self.tables]
        if not self.is_two_tower:
            return CallableGame(self.n_query, self.n_retrieved, lookups[0]), lookups
        towers = TwoTowerGame(self.n_query, self.n_retrieved, lookups[0], lookups[1])
        return CallableGame(self.n_query, self.n_retrieved, towers.values) if hide_towers else towers, lookups

    def opaque(self) -> "TableGame":
        """The same values without the towers."""
        return replace(self, tables=(self.values,))

    def judge_pairs(self, second_order: Float[Tensor, "players players"]) -> Float[Tensor, " pairs"]:
        """The pairs that the study judges, from a matrix of all pairs."""
        if self.is_two_tower:
            return second_order[: self.n_query, self.n_query :].flatten()
        return second_order[tuple(torch.triu_indices(len(second_order), len(second_order), 1, device="cpu"))]


def relu_network(sizes: Sequence[int], bias_scale: float, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    """A random network from `[rows, inputs]` to `[rows, outputs]`: Glorot's uniform weights, normal biases, ReLUs between its layers."""
    layers = []
    for n_inputs, n_outputs in pairwise(sizes):
        weight = (2 * torch.rand(n_inputs, n_outputs, generator=generator, dtype=torch.float64, device="cpu") - 1) * (
            6 / (n_inputs + n_outputs)
        ) ** 0.5
        layers.append((weight, bias_scale * torch.randn(n_outputs, generator=generator, dtype=torch.float64, device="cpu")))

    def network(x: Tensor) -> Tensor:
        for depth, (weight, bias) in enumerate(layers):
            x = (x.relu() if depth else x) @ weight + bias
        return x

    return network


def network_game(seed: int, n_query: int = 8, n_retrieved: int = 7) -> TableGame:
    """The paper's random network (Figure 5): three layers, 20 hidden units; absent entries of a random input are 0."""
    values = _evaluate_network(n_query + n_retrieved, 1, 0.0, torch.Generator().manual_seed(seed))
    return TableGame(n_query, n_retrieved, (values[:, 0],))


def boolean_game(seed: int, n_query: int = 8, n_retrieved: int = 7) -> TableGame:
    """The paper's random Boolean function (Figure 10): the sum of all products of variables, with coefficients from U(0, 10)."""
    n_players = n_query + n_retrieved
    values = 10 * torch.rand(2**n_players, generator=torch.Generator().manual_seed(seed), dtype=torch.float64, device="cpu")
    for player in range(n_players):  # along each axis of the cube, add the face without the player
        faces = values.view(-1, 2, 2**player)
        faces[:, 1] += faces[:, 0]
    return TableGame(n_query, n_retrieved, (values,))


def cosine_game(seed: int, n_query: int = 8, n_retrieved: int = 7) -> TableGame:
    """The cosine of two random networks' embeddings; their biases give the empty coalition a direction."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = [_evaluate_network(n_players, HIDDEN, BIAS_SCALE, generator) for n_players in (n_query, n_retrieved)]
    return TableGame(n_query, n_retrieved, tuple(map(normalize_rows, embeddings)))


def _evaluate_network(n_players: int, n_outputs: int, bias_scale: float, generator: torch.Generator) -> Tensor:
    """Outputs of a random network for all coalitions of a random input, whose absent entries are 0."""
    network = relu_network([n_players, HIDDEN, HIDDEN, n_outputs], bias_scale, generator)
    return network(all_coalitions(n_players) * torch.randn(n_players, generator=generator, dtype=torch.float64, device="cpu"))


GAMES: dict[str, Callable[[int], TableGame]] = {
    "A": network_game,
    "B": lambda seed: cosine_game(seed).opaque(),
    "B-towers": cosine_game,
    "C": lambda seed: cosine_game(seed, 16, 16),
    "D": boolean_game,
}
TWO_TOWER = {"B-towers", "C"}
TITLES = {
    "A": "A: random ReLU network, 15 players (paper's Figure 5)",
    "B": "B: cosine of two random towers, 8 + 7 players, as a black box",
    "B-towers": "B-towers: the same with known towers, pairs between the images",
    "C": "C: two random towers, 16 + 16 players, pairs between the images",
    "D": "D: random Boolean function, 15 players (paper's Figure 10)",
}
