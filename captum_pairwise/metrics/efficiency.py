"""How far credits are from adding up to what they explain."""

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.games.checks import promote_half, refuse_not_finite


@torch.no_grad()
def inefficiency(
    credit: Float[Tensor, "batch ..."], full: Float[Tensor, " batch"], empty: Float[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    r"""By how much all credit misses what it is to add up to (paper §A.2); not normalised, summed in float64.

    $$\Big|\sum_i \phi_i - (v(N) - v(\emptyset))\Big|$$

    The sum is over players, each once: cells of a grid, superpixels, or pixels where pixels played. An upsampled or painted map holds a
    credit many times, and its sum means nothing. For second order take all terms up to pairs, those within an image too, of which
    `Interactions.marginal` has the sum; without the intercept of a linear model.

    Args:
        credit: of every player, in any layout.
        full: `v(N)`, the similarity of the pair.
        empty: `v(∅)`; of first order that of the query and the retrieved image's background, of second order that of both backgrounds.
            Where it, or `full`, is NaN, because nobody knows it, so is the result, and `mean_and_error` leaves the pair out.

    Raises:
        ValueError: an argument does not fit, or the credit is not finite.

    >>> inefficiency(torch.tensor([[1.0, 2.0, 4.0]]), full=torch.tensor([9.0]), empty=torch.tensor([1.0]))
    tensor([1.])
    """
    if not isinstance(credit, Tensor) or credit.dim() == 0 or not credit.is_floating_point():
        came = f"{credit.dtype} of shape {tuple(credit.shape)}" if isinstance(credit, Tensor) else type(credit).__name__
        raise ValueError(
            f"Expected credit to be a floating-point tensor with an entry per pair, got {came}. Of two images pass one after the other."
        )
    for name, values in (("full", full), ("empty", empty)):
        if not isinstance(values, Tensor) or values.shape != credit.shape[:1]:
            came = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(f"Expected {name} to hold a similarity per pair, shape ({len(credit)},), got {came}. Give each pair its own.")
    refuse_not_finite(credit[:, None], "the credit")
    total = credit.double().reshape(len(credit), -1).sum(1)
    return (total - (full.double() - empty.double())).abs().to(promote_half(full).dtype)
