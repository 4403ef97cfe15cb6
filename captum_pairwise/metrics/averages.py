"""What a metric is on average over pairs, and how sure that is."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


@torch.no_grad()
def mean_and_error(values: Float[Tensor, " pairs"]) -> tuple[float, float]:
    r"""The mean over the pairs that were measured, and its standard error, $s / \sqrt{n}$ with $n - 1$ under the variance.

    Args:
        values: one per pair; NaN is a pair that was not measured, and is left out.

    Returns:
        NaN for a mean of no pair, and for the error of less than two.

    Raises:
        ValueError: the values are no vector of numbers.

    >>> mean_and_error(torch.tensor([1.0, 3.0, float("nan")]))
    (2.0, 1.0)
    """
    if not isinstance(values, Tensor) or values.dim() != 1 or not values.is_floating_point():
        came = f"{values.dtype} of shape {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(f"Expected values to be a vector of floating-point numbers, one per pair, got {came}. Average others first.")
    measured = values[~values.isnan()].double()
    error = measured.std().item() / math.sqrt(len(measured)) if len(measured) > 1 else math.nan
    return measured.mean().item(), error
