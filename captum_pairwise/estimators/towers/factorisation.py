"""The factorised estimator: Shapley–Taylor indices of a two-tower game from coalitions of each tower alone."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count, takewhile

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from captum_pairwise.estimators.coalitions import all_coalitions
from captum_pairwise.estimators.draws import Draws, ends_and_singles, refuse_too_few
from captum_pairwise.estimators.enumeration import enumerate_tower
from captum_pairwise.estimators.quadrature import Path, diagonal_path
from captum_pairwise.estimators.towers import chains
from captum_pairwise.estimators.towers.chain_slopes import chain_summary
from captum_pairwise.estimators.towers.process_slopes import process_summary
from captum_pairwise.estimators.towers.summary import Shared, TowerSummary, combine
from captum_pairwise.games.game import TwoTowerGame
from captum_pairwise.network.batching import get_memory_bytes
from captum_pairwise.results.interactions import Credits, Interactions

FITS = ("process", "chains")
MOST_FOR_PROCESS, MOST_PLAYERS_FOR_PROCESS = 8192, 256  # beyond these, cubes of numbers of rows take longer than they save
Embed = Callable[[Tensor], Tensor]
Share = Callable[[TowerSummary, TowerSummary, Path], Shared]


@dataclass(frozen=True)
class TowerOptions:
    """How a tower is estimated, and how well.

    Attributes:
        fit: `"process"` or `"chains"`; None takes the process up to 8192 embeddings of 256 players.
        tolerance: stop at this root-mean-square standard error of the pairs, relative to the pairs; None uses the whole budget.
        within: whether to estimate the pairs within an image.
    """

    fit: str | None = None
    tolerance: float | None = None
    within: bool = False

    def __post_init__(self) -> None:
        if self.fit is not None and self.fit not in FITS:
            raise ValueError(f"Expected fit to be one of {FITS} or None, got {self.fit!r}.")
        if self.tolerance is not None and not self.tolerance > 0:
            raise ValueError(f"Expected a tolerance above 0, the relative error at which to stop, got {self.tolerance}.")
        if self.fit == "chains" and (self.within or self.tolerance is not None):
            raise ValueError("Expected fit='process' with within=True or a tolerance, because chains know neither. Leave fit out.")


DEFAULT = TowerOptions()


def factorise(
    game: TwoTowerGame,
    n_samples: int,
    options: TowerOptions = DEFAULT,
    *,
    share: Share = combine,
    generator: torch.Generator | None = None,
) -> Interactions:
    """Shapley–Taylor indices between the images, exact first order and Shapley values, from `n_samples` embeddings per tower.

    Each tower's expected slopes and means along the diagonal come from a Gaussian process on its coalitions, with the errors of
    its posterior, or from chains of growing coalitions, with a jackknife's. A tower whose coalitions all fit the budget is
    enumerated; with both, the result is exact and the errors 0. Games of the same query share what was computed of it.

    Args:
        game: the game.
        n_samples: embeddings per tower, beside those of the full and the empty image.
        options: how to estimate.
        share: `combine` for Shapley–Taylor indices, `combine_between` for the credit of pairs between the images alone.
        generator: the source of randomness; one seeded with 0 if None.

    Raises:
        ValueError: the budget is too small for the number of players, or an option does not fit.

    >>> bilinear = TwoTowerGame(2, 1, lambda z: z * torch.tensor([1.0, 2.0]), lambda z: 5.0 * z.expand(-1, 2))
    >>> factorise(bilinear, 2).between
    tensor([[[ 5.],
             [10.]]])
    """
    generator = generator if generator is not None else torch.Generator().manual_seed(0)
    path = diagonal_path(game.n_players)
    seeds = torch.randint(2**62, (2,), generator=generator, device=generator.device).tolist()
    query = game.query_tables.setdefault(("factorised", options.fit, len(path.nodes)), _Tower(game.n_query, path, options, seeds[0]))
    retrieved = _Tower(game.n_retrieved, path, options, seeds[1])
    for budget in _budgets(n_samples, game.n_players, options.tolerance):
        u, w = query.summary(game.embed_query, budget, n_samples), retrieved.summary(game.embed_retrieved, budget, n_samples)
        credits, errors = share(u, w, path)
        if options.tolerance is not None and errors["between"].norm() <= options.tolerance * credits["between"].norm():
            break
    return replace(
        _tower_interactions(u, w, credits, errors, game),
        within_query=_within_block(u, w, path, options),
        within_retrieved=_within_block(w, u, path, options),
    )


def _tower_interactions(
    query: TowerSummary, retrieved: TowerSummary, credits: Credits, errors: Credits, game: TwoTowerGame
) -> Interactions:
    return Interactions(
        n_query=game.n_query,
        empty=(query.empty @ retrieved.empty)[None],
        full=(query.full @ retrieved.full)[None],
        first_order=credits.first_order,
        marginal=credits.marginal,
        between=credits.between,
        standard_error=errors,
        n_evaluations=torch.tensor([game.n_evaluations]),
    )


def _budgets(n_samples: int, n_players: int, tolerance: float | None) -> list[int]:
    """The budget; with a tolerance, first smaller ones, doubling."""
    smaller = takewhile(lambda budget: budget < n_samples, (2 * n_players * 2**k for k in count()))
    return [*(smaller if tolerance is not None else ()), n_samples]


def _within_block(own: TowerSummary, other: TowerSummary, path: Path, options: TowerOptions) -> Float[Tensor, "1 players players"] | None:
    return own.within(other.mean.values[0], path)[None] if options.within and own.within is not None else None


@dataclass
class _Tower:
    """A tower's coalitions so far and their embeddings, and the summaries made of them by budget."""

    n_players: int
    path: Path
    options: TowerOptions
    seed: int
    summaries: dict[int, TowerSummary] = field(default_factory=dict)
    drawn: tuple[Draws, Bool[Tensor, "rows players"], Tensor] | None = None

    def summary(self, embed: Embed, n_samples: int, most: int) -> TowerSummary:
        """The summary from so many embeddings; exact where `most` covers all coalitions."""
        n_samples = most if 2**self.n_players <= most + 2 else n_samples
        if n_samples not in self.summaries:
            self.summaries[n_samples] = self._summary(embed, n_samples)
        return self.summaries[n_samples]

    def _summary(self, embed: Embed, n_samples: int) -> TowerSummary:
        if 2**self.n_players <= n_samples + 2:
            return enumerate_tower(embed(all_coalitions(self.n_players)), self.path)
        refuse_too_few(n_samples, self.n_players)
        is_small = n_samples <= MOST_FOR_PROCESS and self.n_players <= MOST_PLAYERS_FOR_PROCESS
        if self.options.fit == "process" or (self.options.fit is None and is_small):
            return process_summary(*self._rows(embed, n_samples), self.path)
        if self.options.within or self.options.tolerance is not None:
            raise ValueError(
                f"Expected at most {MOST_FOR_PROCESS} embeddings of {MOST_PLAYERS_FOR_PROCESS} players with within=True or a tolerance, "
                f"got {n_samples} of {self.n_players}. Lower n_samples, take fewer players, or ask for fit='process'."
            )
        ends = self._ends(embed, n_samples)
        sample = chains.draw_chains(self.n_players, n_samples, torch.Generator().manual_seed(self.seed))
        return chain_summary(sample, torch.cat([ends, embed(sample.coalitions[2:])]), self.path)

    def _rows(self, embed: Embed, n_samples: int) -> tuple[Bool[Tensor, "rows players"], Float[Tensor, "rows channels"]]:
        """Coalitions and their embeddings, those of smaller budgets first."""
        if self.drawn is None:
            ends, rows = self._ends(embed, n_samples), ends_and_singles(self.n_players)
            draws = Draws(self.n_players, torch.Generator().manual_seed(self.seed))
            self.drawn = draws, rows, torch.cat([ends, embed(rows[2:])])
        draws, rows, embeddings = self.drawn
        more = draws.more(n_samples + 2 - len(rows))
        if len(more):
            rows, embeddings = torch.cat([rows, more]), torch.cat([embeddings, embed(more)])
            self.drawn = draws, rows, embeddings
        return rows, embeddings

    def _ends(self, embed: Embed, n_samples: int) -> Float[Tensor, "2 channels"]:
        """The embeddings of no player and of all; refuse tables that do not fit before there are any more.

        Both towers hold their slopes, and what rows and slopes have to do with each other.
        """
        embeddings = embed(torch.tensor([[False], [True]]).expand(2, self.n_players))
        curves, n_channels = self.n_players * max(self.n_players, len(self.path.nodes)), embeddings.shape[1]
        needed, has = 16 * curves * (n_channels + min(n_samples, MOST_FOR_PROCESS)), get_memory_bytes(embeddings.device)
        if needed > has:
            raise ValueError(
                f"Expected fewer players: the interactions of {self.n_players} players with {n_channels} channels need "
                f"{needed / 2**30:.0f} GiB, and there are {has / 2**30:.0f} GiB. Group them with a coarser mask, or take a deeper layer."
            )
        return embeddings
