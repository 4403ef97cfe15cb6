"""The factorised estimator: Shapley–Taylor indices of a two-tower game from coalitions of each tower alone."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count, takewhile

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from captum_pairwise.estimators.coalitions import all_coalitions
from captum_pairwise.estimators.draws import Draws, default_generator, ends_and_singles
from captum_pairwise.estimators.limits import refuse_beyond_memory, refuse_small_budget
from captum_pairwise.estimators.quadrature import Path, diagonal_path
from captum_pairwise.estimators.towers.chains import chain_summary, draw_chains
from captum_pairwise.estimators.towers.process_slopes import process_summary
from captum_pairwise.estimators.towers.summary import Shared, TowerSummary, combine, enumerate_tower, tower_interactions
from captum_pairwise.games.game import TwoTowerGame
from captum_pairwise.results.interactions import Interactions

FITS = ("process", "chains")
MOST_FOR_PROCESS, MOST_PLAYERS_FOR_PROCESS = 8192, 256  # a larger process, cubic in its rows, costs more time than it saves
Embed = Callable[[Tensor], Tensor]
Share = Callable[[TowerSummary, TowerSummary, Path], Shared]


@dataclass(frozen=True)
class TowerOptions:
    """Options of the estimate of a tower.

    Attributes:
        fit: `"process"` or `"chains"`; None takes the process for up to 8192 embeddings of 256 players.
        tolerance: stop at this root-mean-square standard error of the pairs, relative to the pairs; None uses the whole budget.
        within: True to estimate the pairs within an image.
    """

    fit: str | None = None
    tolerance: float | None = None
    within: bool = False

    def __post_init__(self) -> None:
        if self.fit is not None and self.fit not in FITS:
            raise ValueError(f"Expected fit to be one of {FITS} or None, got {self.fit!r}. Leave it out for the default.")
        if self.tolerance is not None and not self.tolerance > 0:
            raise ValueError(f"Expected a tolerance above 0, the relative error at which to stop, got {self.tolerance}. Raise it.")
        if self.fit == "chains" and (self.within or self.tolerance is not None):
            raise ValueError("Expected fit='process' with within=True or a tolerance, because chains support neither. Leave fit out.")


DEFAULT = TowerOptions()


def factorise(
    game: TwoTowerGame, n_samples: int, options: TowerOptions = DEFAULT, *, share: Share = combine, generator: torch.Generator | None = None
) -> Interactions:
    """Shapley–Taylor indices between the images, exact first order and Shapley values, from `n_samples` embeddings per tower.

    The expected slopes and means of each tower along the diagonal come from a Gaussian process on its coalitions, with the errors of its
    posterior, or from chains of growing coalitions, with jackknife errors. A tower whose coalitions all fit the budget is enumerated. If
    both are, the result is exact and its errors are 0. Games with the same query share the results of its tower.

    Args:
        game: the game.
        n_samples: embeddings per tower, beside the embeddings of the full and the empty image.
        options: how to estimate.
        share: `combine` for Shapley–Taylor indices, `combine_between` for credit of single players and pairs between the images only.
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
    generator, path = default_generator(generator), diagonal_path(game.n_players)
    seeds = torch.randint(2**62, (2,), generator=generator, device=generator.device).tolist()
    query = game.query_tables.setdefault(("factorised", options.fit, len(path.nodes)), _Tower(game.n_query, path, options, seeds[0]))
    retrieved = _Tower(game.n_retrieved, path, options, seeds[1])
    for budget in _budgets(n_samples, game.n_players, options.tolerance):
        u, w = query.summary(game.embed_query, budget, n_samples), retrieved.summary(game.embed_retrieved, budget, n_samples)
        credits, errors = share(u, w, path)
        if options.tolerance is not None and errors["between"].norm() <= options.tolerance * credits["between"].norm():
            break
    return tower_interactions(game, u, w, credits, errors, within=options.within)


def _budgets(n_samples: int, n_players: int, tolerance: float | None) -> list[int]:
    """The budget; with a tolerance, preceded by smaller ones, each twice the one before."""
    smaller = takewhile(lambda budget: budget < n_samples, (2 * n_players * 2**k for k in count()))
    return [*(smaller if tolerance is not None else ()), n_samples]


@dataclass
class _Tower:
    """The coalitions of a tower so far with their embeddings, and the summaries by budget."""

    n_players: int
    path: Path
    options: TowerOptions
    seed: int
    summaries: dict[int, TowerSummary] = field(default_factory=dict)
    drawn: tuple[Draws, Bool[Tensor, "rows players"], Tensor] | None = None

    def summary(self, embed: Embed, n_samples: int, most: int) -> TowerSummary:
        """The summary from `n_samples` embeddings; exact if `most` covers all coalitions."""
        n_samples = most if 2**self.n_players <= most + 2 else n_samples
        if n_samples not in self.summaries:
            self.summaries[n_samples] = self._summarise(embed, n_samples)
        return self.summaries[n_samples]

    def _summarise(self, embed: Embed, n_samples: int) -> TowerSummary:
        if 2**self.n_players <= n_samples + 2:
            return enumerate_tower(embed(all_coalitions(self.n_players)), self.path)
        is_small = n_samples <= MOST_FOR_PROCESS and self.n_players <= MOST_PLAYERS_FOR_PROCESS
        if self.options.fit == "process" or (self.options.fit is None and is_small):
            return process_summary(*self._rows(embed, n_samples), self.path)
        if self.options.within or self.options.tolerance is not None:
            raise ValueError(
                f"Expected at most {MOST_FOR_PROCESS} embeddings of {MOST_PLAYERS_FOR_PROCESS} players with within=True or a tolerance, "
                f"got {n_samples} of {self.n_players}. Lower n_samples, take fewer players, or pass fit='process'."
            )
        ends = self._embed_ends(embed, n_samples)
        sample = draw_chains(self.n_players, n_samples, torch.Generator().manual_seed(self.seed))
        return chain_summary(sample, torch.cat([ends, embed(sample.coalitions[2:])]), self.path)

    def _rows(self, embed: Embed, n_samples: int) -> tuple[Bool[Tensor, "rows players"], Float[Tensor, "rows channels"]]:
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

    def _embed_ends(self, embed: Embed, n_samples: int) -> Float[Tensor, "2 channels"]:
        """The embeddings without players and with all. Before more are computed, refuse tables that do not fit into memory.

        Both towers store their slopes and the covariances of slopes and rows.
        """
        embeddings = embed(torch.tensor([[False], [True]], device="cpu").expand(2, self.n_players))
        curves, n_channels = self.n_players * max(self.n_players, len(self.path.nodes)), embeddings.shape[1]
        needed = 16 * curves * (n_channels + min(n_samples, MOST_FOR_PROCESS))
        subject = f"the interactions of {self.n_players} players with {n_channels} channels"
        refuse_beyond_memory(needed, subject, "Group them with a coarser mask, or take a deeper layer.", embeddings.device)
        return embeddings
