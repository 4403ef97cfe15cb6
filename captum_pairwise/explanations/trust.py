"""The trust in the numbers of an explanation: errors, gaps, and the fit on coalitions held out."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isnan, nan

from torch import Tensor

from captum_pairwise.results.index_words import describe_prediction
from captum_pairwise.results.interactions import Interactions
from captum_pairwise.results.verdict import RELIABLE, ROUGH, UNREADABLE, Trust


@dataclass(frozen=True)
class _Limits:
    """The worst numbers that a label allows.

    Attributes:
        map_error: the relative standard error of the maps.
        pair_error: the relative standard error of the pairs.
        gap: the relative gap of the maps.
        fit: the least `R²` of a map.
        prediction: the least `R²` of the prediction by parts and pairs.
        has_errors: True if the errors must be known.
    """

    map_error: float
    pair_error: float
    gap: float
    fit: float
    prediction: float
    has_errors: bool


SHOWN_GAP = 5e-4  # smaller relative gaps are lost in the digits
LEAST_SCALE = 0.1  # of the larger gain of both images: the gap of an image that adds less is relative to this
LABELS = {RELIABLE: _Limits(0.1, 0.3, 0.05, 0.7, 0.5, True), ROUGH: _Limits(0.3, 1.0, 0.2, 0.4, 0.25, False)}
CREDITS = {"given_other": "parts", "between": "pairs"}  # the blocks that are judged, and their names in sentences
Errors = Sequence[float]  # of these blocks: NaN without the block, infinite if the error is unknown


def judge_numbers(
    interactions: Interactions,
    fit: tuple[float, float],
    warnings: Sequence[str] = (),
    *,
    is_exact: bool = False,
    is_path: bool = False,
) -> Trust:
    """The label of an explanation, and the numbers behind it.

    * reliable: on coalitions held out, parts and pairs together predict at least half of the variance (`r2`), and each map 70 % of the
      variance of its own image; the standard errors are known, and at most 10 % of the maps and 30 % of the pairs; each map sums to what
      its image adds, up to 5 %.
    * rough: at least 25 % and 40 %, and at most 30 %, 100 % and 20 %; standard errors may be unknown.
    * do not read this: otherwise, or if something is wrong with the model.

    Args:
        interactions: a batch of one.
        fit: `R²` of both maps.
        warnings: what is wrong with the model.
        is_exact: True if nothing was drawn: credits without a standard error have no error.
        is_path: True if they come from a path, and the pairs predict what both images change together: nothing was drawn, and the gap and
            `R²` judge the maps.
    """
    errors = [_measure_error(interactions, name, 0.0 if is_exact else nan if is_path else inf) for name in CREDITS]
    gap = _measure_gap(interactions)
    r2 = nan if interactions.r2 is None else interactions.r2.item()
    passed = [name for name, limits in LABELS.items() if _meets(limits, errors, gap, fit, r2)]
    label = passed[0] if passed and not warnings else UNREADABLE
    warned = [f"{warning[:1].upper()}{warning[1:]}." for warning in warnings]
    prediction = [sentence for sentence in [describe_prediction(interactions, 0)] if sentence]
    return Trust(label, (*warned, *prediction, *_list_evidence(errors, gap, fit)))


def _meets(limits: _Limits, errors: Errors, gap: float, fit: tuple[float, float], r2: float) -> bool:
    limited = zip(errors, (limits.map_error, limits.pair_error), strict=True)
    measured = [(error, limit) for error, limit in limited if limits.has_errors or error < inf]
    is_small = all(isnan(value) or value <= limit for value, limit in [*measured, (gap, limits.gap)])
    fits = [*((value, limits.fit) for value in fit), (r2, limits.prediction)]
    return is_small and all(isnan(value) or value >= least for value, least in fits)


def _measure_error(interactions: Interactions, name: str, unknown: float) -> float:
    """The standard error of a block relative to the block; NaN without the block, `unknown` without its errors."""
    block, errors = getattr(interactions, name), interactions.standard_error
    if block is None:
        return nan
    error: Tensor | None = getattr(errors, name) if errors is not None else None
    if error is None:
        return unknown
    return (error.norm() / block.norm().clamp(min=1e-30)).item()


def _measure_gap(interactions: Interactions) -> float:
    """The larger gap of both maps, each relative to what its image adds; NaN without maps."""
    if interactions.given_other is None or interactions.without_query is None or interactions.without_retrieved is None:
        return nan
    gains = [(interactions.full - end).abs().item() for end in (interactions.without_query, interactions.without_retrieved)]
    least = LEAST_SCALE * max(gains)
    return max(gap.abs().item() / max(gain, least) for gap, gain in zip(interactions.map_gaps, gains, strict=True)) if least else nan


def _list_evidence(errors: Errors, gap: float, fit: tuple[float, float]) -> list[str]:
    sentences = [_tell_error(error, name) for error, name in zip(errors, CREDITS.values(), strict=True) if not isnan(error)]
    if gap >= SHOWN_GAP:
        sentences.append(f"The credits of the parts miss what their side adds by {100 * gap:.1f} %.")
    elif not isnan(gap):
        sentences.append("The credits of the parts sum to what their side adds.")
    for value, name in zip(fit, ("query", "retrieved one"), strict=True):
        if not isnan(value):
            sentences.append(
                f"The map of the {name} alone explains {100 * max(value, 0):.0f} % of the changes of the similarity when random halves of "
                "its parts are missing."
            )
    return sentences


def _tell_error(error: float, name: str) -> str:
    if error == inf:
        return f"This method gives no standard error of the credits of {name}."
    return f"The credits of {name} are exact." if error == 0 else f"The standard error of the credits of {name} is {100 * error:.1f} %."
