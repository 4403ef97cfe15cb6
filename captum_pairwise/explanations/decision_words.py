"""The decision on a pair by a threshold, and the evidence for and against it, in words."""

from torch import Tensor

from captum_pairwise.explanations.amount_words import FEW, format_difference, tell_half
from captum_pairwise.explanations.places import Places
from captum_pairwise.results.interactions import Interactions
from captum_pairwise.results.verdict import Decision
from captum_pairwise.visualization.style import format_similarities


def make_decision(interactions: Interactions, threshold: float | None) -> Decision | None:
    """The decision on a pair, a batch of one; None without a threshold."""
    if threshold is None:
        return None
    similarity = interactions.full.item()
    if interactions.given_other is None:
        return Decision(similarity, threshold)
    maps = interactions.query_map[0], interactions.retrieved_map[0]
    raised, lowered = ([side.clamp(*bounds).sum().item() for side in maps] for bounds in ((0, None), (None, 0)))
    return Decision(similarity, threshold, (raised[0], raised[1]), (lowered[0], lowered[1]))


def tell_decision(decision: Decision, head: str) -> str:
    """The sentence with the decision and its margin; `head` is the name of the similarity in brackets, or empty."""
    similarity, threshold = format_similarities([decision.similarity, decision.threshold])
    if decision.margin == 0:
        return f"Accepted: their similarity {similarity}{head} is exactly the threshold."
    place = f"{'above' if decision.margin > 0 else 'below'} the threshold {threshold} by {format_difference(abs(decision.margin))}"
    return f"{decision.label.capitalize()}: their similarity {similarity}{head} is {place}."


def tell_evidence(credits: Tensor, places: Places, noun: str) -> str:
    """The evidence for and against acceptance in one map, and the parts that it rests on."""
    sides = (f"for acceptance in the {noun}", credits.clamp(min=0), "+"), ("against", (-credits).clamp(min=0), "-")
    sentences = []
    for side, weights, sign in sides:
        total = weights.sum().item()
        sentences.append(f"Evidence {side}: {f'{sign}{format_difference(total)}' if total else 'none'}.")
        if total > FEW * credits.abs().sum():
            sentences.append(f"{tell_half(weights, places, 'of that')}.")
    return " ".join(sentences)
