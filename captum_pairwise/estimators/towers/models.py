"""Models of a tower: what its embedding does at coalitions that were not embedded."""

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import final

from jaxtyping import Bool, Float
from torch import Tensor

from captum_pairwise.estimators.gaussian.covariance import CoalitionKernel
from captum_pairwise.estimators.gaussian.process import condition_process, fit_kernel
from captum_pairwise.estimators.index_path import Nodes, make_index_path
from captum_pairwise.estimators.towers.chains import Sample, chain_summary
from captum_pairwise.estimators.towers.indices import Share, combine, tower_interactions
from captum_pairwise.estimators.towers.process_slopes import process_summary
from captum_pairwise.estimators.towers.summary import TowerSummary, enumerate_tower
from captum_pairwise.results.index import Index
from captum_pairwise.results.interactions import Interactions

MOST_KEPT = 2**26  # bytes of the embeddings of a pair that its result keeps


@dataclass(frozen=True)
class TowerModel(abc.ABC):
    """The embeddings of some coalitions, and a rule for all others.

    Attributes:
        embeddings: the embedded coalitions.
    """

    embeddings: Float[Tensor, "rows channels"]

    @property
    @abc.abstractmethod
    def n_players(self) -> int:
        """The number of players."""

    @abc.abstractmethod
    def summarise(self, nodes: Nodes) -> TowerSummary:
        """The summary of the tower at these nodes."""


@final
@dataclass(frozen=True)
class EnumeratedTower(TowerModel):
    """All coalitions, in the order of `all_coalitions`."""

    @property
    def n_players(self) -> int:
        """The number of players."""
        return len(self.embeddings).bit_length() - 1

    def summarise(self, nodes: Nodes) -> TowerSummary:
        """The exact summary."""
        return enumerate_tower(self.embeddings, nodes)


@final
@dataclass(frozen=True)
class ChainedTower(TowerModel):
    """Chains of growing coalitions, averaged."""

    sample: Sample

    @property
    def n_players(self) -> int:
        """The number of players."""
        return self.sample.coalitions.shape[1]

    def summarise(self, nodes: Nodes) -> TowerSummary:
        """The means over coalition sizes."""
        return chain_summary(self.sample, self.embeddings, nodes)


@final
@dataclass(frozen=True)
class ProcessTower(TowerModel):
    """A Gaussian process with the most likely kernel; it is conditioned anew in each call, because its matrices are large."""

    rows: Bool[Tensor, "rows players"]

    @property
    def n_players(self) -> int:
        """The number of players."""
        return self.rows.shape[1]

    @cached_property
    def kernel(self) -> CoalitionKernel:
        """The most likely kernel."""
        return fit_kernel(self.rows, self.embeddings)

    def summarise(self, nodes: Nodes) -> TowerSummary:
        """The posterior mean and variance."""
        return process_summary(condition_process(self.kernel, self.rows, self.embeddings), self.embeddings, nodes)


@dataclass(frozen=True)
class TowerSample:
    """The embeddings of some coalitions of a tower as the network returns them, and the model that they make.

    Attributes:
        n_players: the number of players.
        embeddings: what the tower returned for each coalition.
        make_model: a function from embeddings `[rows, channels]` of these coalitions to a model.
    """

    n_players: int
    embeddings: Float[Tensor, "rows ..."]
    make_model: Callable[[Tensor], TowerModel]
    _summaries: dict[tuple[float, ...], TowerSummary] = field(default_factory=dict)

    @cached_property
    def model(self) -> TowerModel:
        """The model of the embeddings as they are."""
        return self.make_model(self.embeddings)

    def summarise(self, nodes: Nodes) -> TowerSummary:
        """The summary of the model at these nodes; it is kept for other games with the same tower."""
        key = tuple(nodes.tolist())
        if key not in self._summaries:
            self._summaries[key] = self.model.summarise(nodes)
        return self._summaries[key]


def compute_index(
    index: Index,
    towers: Sequence[TowerModel | TowerSample],
    *,
    within: bool,
    n_evaluations: int,
    share: Share = combine,
    has_errors: bool = True,
) -> Interactions:
    """The interactions of this index from both towers, a batch of one."""
    (query, retrieved), (n_query, n_retrieved) = towers, (tower.n_players for tower in towers)
    path = make_index_path(index, n_query + n_retrieved)
    u, w = query.summarise(path.query), retrieved.summarise(path.retrieved)
    return tower_interactions(u, w, share(u, w, path, within), index, n_evaluations, has_errors=has_errors)


def keep_sample(result: Interactions, towers: Sequence[TowerModel], compute: Callable[[Index], Interactions]) -> Interactions:
    """The interactions with the way to other indices, if the embeddings are not too large to be kept."""
    is_small = sum(tower.embeddings.nbytes for tower in towers) <= MOST_KEPT
    return replace(result, sources=(compute,)) if is_small else result
