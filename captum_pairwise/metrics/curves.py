"""The similarity while the pixels of one image go, or come, in the order of their importance."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.metrics.censoring import Baselines, ForwardFunc, RankedImage, ranked_image


@dataclass(frozen=True)
class Curve:
    """The similarity of each pair along a curve.

    Attributes:
        fractions: of the pixels, from 0 to 1: those that are gone, or there.
        values: the similarity at each of them.
        area: under the curve, by trapezoids.
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
    """The similarity while the pixels of one image show their background, the most important first: the smaller the area, the better.

    At each fraction `round(fraction · H · W)` pixels are gone; the fall from 0 to 0.3 is `faithfulness`, whose arguments these are.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        inputs: `(query, retrieved)`.
        attributions: a map over the one image.
        image: `"query"` or `"retrieved"`.
        n_steps: steps from 0 to 1, each a forward pass over the batch (for every member of `Backgrounds`).
        baselines: a pair.

    Raises:
        ValueError: an argument does not fit; the message says what was expected.

    >>> model = lambda query, retrieved: (query * retrieved).sum((1, 2, 3))
    >>> query, retrieved = torch.ones(1, 1, 2, 2), torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> curve = deletion_curve(model, (query, retrieved), retrieved, n_steps=4, baselines=(0, 0))
    >>> curve.values, curve.area
    (tensor([[10.,  6.,  3.,  1.,  0.]]), tensor([3.7500]))
    """
    ranked = ranked_image(forward_func, inputs, attributions, image, baselines)
    return _curve(ranked, n_steps, lambda count: ranked.ranks < count)


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
    """The similarity while one image comes out of its background, the most important pixels first: the larger the area, the better.

    Args:
        forward_func: as for `deletion_curve`, like all arguments.
        inputs: `(query, retrieved)`.
        attributions: a map over the one image.
        image: `"query"` or `"retrieved"`.
        n_steps: steps from 0 to 1.
        baselines: a pair.

    Raises:
        ValueError: an argument does not fit; the message says what was expected.

    >>> model = lambda query, retrieved: (query * retrieved).sum((1, 2, 3))
    >>> query, retrieved = torch.ones(1, 1, 2, 2), torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> insertion_curve(model, (query, retrieved), retrieved, n_steps=4, baselines=(0, 0)).values
    tensor([[ 0.,  4.,  7.,  9., 10.]])
    """
    ranked = ranked_image(forward_func, inputs, attributions, image, baselines)
    return _curve(ranked, n_steps, lambda count: ranked.ranks >= count)


def _curve(ranked: RankedImage, n_steps: int, gone: Callable[[int], Tensor]) -> Curve:
    """The similarity with the pixels gone that `gone` names for each number of pixels."""
    if not isinstance(n_steps, int) or n_steps < 1:
        raise ValueError(f"Expected n_steps to be a whole number of at least 1, got {n_steps!r}. The curve has one point more.")
    fractions = [step / n_steps for step in range(n_steps + 1)]
    values = torch.stack([ranked.similarity(gone(round(fraction * ranked.n_pixels))) for fraction in fractions], 1)
    at = values.new_tensor(fractions)
    return Curve(at, values, torch.trapezoid(values, at))
