"""Numbers about one pair and about many: the inefficiency of an explanation, and the mean of a metric with its standard error."""

from math import nan, sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.games.checks import check_finite, describe_value, promote_half


@torch.no_grad()
def inefficiency(
    credit: Float[Tensor, "batch ..."], full: Float[Tensor, " batch"], empty: Float[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    r"""The distance of the sum of all credit from `v(N) - v(∅)` (paper §A.2); not normalised, summed in float64.

    $$\Big|\sum_i \phi_i - (v(N) - v(\emptyset))\Big|$$

    The sum is over players, each once: cells of a grid, superpixels, or pixels if they are the players. Do not sum an upsampled or painted
    map, which holds a credit many times. For second order take all single players and pairs, pairs within an image too; the sum of
    `Interactions.marginal` is the same. Leave out the intercept of a linear model.

    Args:
        credit: of every player, `[B, ...]` in any layout.
        full: `v(N)`, the similarity of the pair, `[B]`.
        empty: `v(∅)`, `[B]`, the similarity of the query and the retrieved image's background (first order) or of both backgrounds (second
            order). If it or `full` is unknown, pass NaN; the result is then NaN, and `mean_and_error` leaves the pair out.

    Raises:
        ValueError: an argument does not fit, or the credit is not finite.

    >>> inefficiency(torch.tensor([[1.0, 2.0, 4.0]]), full=torch.tensor([9.0]), empty=torch.tensor([1.0]))
    tensor([1.])

    See also `cp.Interactions.completeness_gap`, which has a sign, and `mean_and_error`.
    """
    if not isinstance(credit, Tensor) or credit.dim() == 0 or not credit.is_floating_point():
        raise ValueError(f"Expected floating-point credit with an entry per pair, got {describe_value(credit)}. Pass one image at a time.")
    for name, values in (("full", full), ("empty", empty)):
        if not isinstance(values, Tensor) or values.shape != credit.shape[:1]:
            raise ValueError(f"Expected {name} with one similarity per pair, shape ({len(credit)},), got {describe_value(values)}.")
    check_finite(credit, "the credit")
    total = credit.double().reshape(len(credit), -1).sum(1)
    return (total - (full.double() - empty.double())).abs().to(promote_half(full).dtype)


@torch.no_grad()
def mean_and_error(values: Float[Tensor, " pairs"]) -> tuple[float, float]:
    r"""The mean over the pairs that were measured, and its standard error, $s / \sqrt{n}$ with $n - 1$ under the variance.

    Args:
        values: one per pair, `[pairs]`; NaN marks a pair that was not measured, and is left out.

    Returns:
        Mean and error; NaN for the mean of no pair, and for the error of fewer than two.

    Raises:
        ValueError: the values are not a vector of numbers.

    >>> mean_and_error(torch.tensor([1.0, 3.0, float("nan")]))
    (2.0, 1.0)

    See also `compare_pairs`, for two methods on the same pairs.
    """
    if not isinstance(values, Tensor) or values.dim() != 1 or not values.is_floating_point():
        raise ValueError(f"Expected a vector of floating-point values, one per pair, got {describe_value(values)}. Flatten it first.")
    measured = values[~values.isnan()].double()
    error = measured.std().item() / sqrt(len(measured)) if len(measured) > 1 else nan
    return measured.mean().item(), error
