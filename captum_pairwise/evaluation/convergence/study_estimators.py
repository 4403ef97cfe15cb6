"""The estimators of this package that the convergence study compares."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise import __version__
from captum_pairwise.estimators.gaussian.joint_process import gaussian_process
from captum_pairwise.estimators.permutation_sampling import permutation
from captum_pairwise.estimators.regression.kernel_taylor import kernel_taylor
from captum_pairwise.estimators.towers.factorisation import TowerOptions, factorise

SecondOrder = Float[Tensor, "players players"]
SOURCE = f"captum_pairwise {__version__}"


@dataclass(frozen=True)
class StudyEstimator:
    """An estimator of the study.

    Attributes:
        estimate: from a game, a total budget and a seed, the matrix of all pairs; pairs within an image may be NaN.
        source: its package.
        needs_towers: True if it needs games of two towers; its budget then counts passes, not evaluations.
        is_slow: True if it runs only on the first two seeds.
    """

    estimate: Callable[[Any, int, int], SecondOrder]
    source: str = SOURCE
    needs_towers: bool = False
    is_slow: bool = False


def estimate_by_permutations(game: Any, budget: int, seed: int) -> SecondOrder:
    """Permutation sampling."""
    return permutation(game, budget, generator=_make_generator(seed)).second_order[0]


def estimate_by_process(game: Any, budget: int, seed: int) -> SecondOrder:
    """The Gaussian process."""
    return gaussian_process(game, budget, generator=_make_generator(seed)).second_order[0]


def use_kernel(sampling: str) -> Callable[[Any, int, int], SecondOrder]:
    """The kernel. Besides its `n_samples` it evaluates no player, each single player, and all players."""

    def estimate(game: Any, budget: int, seed: int) -> SecondOrder:
        n_samples = budget - game.n_players - 2
        return kernel_taylor(game, n_samples, sampling=sampling, generator=_make_generator(seed)).second_order[0]

    return estimate


def use_factorised(fit: str) -> Callable[[Any, int, int], SecondOrder]:
    """The factorised estimator. Half of the budget is for each tower, and two passes of each half for the full and the empty image."""

    def estimate(game: Any, budget: int, seed: int) -> SecondOrder:
        interactions = factorise(game, budget // 2 - 2, TowerOptions(fit=fit), generator=_make_generator(seed))
        second_order = torch.full((game.n_players, game.n_players), torch.nan, dtype=torch.float64)
        second_order[: game.n_query, game.n_query :] = interactions["between"][0]
        return second_order

    return estimate


def _make_generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


OWN_ESTIMATORS = {
    "kernel": StudyEstimator(use_kernel("distinct")),
    "kernel, paper-direct": StudyEstimator(use_kernel("paper-direct")),
    "kernel, paper-weighting": StudyEstimator(use_kernel("paper-weighting")),
    "permutations": StudyEstimator(estimate_by_permutations),
    "gaussian process": StudyEstimator(estimate_by_process),
    "factorised": StudyEstimator(use_factorised("process"), needs_towers=True),
    "factorised, chains": StudyEstimator(use_factorised("chains"), needs_towers=True),
}
