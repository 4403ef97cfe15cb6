"""The factor by which one estimator needs fewer evaluations than another for the same error."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Points = Sequence[tuple[float, float]]  # (cost, error)


@dataclass(frozen=True)
class Saving:
    """The factor by which one estimator is cheaper than another.

    Attributes:
        factor: the other's cost over its own.
        bound: `"="`; or `">"` or `"<"` if their errors do not overlap, so that the factor is only a bound.
    """

    factor: float
    bound: str = "="

    def __str__(self) -> str:
        if (self.bound == ">" and self.factor <= 1) or (self.bound == "<" and self.factor >= 1):
            return "?"
        return f"{'' if self.bound == '=' else self.bound + ' '}{self.factor:.2g}×"


def compute_saving(curve: Points, other: Points) -> Saving:
    """The saving of `curve` against `other`: the mean distance in log cost over the errors that both reach.

    Curves are interpolated linearly in log error over log cost, and never extrapolated. An error counts as reached from the first cost at
    which the curve was at or below it.

    Raises:
        ValueError: a curve has no point with a positive finite error.

    >>> str(compute_saving([(100.0, 1.0), (1000.0, 0.1)], [(300.0, 1.0), (3000.0, 0.1)]))
    '3×'
    >>> str(compute_saving([(100.0, 0.01)], [(100.0, 1.0), (1000.0, 0.1)]))
    '> 10×'
    """
    (cost, error), (other_cost, other_error) = _take_logarithms(curve), _take_logarithms(other)
    least, most = max(error[-1], other_error[-1]), min(error[0], other_error[0])
    if least > most:
        is_better = error[0] < other_error[-1]
        distance = other_cost[-1] - cost[0] if is_better else other_cost[0] - cost[-1]
        return Saving(float(np.exp(distance)), ">" if is_better else "<")
    levels = np.linspace(least, most, 101)
    distance = np.interp(-levels, -other_error, other_cost) - np.interp(-levels, -error, cost)
    return Saving(float(np.exp((distance[1:] + distance[:-1]).mean() / 2)))


def _take_logarithms(curve: Points) -> tuple[np.ndarray, np.ndarray]:
    """Log costs and log errors; costs ascend, errors descend strictly."""
    points = [(cost, error) for cost, error in sorted(curve) if 0 < error < np.inf]
    if not points:
        raise ValueError(f"Expected a curve with a positive finite error, got {list(curve)}. Measure it at a larger budget.")
    costs, errors = np.log(points).T
    is_lowest = np.diff(np.minimum.accumulate(errors), prepend=np.inf) < 0  # below all errors at smaller costs
    return costs[is_lowest], errors[is_lowest]
