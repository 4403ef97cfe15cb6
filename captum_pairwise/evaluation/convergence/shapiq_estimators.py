"""The estimators of Shapley–Taylor indices in shapiq, if it is installed."""

import contextlib
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import torch

from captum_pairwise.evaluation.convergence.study_estimators import SecondOrder, StudyEstimator
from captum_pairwise.interop import as_shapiq_game


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
            estimators[name] = StudyEstimator(use_approximator(getattr(shapiq, entry.name), entry), release, is_slow=entry.is_slow)
    return estimators, missing


def use_approximator(approximator: type, entry: ShapiqEstimator) -> Callable[[Any, int, int], SecondOrder]:
    """An approximator of shapiq as an estimator of the study."""

    def estimate(game: Any, budget: int, seed: int) -> SecondOrder:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():  # LightGBM prints every split
            warnings.simplefilter("ignore")
            method = approximator(n=game.n_players, max_order=2, random_state=seed, **entry.settings)
            return torch.tensor(method.approximate(budget, as_shapiq_game(game)).get_n_order_values(2), dtype=torch.float64)

    return estimate
