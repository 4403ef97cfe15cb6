"""How far the numbers of an explanation can be trusted: errors, gaps, and the fit on coalitions held out."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan

from torch import Tensor

from captum_pairwise.results.interactions import Interactions
from captum_pairwise.results.verdict import RELIABLE, ROUGH, UNREADABLE, Trust


@dataclass(frozen=True)
class _Limits:
    """The worst numbers that a label allows: relative errors of the maps and of the pairs, the relative gap, and the least `R²`."""

    map_error: float
    pair_error: float
    gap: float
    fit: float


SHOWN_GAP = 5e-4  # smaller relative gaps are lost in the digits
LABELS = {RELIABLE: _Limits(0.1, 0.3, 0.05, 0.7), ROUGH: _Limits(0.3, 1.0, 0.2, 0.4)}


def judge_numbers(interactions: Interactions, fit: tuple[float, float], warnings: Sequence[str] = ()) -> Trust:
    """The label of an explanation, and the numbers behind it.

    * reliable: the standard error is at most 10 % of the maps and 30 % of the pairs, each map sums to what its image adds up to 5 %, and
      both maps explain at least 70 % of the differences between coalitions held out.
    * rough: at most 30 %, 100 % and 20 %, and at least 40 %.
    * do not read this: otherwise, or if something is wrong with the model.

    Args:
        interactions: a batch of one.
        fit: `R²` of both maps.
        warnings: what is wrong with the model.
    """
    errors = _measure_error(interactions, "given_other"), _measure_error(interactions, "between")
    gap = _measure_gap(interactions)
    passed = [name for name, limits in LABELS.items() if _meets(limits, errors, gap, fit)]
    label = passed[0] if passed and not warnings else UNREADABLE
    return Trust(label, tuple(_list_evidence(errors, gap, fit, warnings)))


def _meets(limits: _Limits, errors: tuple[float, float], gap: float, fit: tuple[float, float]) -> bool:
    measured = [(errors[0], limits.map_error), (errors[1], limits.pair_error), (gap, limits.gap)]
    is_small = all(isnan(value) or value <= limit for value, limit in measured)
    return is_small and all(isnan(value) or value >= limits.fit for value in fit)


def _measure_error(interactions: Interactions, name: str) -> float:
    """The standard error of a block relative to the block; 0 if nothing was drawn, NaN without the block."""
    block, errors = getattr(interactions, name), interactions.standard_error
    if block is None:
        return nan
    error: Tensor | None = getattr(errors, name) if errors is not None else None
    return (error.norm() / block.norm().clamp(min=1e-30)).item() if error is not None else 0.0


def _measure_gap(interactions: Interactions) -> float:
    """The larger gap of both maps, relative to what their images add; NaN without maps."""
    if interactions.given_other is None or interactions.without_query is None or interactions.without_retrieved is None:
        return nan
    gains = [interactions.full - end for end in (interactions.without_query, interactions.without_retrieved)]
    scale = max(gain.abs().item() for gain in gains)
    return max(gap.abs().item() for gap in interactions.map_gaps) / scale if scale else nan


def _list_evidence(errors: tuple[float, float], gap: float, fit: tuple[float, float], warnings: Sequence[str]) -> list[str]:
    sentences = [f"{warning[:1].upper()}{warning[1:]}." for warning in warnings]
    for error, name in zip(errors, ("parts", "pairs"), strict=True):
        if not isnan(error):
            sentences.append(
                f"The credits of {name} are exact." if error == 0 else f"The standard error of the credits of {name} is {error:.1%}."
            )
    if not isnan(gap):
        sentences.append(f"The credits of the parts sum to what their side adds{f', up to {gap:.1%}' if gap >= SHOWN_GAP else ''}.")
    for value, name in zip(fit, ("query", "retrieved one"), strict=True):
        if not isnan(value):
            sentences.append(
                f"If random halves of the parts of the {name} are absent, the credits explain {max(value, 0):.0%} of the changes of the "
                "similarity."
            )
    return sentences
