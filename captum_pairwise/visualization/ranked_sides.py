"""A query and its ranked results: their photos with parts or their tokens, their maps, and one verdict on all."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from captum_pairwise.results.interactions import Interactions
from captum_pairwise.results.objective import Objective
from captum_pairwise.results.verdict import UNREADABLE, Trust, Verdict
from captum_pairwise.visualization.parts import check_pair
from captum_pairwise.visualization.photo_parts import PhotoParts
from captum_pairwise.visualization.sheets import Side, draw_sheet
from captum_pairwise.visualization.style import format_similarities

WARNING_SIGN = "Warning: "
QUESTION = "Why are these results similar to the query?"


@dataclass(frozen=True)
class RankedSide:
    """The query or one result.

    Attributes:
        parts: the photo and its parts; None for a sentence.
        tokens: of the sentence; empty for a photo.
        values: what each part or token adds while the other side is whole; None if the method has no map.
    """

    parts: PhotoParts | None
    tokens: tuple[str, ...]
    values: Float[np.ndarray, " players"] | None


def locate_ranking(results: Sequence[Interactions], query: Side, retrieved: Sequence[Side]) -> list[tuple[RankedSide, RankedSide]]:
    """For each result, the query and the result with what their parts add.

    Raises:
        ValueError: a side does not fit its result, or a credit is not finite.
    """
    return [(_locate_side(result, 0, query), _locate_side(result, 1, side)) for result, side in zip(results, retrieved, strict=True)]


def _locate_side(result: Interactions, number: int, side: Side) -> RankedSide:
    check_pair(result, 0)
    maps = None if result.given_other is None else (result.query_map, result.retrieved_map)[number][0].detach().cpu().double().numpy()
    if isinstance(side, Sequence) and not isinstance(side, str):
        return RankedSide(None, tuple(side), None if maps is None else maps[: len(side)])
    return RankedSide(draw_sheet(side, result, number, 0), (), maps)


def check_ranking(
    results: Sequence[Interactions], retrieved: Sequence[Side], names: Sequence[str], scores: Sequence[float], verdicts: Sequence[Verdict]
) -> None:
    """Check that there is one of everything for each result.

    Raises:
        ValueError: there is not, or a result is a batch of several pairs.
    """
    counts = {"results": len(results), "retrieved": len(retrieved), "names": len(names), "scores": len(scores)}
    if not results or len(set(counts.values())) > 1 or len(verdicts) not in (0, len(results)):
        raise ValueError(f"Expected as many of each as results, got {counts} and {len(verdicts)} verdicts. Give one for each result.")
    if sizes := [len(result.full) for result in results if len(result.full) != 1]:
        raise ValueError(f"Expected interactions of one pair for each result, got a batch of {sizes[0]}. Explain each result alone.")


def join_verdicts(verdicts: Sequence[Verdict], margin: str, title: str, objective: Objective | None = None) -> Verdict:
    """One verdict on a ranked list: margin, objective, decisions, warnings, and the trust, in a sentence if the results differ in it."""
    warnings = list(dict.fromkeys(warning for verdict in verdicts for warning in verdict.warnings))
    is_warning = margin.startswith(WARNING_SIGN)
    warnings += [margin.removeprefix(WARNING_SIGN)] if is_warning else []
    sentences = [margin] if margin and not is_warning else []
    sentences += [objective.sentence] if objective is not None else []
    sentences += _tell_decisions(verdicts)
    places: dict[str, list[str]] = {}
    for place, verdict in enumerate(verdicts, 1):
        places.setdefault(verdict.trust.label, []).append(str(place))
    if len(places) > 1:
        sentences.append(" ".join(f"{label.capitalize()}: {', '.join(numbers)}." for label, numbers in places.items()))
    trust = Trust(next(iter(places)) if len(places) == 1 else "", ())
    return Verdict(title or QUESTION, tuple(sentences), trust, tuple(warnings))


def _tell_decisions(verdicts: Sequence[Verdict]) -> list[str]:
    """The results that a threshold accepts, in a sentence; none without a threshold."""
    decisions = [(str(place), verdict.decision) for place, verdict in enumerate(verdicts, 1) if verdict.decision is not None]
    if not decisions:
        return []
    (threshold,) = format_similarities([decisions[0][1].threshold])
    accepted = [place for place, decision in decisions if decision.is_accepted]
    places = "None" if not accepted else "All" if len(accepted) == len(decisions) else f"{len(accepted)} ({', '.join(accepted)})"
    return [f"{places} of the {len(decisions)} results {'is' if len(accepted) == 1 else 'are'} accepted at the threshold {threshold}."]


def write_scores(scores: Sequence[float], verdicts: Sequence[Verdict], objective: Objective | None = None) -> list[str]:
    """The score of each result as text, with its weight in the objective, and the decision of a threshold."""
    texts, decisions = format_similarities(scores), [verdict.decision for verdict in verdicts]
    if objective is not None:
        texts = [f"{text}, weight {f'{weight:+.2g}' if weight else 0}" for text, weight in zip(texts, objective.weights, strict=True)]
    if not decisions:
        return texts
    return [text if decision is None else f"{text}, {decision.label}" for text, decision in zip(texts, decisions, strict=True)]


def show_objective(query: RankedSide, objective: Objective | None) -> RankedSide:
    """The query with its map of the objective, if there is one."""
    if objective is None or objective.query_map is None or query.values is None:
        return query
    return replace(query, values=objective.query_map.detach().cpu().double().numpy()[: len(query.values)])


def find_objective_verdict(objective: Objective, verdicts: Sequence[Verdict]) -> Verdict | None:
    """The verdict on a result of the objective that nobody should read, or else the first; None without verdicts."""
    weighed = [verdict for verdict, weight in zip(verdicts, objective.weights, strict=True) if weight] if verdicts else []
    return next((verdict for verdict in weighed if verdict.trust.label == UNREADABLE), weighed[0] if weighed else None)
