"""The explanation of a ranked list: the query against each result, and why the first comes before the second."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from captum_pairwise.explanations.explanation import Explanation, save_view, show_content
from captum_pairwise.explanations.verdict_words import format_difference
from captum_pairwise.results.interactions import Interactions
from captum_pairwise.results.verdict import Verdict
from captum_pairwise.visualization.ranking_figure import ranking_figure
from captum_pairwise.visualization.ranking_viewer import ranking_viewer
from captum_pairwise.visualization.viewer import Viewer


@dataclass(frozen=True)
class Ranking:
    """The explanations of the results of one query. A notebook shows them as a page.

    Attributes:
        explanations: of the query and each result, in the order of the list.
        names: of the results.
        scores: of the search, or the similarities.
    """

    explanations: tuple[Explanation, ...]
    names: tuple[str, ...]
    scores: tuple[float, ...]

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
        """Why the first result comes before the second, in words; a warning if the model ranks the results in another order."""
        return tell_margin(self.explanations, self.names)

    def figure(self) -> Figure:
        """The picture: the query once, and the results in their order with their maps."""
        return ranking_figure(*self._list_contents(), verdicts=self.verdicts, margin=self.margin)

    def page(self) -> Viewer:
        """The page on which a part of the query shows where it is in every result."""
        choices = self.explanations[0].choices
        return ranking_viewer(*self._list_contents(), verdicts=self.verdicts, margin=self.margin, choices=choices)

    def save(self, path: str | Path) -> Path:
        """Write the page to a file `.html`, or the picture to `.png`, `.pdf`, `.svg` or `.jpg`.

        Raises:
            ValueError: the name has another ending.
        """
        return save_view(self, Path(path))

    def _repr_html_(self) -> str:
        return self.page()._repr_html_()

    def _list_contents(self) -> tuple[Any, ...]:
        """What the figure and the page take first."""
        retrieved = [show_content(explanation.retrieved) for explanation in self.explanations]
        return self.interactions, show_content(self.explanations[0].query), retrieved, self.names, self.scores


def tell_margin(explanations: Sequence[Explanation], names: Sequence[str]) -> str:
    """Why the first result comes before the second, or a warning; empty for a single result.

    The sentence names the parts of the query that most of the difference of its two maps rests on. Each map sums to what the query adds
    over its baseline, so the difference of the maps sums to the margin, less the margin that the query's baseline has.
    """
    values = [explanation.similarity for explanation in explanations]
    for place, (better, worse) in enumerate(pairwise(values)):
        if worse > better:
            return (
                f"Warning: this is not the model's order. {names[place + 1]} ({worse:.2f}) is more similar to the query than "
                f"{names[place]} ({better:.2f}), which stands before it."
            )
    if len(explanations) < 2:
        return ""
    first, second = explanations[:2]
    sentence = f"{names[0]} comes before {names[1]} by {format_difference(values[0] - values[1])}."
    credits = [explanation.interactions.given_other for explanation in (first, second)]
    if any(block is None for block in credits):
        return sentence
    difference = first.query_map - second.query_map
    raised = difference.clamp(min=0)
    if not raised.any():
        return f"{sentence} No part of the query favours it; the difference remains when the query is replaced."
    strongest = torch.where(raised >= raised.max() / 2, raised, 0)
    where = first.places[0].describe_group(strongest)
    return f"{sentence} The query's parts that favour it most add {format_difference(strongest.sum().item())}, {where}."
