"""Amounts of similarity in words, and the strongest parts behind them."""

import torch
from torch import Tensor

from captum_pairwise.explanations.places import Places

HALF, FEW = 0.5, 0.1  # of a sum
SMALL = 0.01  # differences below it have more digits


def format_difference(value: float) -> str:
    """A difference of similarities with two digits, or with two significant digits if it is small."""
    return f"{value:.2f}" if abs(value) >= SMALL or value == 0 else f"{value:.2g}"


def tell_half(weights: Tensor, places: Places, amount: str) -> str:
    """The strongest parts whose weights are half of the sum."""
    if places.n_parts == 1:
        return f"All {amount} rests on its only {places.noun}, {places.describe_group(weights)}"
    order = weights.argsort(descending=True)
    n_parts = int((weights[order].cumsum(0) < HALF * weights.sum()).sum()) + 1
    chosen = torch.zeros_like(weights).index_put_((order[:n_parts],), weights[order[:n_parts]])
    return f"Half {amount} rests on {n_parts} of its {places.n_parts} {places.noun}s, {places.describe_group(chosen)}"
