"""Counterfactual maps: the parts that make one result more similar to the query than another (the paper's Figure 3)."""

from typing import NamedTuple

import torch
from captum.attr import Attribution
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.players.baselines import Baseline


class Counterfactual(NamedTuple):
    """Maps that explain why one result is more similar to the query than another.

    The first two are positive where a part favours `better`; `of_worse` is negative where `worse` lacks something. For an efficient
    method the credits over `better` sum to `v(query, better) - v(query, worse)`, and the credits over `worse` to the negative of this
    difference. The credits over the query sum to the part of the difference that the query adds over its own baseline.

    Attributes:
        of_query: the parts of the query that match `better` more than `worse`.
        of_better: the parts of `better`; an absent part shows the pixels of `worse`.
        of_worse: the parts of `worse`; an absent part shows the pixels of `better`.

    >>> from captum_pairwise import KernelShapley, SimilarityWrapper
    >>> model = SimilarityWrapper(torch.nn.Identity(), similarity="dot")
    >>> query, better, worse = torch.tensor([[1.0, 1.0]]), torch.tensor([[3.0, 2.0]]), torch.tensor([[1.0, 1.0]])
    >>> maps = counterfactual(KernelShapley(model), query, better, worse)
    >>> torch.allclose(maps.of_better.sum(1), model(query, better) - model(query, worse))
    True

    See also `counterfactual` and `cp.visualization.counterfactual_figure`.
    """

    of_query: Float[Tensor, "batch ..."]
    of_better: Float[Tensor, "batch ..."]
    of_worse: Float[Tensor, "batch ..."]


def counterfactual(
    method: Attribution,
    query: Tensor,
    better: Tensor,
    worse: Tensor,
    baseline: Baseline = None,
    *,
    generator: torch.Generator | None = None,
    **arguments: object,
) -> Counterfactual:
    """The maps over three images that explain why `better` ranks before `worse`, by a first-order method (paper §4, Figure 3).

    Each result is the background of the other, so places where both are equal get no credit: in the images for methods without a layer,
    in their features for layer methods. The query's map is the difference of its two maps, one for each result.

    For pairs of parts, pass the background to any second-order method: `attribute((query, better), (None, worse))`.

    Args:
        method: a method with baselines and signed credit: `KernelShapley`, `PartitionShap`, `LayerSAM`, `LayerIGSAM` or `LayerKernelSAM`.
            Its own default for the baseline of the query is used.
        query: a batch of images.
        better: the better result for each query.
        worse: the result for comparison, shaped like `better`, or one for all.
        baseline: the values of absent parts of the query, as for every method.
        generator: the source of randomness, for a sampling method; None leaves it to the method.
        arguments: other arguments of the method, the same for both results; a mask is `(query mask, mask of both results)`.

    Raises:
        ValueError: the method does not give a map for each image, or an argument does not fit.

    >>> from captum_pairwise import KernelShapley, SimilarityWrapper
    >>> model = SimilarityWrapper(torch.nn.Identity(), similarity="dot")
    >>> query, better, worse = torch.tensor([[1.0, 1.0]]), torch.tensor([[3.0, 2.0]]), torch.tensor([[1.0, 1.0]])
    >>> [credit.round(decimals=6) for credit in counterfactual(KernelShapley(model), query, better, worse)]
    [tensor([[2., 1.]]), tensor([[2., 1.]]), tensor([[-2., -1.]])]

    See also `cp.visualization.counterfactual_figure`, and `explain_ranking` with `objective`.
    """
    _refuse_method(method, arguments)
    worse = _expand_worse(better, worse)
    draws, again = arguments, arguments
    if generator is not None:  # the query's map is a difference, so both calls must draw the same coalitions
        draws, again = arguments | {"generator": generator}, arguments | {"generator": generator.clone_state()}
    for_better, of_better = _attribute_images(method, (query, better), (baseline, worse), draws)
    for_worse, of_worse = _attribute_images(method, (query, worse), (baseline, better), again)
    return Counterfactual(for_better - for_worse, of_better, of_worse)


def _refuse_method(method: Attribution, arguments: dict[str, object]) -> None:
    if not method.has_convergence_delta():  # SBSM has no sign, and VESM no baseline
        raise ValueError(f"Expected a first-order method with a convergence delta, such as KernelShapley, got {type(method).__name__}.")
    reserved = sorted({"baselines", "return_convergence_delta"} & set(arguments))
    if reserved:
        raise ValueError(f"Expected arguments without {', '.join(reserved)}, because they are set here. Leave them out.")


def _expand_worse(better: Tensor, worse: Tensor) -> Tensor:
    """The worse results, one for each better one."""
    if worse.shape[1:] != better.shape[1:] or len(worse) not in (1, len(better)):
        raise ValueError(
            f"Expected `worse` to be shaped like `better`, {tuple(better.shape)}, or one for all, got {tuple(worse.shape)}. Resize it."
        )
    return worse.expand_as(better)


def _attribute_images(
    method: Attribution, inputs: tuple[Tensor, Tensor], baselines: tuple[Baseline, Baseline], arguments: dict[str, object]
) -> tuple[Tensor, Tensor]:
    maps = method.attribute(inputs, baselines=baselines, **arguments)
    if not isinstance(maps, tuple) or len(maps) != 2 or not all(isinstance(image, Tensor) for image in maps):
        raise ValueError(
            f"Expected a first-order method, got {type(method).__name__}. For pairs call attribute((query, better), (None, worse))."
        )
    return maps
