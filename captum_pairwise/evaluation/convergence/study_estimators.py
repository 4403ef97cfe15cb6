"""The estimators that the convergence study compares: of this package, and of shapiq if it is installed."""

import contextlib
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise import __version__
from captum_pairwise.estimators.gaussian.joint_process import gaussian_process
from captum_pairwise.estimators.permutation_sampling import permutation
from captum_pairwise.estimators.regression.kernel_taylor import kernel_taylor
from captum_pairwise.estimators.towers.factorisation import TowerOptions, factorise
from captum_pairwise.interop import as_shapiq_game

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


def estimate_by_sampler(sampler: Callable[..., Any], game: Any, budget: int, seed: int) -> SecondOrder:
    """An estimator whose only budget is a number of evaluations."""
    return sampler(game, budget, generator=_make_generator(seed)).second_order[0]


def estimate_by_kernel(game: Any, budget: int, seed: int, sampling: str) -> SecondOrder:
    """The kernel. Besides its `n_samples` it evaluates no player, each single player, and all players."""
    n_samples = budget - game.n_players - 2
    return kernel_taylor(game, n_samples, sampling=sampling, generator=_make_generator(seed)).second_order[0]


def estimate_by_factorisation(game: Any, budget: int, seed: int, fit: str) -> SecondOrder:
    """The factorised estimator. Half of the budget is for each tower, and two passes of each half for the full and the empty image."""
    interactions = factorise(game, budget // 2 - 2, TowerOptions(fit=fit), generator=_make_generator(seed))
    second_order = torch.full((game.n_players, game.n_players), torch.nan, dtype=torch.float64, device="cpu")
    second_order[: game.n_query, game.n_query :] = interactions["between"][0]
    return second_order


def _make_generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


OWN_ESTIMATORS = {
    "kernel": StudyEstimator(partial(estimate_by_kernel, sampling="distinct")),
    "kernel, paper-direct": StudyEstimator(partial(estimate_by_kernel, sampling="paper-direct")),
    "kernel, paper-weighting": StudyEstimator(partial(estimate_by_kernel, sampling="paper-weighting")),
    "permutations": StudyEstimator(partial(estimate_by_sampler, permutation)),
    "gaussian process": StudyEstimator(partial(estimate_by_sampler, gaussian_process)),
    "factorised": StudyEstimator(partial(estimate_by_factorisation, fit="process"), needs_towers=True),
    "factorised, chains": StudyEstimator(partial(estimate_by_factorisation, fit="chains"), needs_towers=True),
}


@dataclass(frozen=True)
class ShapiqEstimator:
    """A class of shapiq.

    Attributes:
        name: of the class.
        settings: arguments of its constructor.
        needs: a package that it imports when it runs.
        is_slow: as in `StudyEstimator`.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    needs: str | None = None
    is_slow: bool = False


INDEX = {"index": "STII"}
SHAPIQ_ESTIMATORS = {
    "shapiq permutations": ShapiqEstimator("PermutationSamplingSTII"),
    "shapiq SHAPIQ": ShapiqEstimator("SHAPIQ", INDEX),
    "shapiq SHAPIQ, paired": ShapiqEstimator("SHAPIQ", INDEX | {"pairing_trick": True}),
    "shapiq SVARMIQ": ShapiqEstimator("SVARMIQ", INDEX),
    "shapiq SVARMIQ, paired": ShapiqEstimator("SVARMIQ", INDEX | {"pairing_trick": True}),
    "shapiq ProxySPEX": ShapiqEstimator("ProxySPEX", INDEX, "lightgbm", is_slow=True),
    "shapiq ProxySHAP": ShapiqEstimator("ProxySHAP", INDEX, "xgboost"),
    "shapiq ProxySHAP, adjusted": ShapiqEstimator("ProxySHAP", INDEX | {"adjustment": True, "k_folds": 5}, "xgboost"),
}


def find_shapiq_estimators() -> tuple[dict[str, StudyEstimator], list[str]]:
    """The installed estimators by name, and a sentence about each missing one."""
    if find_spec("shapiq") is None:
        return {}, ["shapiq's estimators: shapiq is not installed, pip install 'captum-pairwise[interop]'"]
    try:
        shapiq = import_module("shapiq")
    except ImportError as error:
        return {}, [f"shapiq's estimators: shapiq cannot be imported ({error})"]
    estimators, missing, release = {}, [], f"shapiq {version('shapiq')}"
    for name, entry in SHAPIQ_ESTIMATORS.items():
        if not hasattr(shapiq, entry.name):
            missing.append(f"{name}: {release} does not have it; newer versions may, on Python 3.12 or later")
        elif entry.needs is not None and find_spec(entry.needs) is None:
            missing.append(f"{name}: it needs {entry.needs}, pip install {entry.needs}")
        else:
            estimators[name] = StudyEstimator(
                partial(estimate_by_shapiq, getattr(shapiq, entry.name), entry.settings), release, is_slow=entry.is_slow
            )
    return estimators, missing


def estimate_by_shapiq(approximator: type, settings: dict[str, Any], game: Any, budget: int, seed: int) -> SecondOrder:
    """An approximator of shapiq."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():  # LightGBM prints every split
        warnings.simplefilter("ignore")
        method = approximator(n=game.n_players, max_order=2, random_state=seed, **settings)
        return torch.tensor(method.approximate(budget, as_shapiq_game(game)).get_n_order_values(2), dtype=torch.float64, device="cpu")
