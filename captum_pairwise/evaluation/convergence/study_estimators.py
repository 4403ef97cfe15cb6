"""The estimators of this package that the convergence study compares."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.estimators.gaussian.joint_process import gaussian_process
from captum_pairwise.estimators.permutation_sampling import permutation
from captum_pairwise.estimators.regression.kernel_taylor import kernel_taylor
from captum_pairwise.estimators.towers.factorisation import TowerOptions, factorise
from captum_pairwise.results.interactions import Interactions

SecondOrder = Float[Tensor, "players players"]


@dataclass(frozen=True)
class Contender:
    """An estimator under the name that it has in tables.

    Attributes:
        estimate: from a game, a total budget and a seed, the matrix of all pairs; those within an image may be NaN.
        source: the package that it is from.
        needs_towers: whether it takes games of two towers, and a budget of passes, rather than opaque ones, and one of evaluations.
        is_slow: whether it runs on the first two seeds only.
    """

    estimate: Callable[[Any, int, int], SecondOrder]
    source: str
    needs_towers: bool = False
    is_slow: bool = False


def own(version: str) -> dict[str, Contender]:
    """The estimators of this package by name.

    Budgets are totals: what an estimator evaluates beside its `n_samples` is taken off first.
    """
    source = f"captum_pairwise {version}"
    return {
        "kernel": Contender(_kernel("distinct"), source),
        "kernel, paper-direct": Contender(_kernel("paper-direct"), source),
        "kernel, paper-weighting": Contender(_kernel("paper-weighting"), source),
        "permutations": Contender(_within_budget(permutation), source),
        "gaussian process": Contender(_within_budget(gaussian_process), source),
        "factorised": Contender(_factorised("process"), source, needs_towers=True),
        "factorised, chains": Contender(_factorised("chains"), source, needs_towers=True),
    }


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _between(found: Interactions) -> SecondOrder:
    between = found["between"][0]
    n_query, n_players = len(between), sum(between.shape)
    second = between.new_full((n_players, n_players), torch.nan)
    second[:n_query, n_query:] = between
    return second


def _within_budget(estimator: Callable[..., Interactions]) -> Callable[[Any, int, int], SecondOrder]:
    """For estimators whose `n_samples` are all that they evaluate."""

    def estimate(game: Any, budget: int, seed: int) -> SecondOrder:
        return estimator(game, budget, generator=_seeded(seed)).second_order[0]

    return estimate


def _kernel(sampling: str) -> Callable[[Any, int, int], SecondOrder]:
    """The kernel evaluates no player, one and all beside its `n_samples`."""

    def estimate(game: Any, budget: int, seed: int) -> SecondOrder:
        return kernel_taylor(game, budget - game.n_players - 2, sampling=sampling, generator=_seeded(seed)).second_order[0]

    return estimate


def _factorised(fit: str) -> Callable[[Any, int, int], SecondOrder]:
    """Half of the budget for each tower, of which two passes are for the full and the empty image."""

    def estimate(game: Any, budget: int, seed: int) -> SecondOrder:
        return _between(factorise(game, budget // 2 - 2, TowerOptions(fit=fit), generator=_seeded(seed)))

    return estimate
