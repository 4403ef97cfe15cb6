"""Random games for the property tests: tables of values or of embeddings, and bounds of the rounding errors."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import comb

import numpy as np
import torch
from conftest import seeded
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from captum_pairwise.estimators.coalitions import all_coalitions
from captum_pairwise.estimators.enumeration import exact
from captum_pairwise.estimators.gaussian.joint_process import gaussian_process
from captum_pairwise.estimators.gaussian.shapley_process import process_shapley
from captum_pairwise.estimators.jagged_index import share_dividends
from captum_pairwise.estimators.owen_values import partition_shapley
from captum_pairwise.estimators.permutation_sampling import permutation
from captum_pairwise.estimators.regression.kernel_shapley import kernel_shapley
from captum_pairwise.estimators.regression.kernel_taylor import kernel_taylor
from captum_pairwise.estimators.regression.local_surrogate import lime
from captum_pairwise.estimators.towers.factorisation import factorise
from captum_pairwise.estimators.towers.sampled_tower import TowerOptions
from captum_pairwise.evaluation.convergence import random_games
from captum_pairwise.games.game import Game
from captum_pairwise.players.trees import PartitionTree, bisection_tree
from captum_pairwise.results.interactions import Interactions

EPS = torch.finfo(torch.float64).eps
MOST_PLAYERS = 7
NUMBERS = st.floats(-1000, 1000, width=16)  # sums of numbers with so few digits are exact


@dataclass(frozen=True)
class TableGame(random_games.TableGame):
    """A game as a table of all its values, or as two tables of embeddings, with its transformations."""

    @property
    def n_players(self) -> int:
        return self.n_query + self.n_retrieved

    @property
    def largest(self) -> float:
        """The scale of rounding errors: an upper bound of all values and of the products in them."""
        if self.is_two_tower:
            return (self.tables[0].norm(dim=1).max() * self.tables[1].norm(dim=1).max()).item()
        return self.tables[0].abs().max().item()

    def game(self) -> Game:
        """A new game without evaluations."""
        return self.build()[0]

    def scaled(self, factor: float) -> "TableGame":
        """Every value times a factor."""
        return replace(self, tables=(self.tables[0] * factor, *self.tables[1:]))

    def single(self) -> "TableGame":
        """The same game in float32."""
        return replace(self, tables=tuple(table.float() for table in self.tables))

    def renamed(self, order: list[int]) -> "TableGame":
        """The game whose player `k` is player `order[k]` of this one, within the images; opaque."""
        return replace(self, tables=(self.values[masks_of(order)],))

    def swapped(self) -> "TableGame":
        """The same game with the retrieved image as the query."""
        if self.is_two_tower:
            return TableGame(self.n_retrieved, self.n_query, self.tables[::-1])
        order = [*range(self.n_query, self.n_players), *range(self.n_query)]
        return replace(self.renamed(order), n_query=self.n_retrieved, n_retrieved=self.n_query)

    def with_dummy(self) -> "TableGame":
        """The opaque game with one more player, the last one, which is a dummy."""
        return TableGame(self.n_query, self.n_retrieved + 1, (self.values.repeat(2),))

    def with_double(self) -> "TableGame":
        """The opaque game with one more player, the last one, with the same effect as player 0; both together have this effect once."""
        coalition = torch.arange(2 ** (self.n_players + 1))
        either = (coalition % 2**self.n_players) | (coalition >> self.n_players)
        return TableGame(self.n_query, self.n_retrieved + 1, (self.values[either],))


def masks_of(order: list[int]) -> Tensor:
    """The bit mask of every coalition of renamed players in terms of the original players."""
    members = all_coalitions(len(order)).long()
    return (members << torch.tensor(order)).sum(1)


def rounding(game: TableGame, least: float = EPS) -> float:
    """Bound of the rounding error of an index of an enumerated game, `8 eps n 3^n max |v|`.

    A dividend is a sum of `2^|T|` signed values in `|T|` steps. An index adds at most `Σ_T 2^|T| = 3^n` values.
    """
    return 8 * least * max(1, game.n_players) * 3**game.n_players * max(game.largest, torch.finfo(torch.float64).tiny)


def solving(game: TableGame, n_unknowns: int) -> float:
    """Bound of the rounding error of a least-squares solution, with pivots of at least 1e-10 of the mean (`SMALLEST_PIVOT`).

    The error of normal equations is `eps / pivot` times the number of terms. The weights of two sizes differ at most by `2^n`.
    """
    return rounding(game) * max(1, n_unknowns) ** 2


@st.composite
def tables(draw: st.DrawFn, *shape: int) -> Tensor:
    """Numbers with few digits from hypothesis; or normal random numbers, which are faster."""
    if draw(st.booleans()):
        return torch.from_numpy(draw(arrays(np.float64, shape, elements=NUMBERS)).copy())
    return torch.randn(*shape, generator=seeded(draw(st.integers(0, 2**16))), dtype=torch.float64)


@st.composite
def sizes(draw: st.DrawFn, most: int = MOST_PLAYERS, least: int = 1) -> tuple[int, int]:
    """The numbers of query and retrieved players; one of them may be 0."""
    n_players = draw(st.integers(least, most))
    n_query = draw(st.integers(0, n_players))
    return n_query, n_players - n_query


@st.composite
def opaque_games(draw: st.DrawFn, most: int = MOST_PLAYERS, least: int = 1) -> TableGame:
    """Any value for each coalition."""
    n_query, n_retrieved = draw(sizes(most, least))
    return TableGame(n_query, n_retrieved, (draw(tables(2 ** (n_query + n_retrieved))),))


@st.composite
def tower_games(draw: st.DrawFn, most: int = MOST_PLAYERS, least: int = 1) -> TableGame:
    """Any embedding for each coalition of either image."""
    n_query, n_retrieved = draw(sizes(most, least))
    n_channels = draw(st.integers(1, 4))
    return TableGame(n_query, n_retrieved, (draw(tables(2**n_query, n_channels)), draw(tables(2**n_retrieved, n_channels))))


def games(most: int = MOST_PLAYERS, least: int = 1) -> st.SearchStrategy[TableGame]:
    """Opaque games and two-tower games."""
    return st.one_of(opaque_games(most, least), tower_games(most, least))


@st.composite
def additive_games(draw: st.DrawFn, most: int = MOST_PLAYERS) -> TableGame:
    """Each player adds a fixed number. All numbers may be 0: a constant game."""
    n_query, n_retrieved = draw(sizes(most))
    own = [draw(arrays(np.float64, n, elements=NUMBERS)).copy() for n in (n_query, n_retrieved)]
    sums = [all_coalitions(len(one)).double() @ torch.from_numpy(one) for one in own]
    offset = draw(NUMBERS)
    if draw(st.booleans()):
        towers = torch.stack([sums[0] + offset, torch.ones_like(sums[0])], 1), torch.stack([torch.ones_like(sums[1]), sums[1]], 1)
        return TableGame(n_query, n_retrieved, towers)
    return TableGame(n_query, n_retrieved, ((sums[1][:, None] + sums[0] + offset).flatten(),))


@st.composite
def orders_within(draw: st.DrawFn, game: TableGame) -> list[int]:
    """A random order of the players within each image."""
    query, retrieved = range(game.n_query), range(game.n_query, game.n_players)
    return [*draw(st.permutations(query)), *draw(st.permutations(retrieved))]


def taylor_pairs(values: Tensor) -> Tensor:
    """Every Shapley–Taylor index of two players from all values, `φ_ij = (2/n) Σ_T δ_ij v(T) / C(n-1, |T|)` (paper §3), `[n, n]`."""
    n_players = len(values).bit_length() - 1
    coalition = torch.arange(len(values))
    size = all_coalitions(n_players).sum(1)
    second = torch.zeros(n_players, n_players, dtype=torch.float64)
    for i in range(n_players):
        for j in range(i):
            without = coalition[(coalition & (1 << i | 1 << j)) == 0]
            change = values[without | 1 << i | 1 << j] - values[without | 1 << i] - values[without | 1 << j] + values[without]
            weight = torch.tensor([1 / comb(n_players - 1, t) for t in size[without].tolist()], dtype=torch.float64)
            second[i, j] = second[j, i] = 2 / n_players * (weight @ change.double())
    return second


def shapley_values(values: Tensor) -> Tensor:
    """`φ_i = Σ_T [v(T∪i) - v(T)] / (n C(n-1, |T|))` (paper eq. 1)."""
    n_players = len(values).bit_length() - 1
    coalition, size = torch.arange(len(values)), all_coalitions(n_players).sum(1)
    found = torch.zeros(n_players, dtype=torch.float64)
    for i in range(n_players):
        without = coalition[coalition & (1 << i) == 0]
        weight = torch.tensor([1 / comb(n_players - 1, t) / n_players for t in size[without].tolist()], dtype=torch.float64)
        found[i] = weight @ (values[without | 1 << i] - values[without]).double()
    return found


def close(found: Tensor, expected: Tensor, within: float) -> None:
    """Assert equality up to a bound."""
    torch.testing.assert_close(found.double(), expected.double(), rtol=0, atol=within)


def refusal_of(call: Callable[[], object]) -> str | None:
    """The error message of a refused call, or None. It has to start with `Expected `."""
    try:
        call()
    except ValueError as refusal:
        assert str(refusal).startswith("Expected ") and str(refusal).endswith("."), refusal
        return str(refusal)
    return None


# the estimators of a game within a budget

Estimate = Callable[[Game, int], Interactions]
EVERY_PAIR: dict[str, Estimate] = {  # Shapley–Taylor indices, exact with a budget for all coalitions
    "exact": lambda game, n_samples: exact(game, max(n_samples, 2**game.n_players)),
    "permutation": permutation,
    "kernel": kernel_taylor,
    "gaussian_process": gaussian_process,
}
VALUES: dict[str, Estimate] = {  # Shapley values, exact with a budget for all coalitions
    "kernel_shapley": kernel_shapley,
    "process_shapley": process_shapley,
}
OWEN: dict[str, Estimate] = {
    "jagged": share_dividends,
    "partition": lambda game, n_samples: partition_shapley(game, two_images(game), n_samples),
}
REPEATING: dict[str, Estimate] = {  # coalitions with repetition: no budget is exact
    "kernel, direct": lambda game, n_samples: kernel_taylor(game, n_samples, sampling="paper-direct"),
    "kernel, weighting": lambda game, n_samples: kernel_taylor(game, n_samples, sampling="paper-weighting"),
    "kernel, ridge": lambda game, n_samples: kernel_taylor(game, n_samples, ridge=1e-3),
    "kernel_shapley, direct": lambda game, n_samples: kernel_shapley(game, n_samples, sampling="paper-direct"),
    "kernel_shapley, ridge": lambda game, n_samples: kernel_shapley(game, n_samples, ridge=1e-3),
}
OF_TOWERS: dict[str, Estimate] = {
    "factorised": factorise,
    "factorised, process": lambda game, n_samples: factorise(game, n_samples, TowerOptions(fit="process", within=True)),
    "factorised, chains": lambda game, n_samples: factorise(game, n_samples, TowerOptions(fit="chains")),
    "factorised, tolerance": lambda game, n_samples: factorise(game, n_samples, TowerOptions(tolerance=0.1)),
}
OTHERS: dict[str, Estimate] = {
    "lime": lambda game, n_samples: lime(game, torch.ones(game.n_players), n_samples, alpha=0.0),
    "lime, sparse": lambda game, n_samples: lime(game, torch.ones(game.n_players), n_samples),
}
ANY_GAME = EVERY_PAIR | VALUES | OWEN | REPEATING | OTHERS
ALL = ANY_GAME | OF_TOWERS


def two_images(game: Game) -> PartitionTree:
    """The tree whose root separates the two images."""
    place = [(float(player >= game.n_query) * 2**10, float(player)) for player in range(game.n_players)]
    return bisection_tree(torch.tensor(place))
