"""Deletion and insertion curves: the similarity while pixels of one image are replaced in the order of their importance."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.metrics.censoring import Baselines, ForwardFunc, rank_image


@dataclass(frozen=True)
class Curve:
    """The similarity of each pair along a curve.

    Attributes:
        fractions: the part of the pixels that is deleted or inserted, from 0 to 1.
        values: the similarity at each of them.
        area: under the curve, by trapezoids.

    >>> model = lambda query, retrieved: (query * retrieved).sum((1, 2, 3))
    >>> images = torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
    >>> curve = deletion_curve(model, images, torch.rand(1, 2, 2), n_steps=4, baselines=(0, 0))
    >>> curve.fractions.tolist(), curve.values.tolist(), curve.area
    ([0.0, 0.25, 0.5, 0.75, 1.0], [[4.0, 3.0, 2.0, 1.0, 0.0]], tensor([2.]))

    See also `deletion_curve` and `insertion_curve`.
    """

    fractions: Float[Tensor, " points"]
    values: Float[Tensor, "batch points"]
    area: Float[Tensor, " batch"]


@torch.no_grad()
def deletion_curve(
    forward_func: ForwardFunc,
    inputs: tuple[Tensor, Tensor],
    attributions: Float[Tensor, "batch ..."],
    *,
    image: str = "retrieved",
    n_steps: int = 20,
    baselines: Baselines = None,
) -> Curve:
    """The similarity while pixels of one image are replaced by their background, the most important first; less area is better.

    At each fraction `round(fraction · H · W)` pixels are replaced (RISE, Petsiuk et al. 2018). The fall from 0 to 0.3 is `faithfulness`,
    which has the same arguments.

    Args:
        forward_func: a `cp.SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        inputs: `(query, retrieved)`.
        attributions: a map over the censored image, `[B, C, H, W]` or `[B, H, W]`, of any size.
        image: the censored image, `"query"` or `"retrieved"`.
        n_steps: steps from 0 to 1; each is a forward pass over the batch (for every member of `cp.Backgrounds`).
        baselines: a pair of backgrounds.

    Raises:
        ValueError: an argument does not fit; the message says what was expected.

    >>> model = lambda query, retrieved: (query * retrieved).sum((1, 2, 3))
    >>> query, retrieved = torch.ones(1, 1, 2, 2), torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> curve = deletion_curve(model, (query, retrieved), retrieved, n_steps=4, baselines=(0, 0))
    >>> curve.values, curve.area
    (tensor([[10.,  6.,  3.,  1.,  0.]]), tensor([3.7500]))

    See also `insertion_curve` and `faithfulness`.
    """
    ranks, evaluate = rank_image(forward_func, inputs, attributions, image, baselines)
    return _trace_curve(lambda count: evaluate(ranks < count), ranks[0].numel(), n_steps)


@torch.no_grad()
def insertion_curve(
    forward_func: ForwardFunc,
    inputs: tuple[Tensor, Tensor],
    attributions: Float[Tensor, "batch ..."],
    *,
    image: str = "retrieved",
    n_steps: int = 20,
    baselines: Baselines = None,
) -> Curve:
    """The similarity while pixels of one image replace their background, the most important first; more area is better.

    Args:
        forward_func: as for `deletion_curve`, like all arguments.
        inputs: `(query, retrieved)`.
        attributions: a map over the censored image, `[B, C, H, W]` or `[B, H, W]`, of any size.
        image: the censored image, `"query"` or `"retrieved"`.
        n_steps: steps from 0 to 1.
        baselines: a pair of backgrounds.

    Raises:
        ValueError: an argument does not fit; the message says what was expected.

    >>> model = lambda query, retrieved: (query * retrieved).sum((1, 2, 3))
    >>> query, retrieved = torch.ones(1, 1, 2, 2), torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> insertion_curve(model, (query, retrieved), retrieved, n_steps=4, baselines=(0, 0)).values
    tensor([[ 0.,  4.,  7.,  9., 10.]])

    See also `deletion_curve`, and `insertion_deletion` for curves over parts.
    """
    ranks, evaluate = rank_image(forward_func, inputs, attributions, image, baselines)
    return _trace_curve(lambda count: evaluate(ranks >= count), ranks[0].numel(), n_steps)


def _trace_curve(evaluate: Callable[[int], Tensor], n_pixels: int, n_steps: int) -> Curve:
    """The curve of a function of the number of pixels."""
    if not isinstance(n_steps, int) or n_steps < 1:
        raise ValueError(f"Expected n_steps to be an integer of at least 1, got {n_steps!r}. The curve has one point more.")
    steps = [step / n_steps for step in range(n_steps + 1)]
    values = torch.stack([evaluate(round(fraction * n_pixels)) for fraction in steps], 1)
    fractions = values.new_tensor(steps)
    return Curve(fractions, values, torch.trapezoid(values, fractions))
