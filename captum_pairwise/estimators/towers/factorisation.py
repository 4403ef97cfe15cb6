"""The factorised estimator: interaction indices of a game of two towers from coalitions of each tower alone."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count, takewhile

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from captum_pairwise.estimators.coalitions import all_coalitions
from captum_pairwise.estimators.draws import Draws, default_generator, ends_and_singles
from captum_pairwise.estimators.index_path import make_index_path
from captum_pairwise.estimators.limits import refuse_beyond_memory, refuse_small_budget
from captum_pairwise.estimators.towers.chains import draw_chains
from captum_pairwise.estimators.towers.indices import Share, combine
from captum_pairwise.estimators.towers.lifting import lift_scores
from captum_pairwise.estimators.towers.models import (
    ChainedTower,
    EnumeratedTower,
    ProcessTower,
    TowerModel,
    TowerSample,
    compute_index,
    keep_sample,
)
from captum_pairwise.games.game import EmbeddedGame, TwoTowerGame
from captum_pairwise.results.index import TAYLOR_INDEX, Index
from captum_pairwise.results.interactions import Interactions

FITS = ("process", "chains")
MOST_FOR_PROCESS, MOST_PLAYERS_FOR_PROCESS = 8192, 256  # a larger process, cubic in its rows, costs more time than it saves
Embed = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class TowerOptions:
    """Options of the estimate of a tower.

    Attributes:
        fit: `"process"` or `"chains"`; None takes the process for up to 8192 embeddings of 256 players.
        tolerance: stop at this root-mean-square standard error of the pairs, relative to the pairs; None uses the whole budget.
        within: True to estimate the pairs within an image.
        index: the interaction index.
    """

    fit: str | None = None
    tolerance: float | None = None
    within: bool = False
    index: Index = TAYLOR_INDEX

    def __post_init__(self) -> None:
        if self.fit is not None and self.fit not in FITS:
            raise ValueError(f"Expected fit to be one of {FITS} or None, got {self.fit!r}. Leave it out for the default.")
        if self.tolerance is not None and not self.tolerance > 0:
            raise ValueError(f"Expected a tolerance above 0, the relative error at which to stop, got {self.tolerance}. Raise it.")
        if self.fit == "chains" and (self.within or self.tolerance is not None):
            raise ValueError("Expected fit='process' with within=True or a tolerance, because chains support neither. Leave fit out.")


DEFAULT = TowerOptions()


def factorise(
    game: EmbeddedGame, n_samples: int, options: TowerOptions = DEFAULT, *, share: Share = combine, generator: torch.Generator | None = None
) -> Interactions:
    """The index of all pairs between the images, of the players, and the heat maps, from `n_samples` embeddings per tower.

    The expected slopes and means of each tower at the nodes of `IndexPath` come from a Gaussian process on its coalitions, with the errors
    of its posterior, or from chains of growing coalitions, with jackknife errors. A tower whose coalitions all fit the budget is
    enumerated. If both are, the result is exact and its errors are 0. Games with the same query share the results of its tower.

    A game that is no inner product is scored at every pair of a query's and a retrieved coalition, and `lift_scores` makes embeddings of
    these scores. The estimate is then unchanged, and its errors hold as before; games with the same query share the query's embeddings.

    Args:
        game: the game.
        n_samples: embeddings per tower, beside the embeddings of the full and the empty image.
        options: how to estimate.
        share: `combine` for the index of the options, `combine_between` for credit of single players and pairs between the images only.
        generator: source of randomness; None means a generator with seed 0.

    Raises:
        ValueError: the budget is too small for the number of players, or an option does not fit.

    >>> bilinear = TwoTowerGame(2, 1, lambda z: z * torch.tensor([1.0, 2.0]), lambda z: 5.0 * z.expand(-1, 2))
    >>> factorise(bilinear, 2).between
    tensor([[[ 5.],
             [10.]]])
    """
    most_players = max(game.n_query, game.n_retrieved)
    if 2**most_players > n_samples + 2:
        refuse_small_budget(n_samples, 2 * most_players - 2, f"{most_players} players in one image")
    generator = default_generator(generator)
    seeds = torch.randint(2**62, (2,), generator=generator, device=generator.device).tolist()
    is_lifted, n_nodes = not isinstance(game, TwoTowerGame), len(make_index_path(options.index, game.n_players).query)
    query = game.query_tables.setdefault(("factorised", options.fit), _Tower(game.n_query, n_nodes, options, seeds[0], is_lifted))
    retrieved = _Tower(game.n_retrieved, n_nodes, options, seeds[1], is_lifted)
    for budget in _budgets(n_samples, game.n_players, options.tolerance):
        samples = query.sample(game.embed_query, budget, n_samples), retrieved.sample(game.embed_retrieved, budget, n_samples)
        towers = _lift_samples(game, *samples) if is_lifted else samples
        compute = partial(compute_index, within=options.within, share=share, n_evaluations=game.n_evaluations)
        result = compute(options.index, towers)
        if options.tolerance is not None and result.errors["between"].norm() <= options.tolerance * result["between"].norm():
            break
    if share is not combine:  # credit that is no interaction index
        return replace(result, index=None)
    models = [tower if isinstance(tower, TowerModel) else tower.model for tower in towers]
    return keep_sample(result, models, partial(compute, towers=models))


def _lift_samples(game: EmbeddedGame, query: TowerSample, retrieved: TowerSample) -> tuple[TowerModel, TowerModel]:
    """The models of both towers from embeddings whose inner products are the values of the game."""
    u, w = lift_scores(game.combine(query.embeddings, retrieved.embeddings))
    return query.make_model(u), retrieved.make_model(w)


def _budgets(n_samples: int, n_players: int, tolerance: float | None) -> list[int]:
    """The budget; with a tolerance, preceded by smaller ones, each twice the one before."""
    smaller = takewhile(lambda budget: budget < n_samples, (2 * n_players * 2**k for k in count()))
    return [*(smaller if tolerance is not None else ()), n_samples]


@dataclass
class _Tower:
    """The coalitions of a tower so far with their embeddings, and the samples by budget."""

    n_players: int
    n_nodes: int
    options: TowerOptions
    seed: int
    is_lifted: bool
    samples: dict[int, TowerSample] = field(default_factory=dict)
    drawn: tuple[Draws, Bool[Tensor, "rows players"], Tensor] | None = None

    def sample(self, embed: Embed, n_samples: int, most: int) -> TowerSample:
        """A sample of `n_samples` embeddings; all of them if `most` covers all coalitions."""
        n_samples = most if 2**self.n_players <= most + 2 else n_samples
        if n_samples not in self.samples:
            self.samples[n_samples] = self._draw(embed, n_samples)
        return self.samples[n_samples]

    def _draw(self, embed: Embed, n_samples: int) -> TowerSample:
        if 2**self.n_players <= n_samples + 2:
            return TowerSample(self.n_players, embed(all_coalitions(self.n_players)), EnumeratedTower)
        is_small = n_samples <= MOST_FOR_PROCESS and self.n_players <= MOST_PLAYERS_FOR_PROCESS
        if self.options.fit == "process" or (self.options.fit is None and is_small):
            rows, embeddings = self._rows(embed, n_samples)
            return TowerSample(self.n_players, embeddings, partial(ProcessTower, rows=rows))
        if self.options.within or self.options.tolerance is not None:
            raise ValueError(
                f"Expected at most {MOST_FOR_PROCESS} embeddings of {MOST_PLAYERS_FOR_PROCESS} players with within=True or a tolerance, "
                f"got {n_samples} of {self.n_players}. Lower n_samples, take fewer players, or pass fit='process'."
            )
        ends = self._embed_ends(embed, n_samples)
        chains = draw_chains(self.n_players, n_samples, torch.Generator().manual_seed(self.seed))
        return TowerSample(self.n_players, torch.cat([ends, embed(chains.coalitions[2:])]), partial(ChainedTower, sample=chains))

    def _rows(self, embed: Embed, n_samples: int) -> tuple[Bool[Tensor, "rows players"], Float[Tensor, "rows ..."]]:
        """Coalitions and their embeddings; the coalitions of smaller budgets come first."""
        if self.drawn is None:
            ends, rows = self._embed_ends(embed, n_samples), ends_and_singles(self.n_players)
            draws = Draws(self.n_players, torch.Generator().manual_seed(self.seed))
            self.drawn = draws, rows, torch.cat([ends, embed(rows[2:])])
        draws, rows, embeddings = self.drawn
        more = draws.more(n_samples + 2 - len(rows))
        if len(more):
            rows, embeddings = torch.cat([rows, more]), torch.cat([embeddings, embed(more)])
            self.drawn = draws, rows, embeddings
        return rows, embeddings

    def _embed_ends(self, embed: Embed, n_samples: int) -> Float[Tensor, "2 ..."]:
        """The embeddings without players and with all. Before more are computed, refuse tables that do not fit into memory.

        Both towers store their slopes and the covariances of slopes and rows; a lift has as many channels as there are coalitions.
        """
        embeddings = embed(torch.tensor([[False], [True]], device="cpu").expand(2, self.n_players))
        n_numbers = embeddings[0].numel()
        n_channels, n_curves = n_samples if self.is_lifted else n_numbers, self.n_players * max(self.n_players, self.n_nodes)
        needed = 16 * n_curves * (n_channels + min(n_samples, MOST_FOR_PROCESS)) + 8 * n_samples * n_numbers * self.is_lifted
        subject = f"the interactions of {self.n_players} players with {n_numbers} channels"
        refuse_beyond_memory(needed, subject, "Group them with a coarser mask, or take a deeper layer.", embeddings.device)
        return embeddings
