"""The sample of a tower: which coalitions are embedded, and the model of all others."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from numbers import Real

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from captum_pairwise.estimators.coalitions import all_coalitions
from captum_pairwise.estimators.draws import Draws, empty_and_full, ends_and_singles
from captum_pairwise.estimators.independent_presence import draw_present
from captum_pairwise.estimators.limits import refuse_beyond_memory
from captum_pairwise.estimators.prediction_fit import HeldOut, draw_held_out, take_enumerated
from captum_pairwise.estimators.towers.chains import draw_chains
from captum_pairwise.estimators.towers.models import ChainedTower, EnumeratedTower, ProcessTower, RegressedTower, TowerSample
from captum_pairwise.results.index import BANZHAF, TAYLOR_INDEX, Index

FITS = ("process", "chains", "regression")
MOST_FOR_PROCESS, MOST_PLAYERS_FOR_PROCESS = 8192, 256  # a larger process, cubic in its rows, costs more time than it saves
CHAINED_PER_PART = 40  # embeddings of an affine tower; with fewer the process has the smaller error
Embed = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class TowerOptions:
    """Options of the estimate of a tower.

    Attributes:
        fit: `"process"`, `"chains"` or `"regression"`. None takes the process, but chains for more than 8192 embeddings or 256 players, and
            for an affine tower with 40 or more embeddings for each player. Only the process has `within` and a tolerance.
        tolerance: stop at this root-mean-square standard error of the pairs, relative to the pairs; None uses the whole budget.
        within: True to estimate the pairs within an image.
        index: the interaction index.
        held_out: the number of coalitions of each tower, beside the budget, that measure the prediction.
    """

    fit: str | None = None
    tolerance: float | None = None
    within: bool = False
    index: Index = TAYLOR_INDEX
    held_out: int = 0

    @property
    def needs_process(self) -> bool:
        """True if only the process can do what the options ask for."""
        return self.within or self.tolerance is not None

    def __post_init__(self) -> None:
        if self.fit is not None and self.fit not in FITS:
            raise ValueError(f"Expected fit to be one of {FITS} or None, got {self.fit!r}. Leave it out for the default.")
        if self.tolerance is not None and not (isinstance(self.tolerance, Real) and self.tolerance > 0):
            raise ValueError(f"Expected a tolerance above 0, the relative error at which to stop, got {self.tolerance!r}. Raise it.")
        if self.fit in ("chains", "regression") and self.needs_process:
            raise ValueError(f"Expected fit='process' with within=True or a tolerance, because {self.fit} supports neither. Leave fit out.")
        if self.fit == "regression" and self.index.name != BANZHAF:
            raise ValueError(f"Expected index='banzhaf' with fit='regression', which estimates no other, got {self.index}. Leave fit out.")


DEFAULT_OPTIONS = TowerOptions()


@dataclass
class SampledTower:
    """The coalitions of a tower so far with their embeddings, and the samples by budget."""

    n_players: int
    n_nodes: int
    options: TowerOptions
    p: float
    seed: int
    is_lifted: bool
    is_affine: bool = False
    samples: dict[int, TowerSample] = field(default_factory=dict)
    drawn: tuple[Draws, Bool[Tensor, "rows players"], Tensor] | None = None
    held_out: HeldOut | None = None

    def sample(self, embed: Embed, n_samples: int, most: int) -> TowerSample:
        """A sample of `n_samples` embeddings; all of them if `most` covers all coalitions."""
        n_samples = most if 2**self.n_players <= most + 2 else n_samples
        if n_samples not in self.samples:
            self.samples[n_samples] = self._draw(embed, n_samples)
        return self.samples[n_samples]

    def hold_out(self, embed: Embed, most: int) -> HeldOut | None:
        """Coalitions that no sample has, or all of them if `most` covers them; None if the options ask for none."""
        if self.held_out is None and 2**self.n_players <= most + 2:
            embeddings = self.sample(embed, most, most).embeddings
            self.held_out = take_enumerated(embeddings, self.p, torch.Generator().manual_seed(self.seed))
        elif self.held_out is None and self.options.held_out:
            generator = torch.Generator().manual_seed(self.seed ^ 1)
            self.held_out = draw_held_out(embed, self.n_players, self.options.held_out, self.p, generator)
        return self.held_out

    def _draw(self, embed: Embed, n_samples: int) -> TowerSample:
        if 2**self.n_players <= n_samples + 2:
            return TowerSample(self.n_players, embed(all_coalitions(self.n_players)), EnumeratedTower)
        if self._takes_process(n_samples):
            rows, embeddings = self._rows(embed, n_samples)
            return TowerSample(self.n_players, embeddings, partial(ProcessTower, rows=rows))
        if self.options.fit == "regression":
            rows = draw_present(self.n_players, n_samples, self.p, torch.Generator().manual_seed(self.seed))
            embeddings = torch.cat([self._embed_ends(embed, n_samples), embed(rows)])
            return TowerSample(self.n_players, embeddings, partial(RegressedTower, rows=torch.cat([empty_and_full(self.n_players), rows])))
        if self.options.needs_process:
            raise ValueError(
                f"Expected at most {MOST_FOR_PROCESS} embeddings of {MOST_PLAYERS_FOR_PROCESS} players with within=True or a tolerance, "
                f"got {n_samples} of {self.n_players}. Lower n_samples, take fewer players, or pass fit='process'."
            )
        ends = self._embed_ends(embed, n_samples)
        chains = draw_chains(self.n_players, n_samples, torch.Generator().manual_seed(self.seed))
        return TowerSample(self.n_players, torch.cat([ends, embed(chains.coalitions[2:])]), partial(ChainedTower, sample=chains))

    def _takes_process(self, n_samples: int) -> bool:
        """True if the estimate is a Gaussian process: see `TowerOptions.fit`."""
        is_small = n_samples <= MOST_FOR_PROCESS and self.n_players <= MOST_PLAYERS_FOR_PROCESS
        has_chains = self.is_affine and n_samples >= CHAINED_PER_PART * self.n_players
        suits = is_small and (self.options.needs_process or not has_chains)
        return self.options.fit == "process" or (self.options.fit is None and suits)

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

        Both towers store their slopes. A process also stores the covariances of slopes and rows. A lift has a channel for each coalition.
        """
        embeddings = embed(empty_and_full(self.n_players))
        n_numbers = embeddings[0].numel()
        n_channels, n_curves = n_samples if self.is_lifted else n_numbers, self.n_players * max(self.n_players, self.n_nodes)
        n_covariances = min(n_samples, MOST_FOR_PROCESS) if self._takes_process(n_samples) else 0
        needed = 16 * n_curves * (n_channels + n_covariances) + 8 * n_samples * n_numbers * self.is_lifted
        subject = f"the interactions of {self.n_players} players with {n_numbers} channels"
        refuse_beyond_memory(needed, subject, "Group them with a coarser mask, or take a deeper layer.", embeddings.device)
        return embeddings
