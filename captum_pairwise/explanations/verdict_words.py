"""Verdicts in words, computed from the numbers of an explanation."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from captum_pairwise.explanations.amount_words import FEW, format_difference, tell_half
from captum_pairwise.explanations.decision_words import make_decision, tell_decision, tell_evidence
from captum_pairwise.explanations.places import Places
from captum_pairwise.results.interactions import Interactions
from captum_pairwise.results.verdict import Decision, Trust, Verdict
from captum_pairwise.visualization.parts import choose_sign
from captum_pairwise.visualization.style import format_similarities

SIMILAR, NOT_SIMILAR = "Why are these similar?", "Why are these not more alike?"
VERBS = {"sentence": "says", "signal": "contains", "spectrogram": "contains"}
ACCEPTED, REJECTED = "Why is this pair accepted?", "Why is this pair rejected?"
NO_CHANGE = 1e-3  # of the similarity
BEST = {"cosine": 1.0, "euclidean": 0.0}  # the similarity of an equal pair
LEAST_GAIN = 0.1  # of the way from the similarity with a baseline to that of an equal pair


@dataclass(frozen=True)
class Setting:
    """The words and numbers beside the results of a pair.

    Attributes:
        sides: the parts of the query and of the retrieved image.
        absent: what happens to each image when it is absent, such as "blurred".
        head: the name of the similarity, such as "cosine"; may be empty.
        own_blurs: the similarity of each image and its own blur, or None.
        gallery: similarities of the query and the images of the background, or None.
        threshold: the similarity from which on a pair is accepted, or None.
    """

    sides: tuple[Places, Places]
    absent: tuple[str, str]
    head: str = ""
    own_blurs: tuple[float, float] | None = None
    gallery: Tensor | None = None
    threshold: float | None = None

    @property
    def nouns(self) -> tuple[str, str]:
        """The names of both in sentences."""
        return "query", f"retrieved {self.sides[1].content_noun}"

    @property
    def items(self) -> str:
        """The name of the members of a background."""
        noun = self.sides[1].content_noun
        return "images" if noun == "photo" else f"{noun}s"

    @property
    def verbs(self) -> tuple[str, ...]:
        """The verb of each side: a sentence says something, a photo shows it, and a signal contains it."""
        return tuple(VERBS.get(side.content_noun, "shows") for side in self.sides)


def write_verdict(interactions: Interactions, setting: Setting, trust: Trust, warnings: Sequence[str] = ()) -> Verdict:
    """The verdict on a pair.

    With a background, a pair is similar if it is more similar than the query is to most images of the background. Without one, three
    yardsticks are in the pair itself: it is similar if each image raises the similarity above that of its baseline, by at least 10 % of
    what is left to an equal pair, and if the images are not both more similar to their own blurs than to each other. A threshold replaces
    all of these: the sentences then tell the evidence for and against acceptance.

    Args:
        interactions: a batch of one.
        setting: names and places.
        trust: how far to trust the numbers.
        warnings: what is wrong with the model.
    """
    decision = make_decision(interactions, setting.threshold)
    if find_weak_layer(interactions) is not None:  # maps and matches would be rounding errors
        sentences = _tell_similarity(interactions, setting, decision), "So no part explains it."
        return Verdict(_choose_question(decision, True), sentences, trust, tuple(warnings), decision=decision)
    reason = None if decision is not None else _find_dissimilarity(interactions, setting)
    is_similar = reason is None if decision is None else decision.is_accepted
    sentences = [_tell_similarity(interactions, setting, decision), reason]
    if interactions.given_other is not None:
        maps = interactions.query_map[0], interactions.retrieved_map[0]
        tell = tell_evidence if decision is not None else _tell_support if is_similar else _tell_difference
        sentences += [tell(*side) for side in zip(maps, setting.sides, setting.nouns, strict=True)]
    if interactions.between is not None:
        sentences.append(_tell_match(interactions.between[0], setting, is_similar))
    question = _choose_question(decision, is_similar)
    return Verdict(question, tuple(filter(None, sentences)), trust, tuple(warnings), is_similar, decision)


def _choose_question(decision: Decision | None, is_similar: bool) -> str:
    if decision is None:
        return SIMILAR if is_similar else NOT_SIMILAR
    return ACCEPTED if decision.is_accepted else REJECTED


def find_weak_layer(interactions: Interactions) -> str | None:
    """The warning that nothing which leaves changes the similarity; None if it changes."""
    ends = [end for end in _get_ends(interactions) if end is not None]
    scale = max([interactions.full.abs().item(), *(end.abs().item() for end in ends)])
    changes = [(interactions.full - end).abs().item() for end in ends]
    if interactions.given_other is not None:
        changes.append(interactions.given_other.abs().max().item())
    return f"no part changes the similarity by more than {100 * NO_CHANGE:.1f} %" if changes and max(changes) <= NO_CHANGE * scale else None


def _find_dissimilarity(interactions: Interactions, setting: Setting) -> str | None:
    """The sentence that says why a pair is not similar; None if it is similar."""
    full = interactions.full.item()
    if setting.gallery is not None:
        n_higher = int((setting.gallery > full).sum())
        return f"Most {setting.items} of the background are more similar to the query." if 2 * n_higher > len(setting.gallery) else None
    best = BEST.get(setting.head, full)  # of other similarities, the value of an equal pair is unknown
    ends = [
        (end.item(), noun, verb)
        for end, noun, verb in zip(_get_ends(interactions), setting.nouns, setting.verbs, strict=True)
        if end is not None
    ]
    if ends:
        end, noun, verb = max(ends)  # what adds least
        if full - end <= LEAST_GAIN * (best - end):
            return f"So what the {noun} {verb} {'hardly makes them more similar' if full >= end else 'makes them less similar'}."
    if setting.own_blurs is not None and full <= min(setting.own_blurs):
        query, retrieved = (f"{value:.2f}" for value in setting.own_blurs)
        return f"Each is more similar to its own blur ({query} and {retrieved}) than to the other."
    return None


def _get_ends(interactions: Interactions) -> tuple[Tensor | None, Tensor | None]:
    """The similarities without the query and without the retrieved image."""
    return interactions.without_query, interactions.without_retrieved


def _tell_similarity(interactions: Interactions, setting: Setting, decision: Decision | None) -> str:
    head = f" ({setting.head})" if setting.head else ""
    ends = [end.item() if end is not None else None for end in _get_ends(interactions)]
    full, *shown = format_similarities([interactions.full.item(), *(end for end in ends if end is not None)])
    sentence = f"Their similarity is {full}{head}" if decision is None else tell_decision(decision, head).rstrip(".")
    if setting.gallery is not None:
        n_lower, n_all = int((setting.gallery < interactions.full.cpu()).sum()), len(setting.gallery)
        share = {0: "none", n_all: "all"}.get(n_lower, n_lower)
        sentence += f", higher than the similarity of the query to {share} of the {n_all} {setting.items} of the background"
    known = [words for end, *words in zip(ends, setting.nouns, setting.absent, strict=True) if end is not None]
    changes = [f"{value} with the {noun} {absent}" for value, (noun, absent) in zip(shown, known, strict=True)]
    return f"{sentence}; it would be {' and '.join(changes)}." if changes else f"{sentence}."


def _tell_support(credits: Tensor, places: Places, noun: str) -> str:
    """The parts that most of what an image adds rests on."""
    raised = credits.clamp(min=0)
    if not raised.any():
        return f"No {places.noun} of the {noun} raises the similarity."
    has_few_lowering = credits.clamp(max=0).abs().sum() <= FEW * raised.sum()
    amount = f"of what the {noun} adds" if has_few_lowering else f"of what raises the similarity in the {noun}"
    return f"{tell_half(raised, places, amount)}."


def _tell_difference(credits: Tensor, places: Places, noun: str) -> str:
    """The parts that lower the similarity."""
    lowered, total = (-credits).clamp(min=0), format_difference(credits.sum().item())
    if lowered.sum() <= FEW * credits.abs().sum():
        return f"Hardly any {places.noun} of the {noun} lowers the similarity; all of them together add {total}."
    loss = format_difference(lowered.sum().item())
    if int((lowered > 0).sum()) == 1:
        return (
            f"One of the {places.n_parts} {places.noun}s of the {noun} lowers the similarity, by {loss}: {places.describe_group(lowered)}."
        )
    raised = credits.clamp(min=0).sum().item()
    others = f", others raise it by {format_difference(raised)}" if raised > 0 else ""
    start = f"{places.noun.capitalize()}s of the {noun} lower the similarity by {loss} together{others}."
    return f"{start} {tell_half(lowered, places, 'of what lowers it')}."


def _tell_match(between: Tensor, setting: Setting, is_similar: bool) -> str:
    """The first pair that the picture shows: the strongest one, or the one that lowers the similarity most."""
    sign = choose_sign(between, is_similar)
    place = int((sign * between).argmax())
    if sign * between.flatten()[place] <= 0:
        return "No pair of parts raises the similarity."
    parts = zip(setting.sides, divmod(place, between.shape[1]), setting.nouns, strict=True)
    query, retrieved = (f"{side.describe_part(number).words} of the {noun}" for side, number, noun in parts)
    start = "The strongest match is" if sign > 0 else "The pair that lowers the similarity most is"
    return f"{start} {query} and {retrieved}."
