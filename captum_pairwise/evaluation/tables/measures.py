"""What the tables say of one method on one pair."""

from dataclasses import dataclass

import torch

from captum_pairwise import metrics
from captum_pairwise.evaluation.tables.explanation import Found, View
from captum_pairwise.evaluation.tables.image_pair import Subject


@dataclass(frozen=True)
class Measures:
    """The metrics of the paper (§6, §A.2) of one method on one pair; NaN is for what is not defined.

    Attributes:
        faithfulness: how much the similarity falls when the upper 30 % of the retrieved image's pixels are blurred.
        inefficiency: how far credit is from summing to `v(N) - v(∅)`, the retrieved image blurred.
        own_inefficiency: the same over the method's own background.
        pair_faithfulness: the similarity when all is blurred but the query's object and where that is carried to.
        pair_inefficiency: how far all credit is from summing to `v(N) - v(∅)`, both images blurred.
        own_pair_inefficiency: the same over the method's own background.
        mean_iou: the mean, over object and rest, of the intersection over union of the retrieved image's true mask and as many pixels
            where the query's is carried to.
        foreground_iou: of the object alone.
    """

    faithfulness: float = torch.nan
    inefficiency: float = torch.nan
    own_inefficiency: float = torch.nan
    pair_faithfulness: float = torch.nan
    pair_inefficiency: float = torch.nan
    own_pair_inefficiency: float = torch.nan
    mean_iou: float = torch.nan
    foreground_iou: float = torch.nan


def measured(found: Found, subject: Subject) -> Measures:
    """The metrics of what a method found."""
    values: dict[str, float] = {}
    if found.first is not None:
        drop = metrics.faithfulness(subject.similarity, subject.images, found.first.heat_map, baselines=subject.blurred)
        values |= {"faithfulness": drop.item(), "inefficiency": _inefficiency(found.first, subject, 1)}
        values |= {"own_inefficiency": found.first.own_gap}
    if found.second is not None and subject.masks is not None:
        height, width = subject.retrieved.shape[-2:]
        carried = metrics.to_pixels(found.second.heat_map, (height, width))
        overlap = metrics.label_propagation(carried, subject.masks[1], subject.void)
        kept = metrics.second_order_faithfulness(
            subject.similarity, subject.images, carried, subject.masks, void=subject.void, baselines=subject.blurred
        )
        values |= {"pair_faithfulness": kept.item(), "pair_inefficiency": _inefficiency(found.second, subject, 2)}
        values |= {"own_pair_inefficiency": found.second.own_gap}
        values |= {"mean_iou": overlap.mean_iou.item(), "foreground_iou": overlap.foreground_iou.item()}
    return Measures(**values)


def _inefficiency(view: View, subject: Subject, order: int) -> float:
    if view.credit is None:
        return torch.nan
    return metrics.inefficiency(view.credit[None], subject.full, subject.empty(order)).item()
