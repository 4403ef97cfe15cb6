"""The mean of a metric over pairs, and its standard error."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.metrics.pixels import describe_value


@torch.no_grad()
def mean_and_error(values: Float[Tensor, " pairs"]) -> tuple[float, float]:
    r"""The mean over the pairs that were measured, and its standard error, $s / \sqrt{n}$ with $n - 1$ under the variance.

    Args:
        values: one per pair; NaN marks a pair that was not measured, and is left out.

    Returns:
        Mean and error; NaN for the mean of no pair, and for the error of fewer than two.

    Raises:
        ValueError: the values are not a vector of numbers.

    >>> mean_and_error(torch.tensor([1.0, 3.0, float("nan")]))
    (2.0, 1.0)
    """
    if not isinstance(values, Tensor) or values.dim() != 1 or not values.is_floating_point():
        raise ValueError(f"Expected a vector of floating-point values, one per pair, got {describe_value(values)}. Flatten it first.")
    measured = values[~values.isnan()].double()
    error = measured.std().item() / math.sqrt(len(measured)) if len(measured) > 1 else math.nan
    return measured.mean().item(), error
