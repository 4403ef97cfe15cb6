"""Explanations of encoders that draw at random: the mean of several explanations."""

from collections.abc import Callable, Sequence
from typing import Any

from captum_pairwise._compat import TargetType
from captum_pairwise.attr.views import Result
from captum_pairwise.games.build import find_wrapper
from captum_pairwise.games.context import ForwardContext, ForwardFunc
from captum_pairwise.results.interactions import Interactions
from captum_pairwise.results.repeated_draws import average_interactions

N_DRAWS = 8  # explanations of a stochastic encoder


def make_context(
    forward_func: ForwardFunc, target: TargetType, arguments: object, max_rows: int | None, description: str | None = None
) -> ForwardContext:
    """The settings of a call of a method that averages over the draws of a stochastic encoder."""
    return ForwardContext(target, arguments, max_rows, description, _is_stochastic(forward_func))


def _is_stochastic(forward_func: ForwardFunc) -> bool:
    """True for a `SimilarityWrapper(..., stochastic=True)`."""
    model = find_wrapper(forward_func)
    return model is not None and model.is_stochastic


def average_draws(forward_func: ForwardFunc, explain: Callable[[], Result]) -> Result:
    """The explanation, or the mean of `N_DRAWS` with their spread as standard error if the encoder draws at random."""
    if not _is_stochastic(forward_func):
        return explain()
    draws = [explain() for _ in range(N_DRAWS)]
    mean: Any = _average(draws)
    return mean


def _average(draws: Sequence[Any]) -> Interactions | tuple[Interactions, ...]:
    """The mean of several results; for first order, one mean for each image."""
    if isinstance(draws[0], Interactions):
        return average_interactions(draws)
    return tuple(map(average_interactions, zip(*draws, strict=True)))
