"""Models of a tower: what its embedding does at coalitions that were not embedded."""

import abc
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import final

from jaxtyping import Bool, Float
from torch import Tensor

from captum_pairwise.estimators.gaussian.covariance import CoalitionKernel
from captum_pairwise.estimators.gaussian.process import condition_process, fit_kernel
from captum_pairwise.estimators.index_path import Nodes
from captum_pairwise.estimators.regression.tower_regression import regress_tower
from captum_pairwise.estimators.towers.chains import Sample, chain_summary
from captum_pairwise.estimators.towers.process_slopes import process_summary
from captum_pairwise.estimators.towers.summary import Curves, TowerSummary, enumerate_tower


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


RATES_OF_LIKELIHOOD = 0.7  # chosen for the coverage of standard errors on superpixels (`tutorials/measurements/standard_errors.py`)


@final
@dataclass(frozen=True)
class ProcessTower(TowerModel):
    """A Gaussian process with a smooth kernel; it is conditioned anew in each call, because its matrices are large."""

    rows: Bool[Tensor, "rows players"]

    @property
    def n_players(self) -> int:
        """The number of players."""
        return self.rows.shape[1]

    @cached_property
    def kernel(self) -> CoalitionKernel:
        """The most likely kernel, with smaller rates.

        The likelihood weighs all directions of the embedding equally. Pairs depend on the directions in which the players move it, and
        networks are smoother there.
        """
        kernel = fit_kernel(self.rows, self.embeddings)
        return replace(kernel, smooth=replace(kernel.smooth, rates=RATES_OF_LIKELIHOOD * kernel.smooth.rates))

    def summarise(self, nodes: Nodes) -> TowerSummary:
        """The posterior mean and variance."""
        return process_summary(condition_process(self.kernel, self.rows, self.embeddings), self.embeddings, nodes)


@final
@dataclass(frozen=True)
class RegressedTower(TowerModel):
    """A linear regression on coalitions in which every player is present with one probability, as FIxLIP has it, without errors."""

    rows: Bool[Tensor, "rows players"]

    @property
    def n_players(self) -> int:
        """The number of players."""
        return self.rows.shape[1]

    def summarise(self, nodes: Nodes) -> TowerSummary:
        """The summary of the linear function; the first two rows are the ends, which it does not see."""
        fit = regress_tower(self.rows[2:], self.embeddings[2:])
        mean = fit.intercept + nodes.to(fit.intercept)[:, None] * fit.slopes.sum(0)
        slopes = fit.slopes[:, None].expand(-1, len(nodes), -1)
        return TowerSummary(self.embeddings[0], self.embeddings[1], Curves(slopes), Curves(mean[None]))


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
