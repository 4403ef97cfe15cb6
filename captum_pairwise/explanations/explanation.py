"""The explanation of one pair: its numbers, its verdict, and its picture and page."""

from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from captum_pairwise.explanations.contents import Content, Match, Photo, Sentence
from captum_pairwise.explanations.places import Places
from captum_pairwise.explanations.shown import Shown
from captum_pairwise.files.arguments import check_count
from captum_pairwise.results.interactions import Interactions
from captum_pairwise.results.verdict import Decision, Verdict
from captum_pairwise.visualization.caption_figure import caption_figure
from captum_pairwise.visualization.pair_figures import pair_figure
from captum_pairwise.visualization.parts import strongest_parts
from captum_pairwise.visualization.token_figure import token_figure
from captum_pairwise.visualization.viewer import Viewer, viewer


@dataclass(frozen=True)
class Explanation(Shown):
    """The answer to why two photos, sentences or other inputs are similar. A notebook shows it as a page.

    Attributes:
        query: the photo, sentence or other input that was searched for.
        retrieved: the one that it is compared with.
        interactions: all numbers, a batch of one.
        verdict: what they say in words.
        choices: the layer, the method and the baselines, and why they were chosen.

    >>> from torch import nn, zeros
    >>> from captum_pairwise import SimilarityWrapper, explain
    >>> encoder = nn.Sequential(nn.Conv2d(3, 4, 2, stride=2, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    >>> query, retrieved = zeros(3, 8, 8), zeros(3, 8, 8)
    >>> query[:, :2, :2], retrieved[:, 6:, 6:] = 1.0, 1.0  # a light corner in each
    >>> match = explain(SimilarityWrapper(encoder, similarity="dot"), query, retrieved, baselines=(0, 0)).matches(1)[0]
    >>> match.query.words, match.retrieved.words
    ('the upper left', 'the lower right')

    See also `explain` and `Interactions`.
    """

    query: Content
    retrieved: Content
    interactions: Interactions
    verdict: Verdict
    choices: str = field(repr=False)

    @property
    def similarity(self) -> float:
        """The similarity of the two."""
        return self.interactions.full.item()

    @property
    def decision(self) -> Decision | None:
        """The decision by the threshold, and the evidence for and against it; None without a threshold."""
        return self.verdict.decision

    @property
    def query_map(self) -> Float[Tensor, " query"]:
        """The similarity that each part of the query adds while the other is whole."""
        return self.interactions.query_map[0]

    @property
    def retrieved_map(self) -> Float[Tensor, " retrieved"]:
        """The similarity that each part of the retrieved one adds while the query is whole."""
        return self.interactions.retrieved_map[0]

    @property
    def pairs(self) -> Float[Tensor, "query retrieved"]:
        """The credit of every pair of parts, in units of the similarity."""
        return self.interactions["between"][0]

    def matches(self, n_matches: int = 8) -> list[Match]:
        """The query parts with the strongest matches, each with its match; no two share a match, and each raises the similarity.

        Args:
            n_matches: the largest number of matches.

        Raises:
            ValueError: `n_matches` is no whole number, or is below 1.
        """
        n_matches = check_count(n_matches, "n_matches", least=1)
        between, errors = self.pairs, self.interactions.standard_error
        sides = self.places
        chosen = [pair for pair in strongest_parts(between, n_matches) if between[pair] > 0]
        error = errors.between[0] if errors is not None and errors.between is not None else None
        return [
            Match(
                sides[0].describe_part(query),
                sides[1].describe_part(retrieved),
                between[query, retrieved].item(),
                None if error is None else error[query, retrieved].item(),
            )
            for query, retrieved in chosen
        ]

    @property
    def places(self) -> tuple[Places, Places]:
        """The parts of both."""
        return Places(self.query, self.interactions.query_players), Places(self.retrieved, self.interactions.retrieved_players)

    def figure(self) -> Figure:
        """The picture: both maps and the strongest matches; for sentences the matrix of all pairs."""
        shown = show_content(self.query), show_content(self.retrieved)
        are_sentences = isinstance(self.query, Sentence), isinstance(self.retrieved, Sentence)
        if not any(are_sentences):
            return pair_figure(self.interactions, shown, verdict=self.verdict)
        if all(are_sentences):
            return token_figure(self.interactions, *shown, verdict=self.verdict)
        photo, tokens = shown if are_sentences[1] else shown[::-1]
        return caption_figure(self.interactions, photo, tokens, verdict=self.verdict)

    def page(self) -> Viewer:
        """The page on which parts can be clicked."""
        shown = show_content(self.query), show_content(self.retrieved)
        return viewer(self.interactions, shown, verdict=self.verdict, choices=self.choices)


def show_content(content: Content) -> Any:
    """The content in the form that figures take: the pixels of a photo, tokens, or another input with its kind."""
    return content.pixels if isinstance(content, Photo) else list(content.tokens) if isinstance(content, Sentence) else content
