"""The explanation of a ranked list: the query against each result, and why the first comes before the second."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isclose
from typing import Any

import torch
from matplotlib.figure import Figure

from captum_pairwise.explanations.amount_words import format_difference
from captum_pairwise.explanations.explanation import Explanation, show_content
from captum_pairwise.explanations.ranking_objective import MARGIN, name_result
from captum_pairwise.explanations.shown import Shown
from captum_pairwise.results.interactions import Interactions
from captum_pairwise.results.objective import Objective
from captum_pairwise.results.verdict import Verdict
from captum_pairwise.visualization.ranked_sides import WARNING_SIGN
from captum_pairwise.visualization.ranking_figure import ranking_figure
from captum_pairwise.visualization.ranking_viewer import ranking_viewer
from captum_pairwise.visualization.style import format_similarities
from captum_pairwise.visualization.viewer import Viewer

EQUAL = 1e-6  # relative difference of similarities


@dataclass(frozen=True)
class Ranking(Shown):
    """The explanations of the results of one query. A notebook shows them as a page.

    Attributes:
        explanations: of the query and each result, in the order of the list.
        names: of the results.
        scores: of the search, or the similarities.
        objective: a weighted sum of the similarities, and what the parts of the query add to it; None if none was asked for.

    >>> from torch import nn, rand
    >>> from captum_pairwise import SimilarityWrapper, explain_ranking
    >>> encoder = nn.Sequential(nn.Conv2d(3, 4, 2, stride=2), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    >>> photo = rand(3, 8, 8)
    >>> ranking = explain_ranking(SimilarityWrapper(encoder, similarity="dot"), photo, [photo, photo], names=["first", "second"])
    >>> ranking.margin
    'first and second are equally similar to the query.'

    See also `explain_ranking` and `Explanation`.
    """

    explanations: tuple[Explanation, ...]
    names: tuple[str, ...]
    scores: tuple[float, ...]
    objective: Objective | None = None

    def __len__(self) -> int:
        return len(self.explanations)

    def __getitem__(self, place: int) -> Explanation:
        return self.explanations[place]

    @property
    def interactions(self) -> list[Interactions]:
        """All numbers of each result, batches of one."""
        return [explanation.interactions for explanation in self.explanations]

    @property
    def verdicts(self) -> list[Verdict]:
        """The verdict on each result."""
        return [explanation.verdict for explanation in self.explanations]

    @property
    def margin(self) -> str:
        """The reason why the first result comes before the second, in words, and then the objective.

        A warning if the model ranks the results in another order.
        """
        return " ".join(filter(None, [self._tell_order(), self.objective and self.objective.sentence]))

    def _tell_order(self) -> str:
        """The margin, which the objective "margin" tells in its own words, or the warning."""
        sentence = tell_margin(self.explanations, self.names)
        is_told = self.objective is not None and self.objective.name == MARGIN
        return "" if is_told and not sentence.startswith(WARNING_SIGN) else sentence

    def figure(self) -> Figure:
        """The picture: the query once, and the results in their order with their maps."""
        return ranking_figure(*self._list_contents(), verdicts=self.verdicts, margin=self._tell_order(), objective=self.objective)

    def page(self) -> Viewer:
        """The page on which a part of the query shows where it is in every result."""
        choices = self.explanations[0].choices
        told = {"verdicts": self.verdicts, "margin": self._tell_order(), "objective": self.objective}
        return ranking_viewer(*self._list_contents(), **told, choices=choices)

    def _list_contents(self) -> tuple[Any, ...]:
        """The first arguments of the figure and of the page."""
        retrieved = [show_content(explanation.retrieved) for explanation in self.explanations]
        return self.interactions, show_content(self.explanations[0].query), retrieved, self.names, self.scores


def tell_margin(explanations: Sequence[Explanation], names: Sequence[str]) -> str:
    """The reason why the first result comes before the second, or a warning; empty for a single result.

    The sentence names the parts of the query that most of the difference of its two maps rests on. Each map sums to what the query adds
    over its baseline, so the difference of the maps sums to the margin, less the margin that the query's baseline has.
    """
    values = [explanation.similarity for explanation in explanations]
    shown = [name_result(*result) for result in zip(explanations, names, strict=True)]
    for place, (better, worse) in enumerate(pairwise(values)):
        if worse > better and not isclose(worse, better, rel_tol=EQUAL):
            return (
                f"{WARNING_SIGN}this is not the model's order. {shown[place + 1]} is more similar to the query than {shown[place]}, which "
                f"stands before it ({' against '.join(format_similarities([worse, better]))})."
            )
    if len(explanations) < 2:
        return ""
    if isclose(*values[:2], rel_tol=EQUAL):
        return f"{shown[0]} and {shown[1]} are equally similar to the query."
    sentence = f"{shown[0]} comes before {shown[1]} by {format_difference(values[0] - values[1])}."
    return " ".join([sentence, *_tell_favour(*explanations[:2])])


def _tell_favour(first: Explanation, second: Explanation) -> list[str]:
    """The parts of the query that raise the similarity to the first result more than to the second; empty without maps."""
    if first.interactions.given_other is None or second.interactions.given_other is None:
        return []
    raised, places = (first.query_map - second.query_map).clamp(min=0), first.places[0]
    if not raised.any():
        return [f"No {places.noun} of the query raises the similarity to the first more than to the second."]
    strongest = torch.where(raised >= raised.max() / 2, raised, 0)
    where, gain = places.describe_group(strongest), format_difference(strongest.sum().item())
    return [f"The {places.noun}s of the query that favour the first most add {gain} more to it than to the second: {where}."]
