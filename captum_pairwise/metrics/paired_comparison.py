"""Paired comparison of two methods on the same pairs of images: mean difference, standard error and sign test."""

from dataclasses import dataclass

import scipy
import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.games.checks import describe_value
from captum_pairwise.metrics.efficiency import mean_and_error


@dataclass(frozen=True)
class PairedDifference:
    """The differences of two methods on the pairs of images that both have a number for.

    Attributes:
        mean: of the differences; NaN without a common pair.
        error: its standard error; NaN for fewer than two common pairs.
        wins: pairs with a difference above 0.
        losses: pairs with a difference below 0; equal pairs are in neither.
        p_value: of the two-sided sign test, exact; 1 if no pair differs.

    >>> difference = compare_pairs(torch.tensor([3.0, 5.0, 1.0]), torch.tensor([1.0, 2.0, 1.0]))
    >>> difference.wins, difference.losses, difference.p_value  # two wins of two: twice 1/4
    (2, 0, 0.5)

    See also `compare_pairs`.
    """

    mean: float
    error: float
    wins: int
    losses: int
    p_value: float


@torch.no_grad()
def compare_pairs(values: Float[Tensor, " pairs"], reference: Float[Tensor, " pairs"]) -> PairedDifference:
    """The differences `values - reference`, pair by pair, with a sign test of "neither is larger".

    The sign test counts the pairs in which a method wins. It assumes nothing about the size of differences, which a few pairs often rule.

    Args:
        values: a number of one method for each pair of images, `[pairs]`; NaN marks a pair that was not measured.
        reference: the numbers of the other method for the same pairs.

    Raises:
        ValueError: the arguments are no vectors of the same length.

    >>> compare_pairs(torch.tensor([2.0, 3.0, 4.0]), torch.tensor([1.0, 1.0, float("nan")]))
    PairedDifference(mean=1.5, error=0.5, wins=2, losses=0, p_value=0.5)

    See also `mean_and_error`.
    """
    for name, numbers in (("values", values), ("reference", reference)):
        if not isinstance(numbers, Tensor) or numbers.dim() != 1 or not numbers.is_floating_point():
            raise ValueError(f"Expected {name} to be a floating-point vector, one number per pair, got {describe_value(numbers)}.")
    if len(values) != len(reference):
        raise ValueError(f"Expected values and reference of the same pairs, got {len(values)} and {len(reference)}. Write NaN for a gap.")
    differences = values.double() - reference.to(values.device).double()
    wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
    p_value = float(scipy.stats.binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0
    return PairedDifference(*mean_and_error(differences), wins, losses, p_value)
