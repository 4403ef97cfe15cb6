"""Run a plan, and the one that follows if its credits do not predict the similarity."""

from dataclasses import dataclass, replace

import torch

from captum_pairwise.attr.base import LayerPairAttribution
from captum_pairwise.attr.integrated_hessians import IntegratedHessians, LayerIntegratedHessians
from captum_pairwise.attr.randomness import make_context
from captum_pairwise.estimators.prediction_fit import centre_prediction, measure_pairs, measure_prediction
from captum_pairwise.explanations.plan import Plan
from captum_pairwise.games.build import share_pairs
from captum_pairwise.games.context import ForwardFunc, Images
from captum_pairwise.games.game import EmbeddedGame, Game
from captum_pairwise.results.interactions import Interactions
from captum_pairwise.results.selection import take_pair

LEAST_PREDICTED = 0.9  # share of what both images change together; below it the next plan is run
LAYER_COALITIONS, INPUT_COALITIONS = 64, 16  # held out; after a layer only the tail of the network runs
PATHS = (IntegratedHessians, LayerIntegratedHessians)


@dataclass(frozen=True)
class PlanRun:
    """The results of a plan.

    Attributes:
        plan: the plan that was kept.
        pairs: the result of each pair, with `r2` where its credits predict the similarity.
        games: the game of each pair.
        n_coalitions: how many coalitions are held out to measure a result.
    """

    plan: Plan
    pairs: list[Interactions]
    games: list[Game]
    n_coalitions: int


def run_plan(forward_func: ForwardFunc, plan: Plan, inputs: Images, generator: torch.Generator) -> PlanRun:
    """Run the method of a plan, and its fallback if its pairs predict less than `LEAST_PREDICTED` of what both images change together.

    Args:
        forward_func: the model.
        plan: the plan.
        inputs: of the model, as for `make_plan`.
        generator: of the coalitions that measure `r2`.

    Raises:
        ValueError: the method refuses the model or the inputs, or its result is not `Interactions`.
    """
    fallback = plan.fallback
    try:
        run = _run_method(forward_func, plan, inputs, generator)
    except ValueError:
        if fallback is None:
            raise
        problem = "the network has no gradients"
    else:
        least = 1.0 if fallback is None else _measure_pairs(run, generator)
        if fallback is None or not least < LEAST_PREDICTED:
            return run
        problem = f"its pairs predict {100 * max(least, 0):.0f} % of what both sides change together"
    words = f"{type(plan.method).__name__} came first, but {problem}."
    return run_plan(forward_func, replace(fallback, choices=(*fallback.choices, words)), inputs, generator)


@torch.no_grad()
def _measure_pairs(run: PlanRun, generator: torch.Generator) -> float:
    """The least share of what both images change together that pairs predict."""
    measured = zip(run.games, run.pairs, strict=True)
    return min(measure_pairs(game, pair, run.n_coalitions, generator) for game, pair in measured if isinstance(game, EmbeddedGame))


def _run_method(forward_func: ForwardFunc, plan: Plan, inputs: Images, generator: torch.Generator) -> PlanRun:
    """The results of a method, with `r2`; a method that holds coalitions out itself has measured it."""
    with share_pairs():
        interactions = plan.method.interactions(inputs, **plan.arguments)
        games = list(plan.build(make_context(forward_func, None, None, None)).games())
    if not isinstance(interactions, Interactions):
        raise ValueError(f"Expected a method whose result is Interactions, got {type(interactions).__name__}. Take another method.")
    n_coalitions = LAYER_COALITIONS if isinstance(plan.method, LayerPairAttribution) else INPUT_COALITIONS
    pairs = [take_pair(interactions, number) for number in range(len(interactions.full))]
    with torch.no_grad():
        if isinstance(plan.method, PATHS) and all(pair.constant is not None for pair in pairs):
            pairs = [centre_prediction(game, pair, n_coalitions, generator) for game, pair in zip(games, pairs, strict=True)]
        scored = [
            pair if pair.r2 is not None else measure_prediction(game, pair, n_coalitions, generator)
            for game, pair in zip(games, pairs, strict=True)
        ]
    return PlanRun(plan, scored, games, n_coalitions)
