"""Run a plan, and the one that follows if its pairs do not predict what both images change together."""

from dataclasses import dataclass, replace
from math import isnan, nan

import torch

from captum_pairwise.attr.base import LayerPairAttribution
from captum_pairwise.attr.integrated_hessians import IntegratedHessians, LayerIntegratedHessians
from captum_pairwise.attr.randomness import make_context
from captum_pairwise.estimators.paths.derivatives import NoGradientError
from captum_pairwise.estimators.prediction_fit import centre_prediction, measure_pairs, measure_prediction
from captum_pairwise.explanations.plan import Plan
from captum_pairwise.games.build import share_pairs
from captum_pairwise.games.context import ForwardFunc, Images
from captum_pairwise.games.game import EmbeddedGame, Game
from captum_pairwise.results.interactions import Interactions
from captum_pairwise.results.selection import take_pair

LEAST_PREDICTED = 0.9  # share of what both images change together; pairs along a path that predict less are wrong
LAYER_COALITIONS, INPUT_COALITIONS = 64, 16  # held out; after a layer only the tail of the network runs
PATHS = (IntegratedHessians, LayerIntegratedHessians)


@dataclass(frozen=True)
class PlanRun:
    """The results of a plan.

    Attributes:
        plan: the plan that was kept.
        pairs: the result of each pair, with `r2` where its credits predict the similarity.
        games: the game of each pair.
        is_checked: True if the pairs come from a path and predict what both images change together.
    """

    plan: Plan
    pairs: list[Interactions]
    games: list[Game]
    is_checked: bool = False

    @property
    def n_coalitions(self) -> int:
        """The number of coalitions that measure a result."""
        return LAYER_COALITIONS if isinstance(self.plan.method, LayerPairAttribution) else INPUT_COALITIONS


def run_plan(forward_func: ForwardFunc, plan: Plan, inputs: Images, generator: torch.Generator) -> PlanRun:
    """Run the method of a plan, and its fallback if its pairs predict less than `LEAST_PREDICTED` of what both images change together.

    Args:
        forward_func: the model.
        plan: the plan.
        inputs: of the model, as for `make_plan`.
        generator: of the coalitions that measure the results.

    Raises:
        ValueError: the method refuses the model or the inputs, or its result is not `Interactions`.
    """
    try:
        run = _run_method(forward_func, plan, inputs)
    except (NoGradientError, NotImplementedError):  # PyTorch raises the second for an operation without a derivative
        if plan.fallback is None:
            raise
        return _run_fallback(forward_func, plan, "the network has no gradients", inputs, generator)
    share = _measure_path(run, generator)
    if plan.fallback is not None and share < LEAST_PREDICTED:
        problem = f"its pairs predict {100 * max(share, 0):.0f} % of what both sides change together"
        return _run_fallback(forward_func, plan, problem, inputs, generator)
    return _score(replace(run, is_checked=share >= LEAST_PREDICTED), generator)


def _run_method(forward_func: ForwardFunc, plan: Plan, inputs: Images) -> PlanRun:
    """The results of a method, and the games."""
    with share_pairs():
        interactions = plan.method.interactions(inputs, **plan.arguments)
        games = list(plan.build(make_context(forward_func, None, None, None)).games())
    if not isinstance(interactions, Interactions):
        raise ValueError(f"Expected a method whose result is Interactions, got {type(interactions).__name__}. Take another method.")
    return PlanRun(plan, [take_pair(interactions, number) for number in range(len(interactions.full))], games)


def _run_fallback(forward_func: ForwardFunc, plan: Plan, problem: str, inputs: Images, generator: torch.Generator) -> PlanRun:
    """Run the last plan, whose choices say why."""
    words = f"{type(plan.method).__name__} was tried first, but {problem}."
    return run_plan(forward_func, replace(plan.last, choices=(*plan.last.choices, words)), inputs, generator)


@torch.no_grad()
def _measure_path(run: PlanRun, generator: torch.Generator) -> float:
    """The least share of what both images change together that pairs along a path predict.

    NaN for other methods, and if no pair of images changes together.
    """
    if not isinstance(run.plan.method, PATHS):
        return nan
    measured = [(game, pair) for game, pair in zip(run.games, run.pairs, strict=True) if isinstance(game, EmbeddedGame)]
    shares = [measure_pairs(game, pair, run.n_coalitions, generator) for game, pair in measured]
    return min((share for share in shares if not isnan(share)), default=nan)


@torch.no_grad()
def _score(run: PlanRun, generator: torch.Generator) -> PlanRun:
    """The results with `r2`, which some methods have measured themselves. The constant of a path is centred first."""
    pairs, is_path = [], isinstance(run.plan.method, PATHS)
    for game, pair in zip(run.games, run.pairs, strict=True):
        if is_path and pair.constant is not None:
            pair = centre_prediction(game, pair, run.n_coalitions, generator)
        pairs.append(pair if pair.r2 is not None else measure_prediction(game, pair, run.n_coalitions, generator))
    return replace(run, pairs=pairs)
