"""The options of integrated Hessians, with or without a layer, and their estimate."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from numbers import Real

import torch

from captum_pairwise.attr.base import CompleteMethod
from captum_pairwise.attr.gradient import GradientMethod, make_path
from captum_pairwise.attr.randomness import average_draws
from captum_pairwise.estimators.index_path import EXPONENTS
from captum_pairwise.estimators.paths.continuous_index import WEIGHTS, gauss_index, random_index
from captum_pairwise.estimators.paths.independent import integrate_towers
from captum_pairwise.estimators.paths.integrated import integrate_with_maps
from captum_pairwise.files.arguments import check_count
from captum_pairwise.games.game import Game
from captum_pairwise.games.pairs import Pairs
from captum_pairwise.network.smooth_relu import smooth_relu
from captum_pairwise.results.index import Probability, parse_index
from captum_pairwise.results.interactions import Interactions

METHODS = ("gauss", "expected")
HESSIAN, INDEPENDENT = "hessian", "independent"
N_STEPS = 16
N_SAMPLES = 1000
TOLERANCE = 0.01


class HessianMethod(CompleteMethod, GradientMethod):
    """The options of both classes, and the estimate.

    Attributes:
        weight: `"hessian"`, `"taylor"` or `"independent"`; with another index it is not used.
        index: the interaction index, or None for credit that is none.
        within: True for the pairs within each image.
        softplus_beta: the sharpness of the softplus that replaces each ReLU, or None.
        tolerance: the relative error of pairs of more than 64 parts; None computes them exactly.
    """

    order = 2

    def _set_options(
        self, weight: str, index: str | None, p: Probability, within: bool, softplus_beta: float | None, tolerance: float | None
    ) -> None:
        if weight not in (*WEIGHTS, INDEPENDENT):
            raise ValueError(f"Expected weight to be one of {sorted([*WEIGHTS, INDEPENDENT])}, got {weight!r}. Other indices have `index`.")
        if index is not None and weight != HESSIAN:
            raise ValueError(f"Expected a weight or an index, got weight={weight!r} and index={index!r}. Leave one of them out.")
        if within and weight == INDEPENDENT:
            raise ValueError("Expected no `within` with weight='independent', because each image has its own path. Leave it out.")
        self.weight, self.index = weight, WEIGHTS.get(weight) if index is None else parse_index(index, p)
        if tolerance is not None and not (isinstance(tolerance, Real) and tolerance > 0):
            raise ValueError(
                f"Expected a tolerance above 0, the relative error of the pairs, or None for none, got {tolerance!r}. Raise it."
            )
        self.within, self.softplus_beta, self.tolerance = within, softplus_beta, tolerance
        self._smooth()  # refuses a `softplus_beta` out of range

    def _smooth(self) -> AbstractContextManager:
        """The context in which every ReLU is a softplus, if the user wants this."""
        return nullcontext() if self.softplus_beta is None else smooth_relu(self.softplus_beta)

    def _integrate(
        self, build: Callable[[], Pairs], n_steps: int, method: str, n_samples: int | None, generator: torch.Generator | None
    ) -> Interactions:
        """Build and integrate the games; wrong arguments are refused before the network runs."""
        n_samples = self._check_samples(method, n_samples)
        estimate = self._choose_estimate(n_steps, n_samples, generator)
        with self._smooth():
            return average_draws(self.forward_func, lambda: build().explain(estimate))

    def _check_samples(self, method: str, n_samples: int | None) -> int | None:
        """The number of random points; None for Gauss nodes."""
        if method not in METHODS:
            raise ValueError(f"Expected method to be one of {METHODS}, got {method!r}. Captum's names are for first order.")
        is_random = method == "expected"
        if is_random and (self.weight == INDEPENDENT or (self.index is not None and self.index.name not in EXPONENTS)):
            name = self.weight if self.index is None else self.index.name
            raise ValueError(f"Expected method='gauss' for {name!r}, which is no mean over points of one path. Leave the method out.")
        n_samples = None if n_samples is None else check_count(n_samples, "n_samples")
        if n_samples is not None and (not is_random or n_samples < 2):
            raise ValueError(
                f"Expected n_samples of at least 2 with method='expected', got {n_samples} with method={method!r}. The other method takes "
                "n_steps."
            )
        return (n_samples or N_SAMPLES) if is_random else None

    def _choose_estimate(self, n_steps: int, n_samples: int | None, generator: torch.Generator | None) -> Callable[[Game], Interactions]:
        """The function from a game to its interactions."""
        path = make_path("gausslegendre", n_steps)
        if self.weight == INDEPENDENT:
            return partial(integrate_towers, path=path)
        is_random = n_samples is not None
        nodes = gauss_index(self.index, n_steps) if n_samples is None else random_index(self.index, n_samples, generator, n_steps)
        return partial(integrate_with_maps, index=nodes, path=path, within=self.within, is_random=is_random, tolerance=self.tolerance)
