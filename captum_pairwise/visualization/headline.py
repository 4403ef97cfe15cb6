"""Words around a figure: the question and the verdict above it, with warnings as a red band, and the small print below it."""

from collections.abc import Iterable, Sequence
from math import isfinite
from textwrap import wrap
from typing import NamedTuple

from matplotlib.colors import Colormap
from matplotlib.figure import Figure, SubFigure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import text_to_path

from captum_pairwise.results.index_words import describe_index, describe_prediction
from captum_pairwise.results.interactions import Interactions
from captum_pairwise.results.verdict import RELIABLE, ROUGH, SENTENCES, UNREADABLE, Verdict
from captum_pairwise.visualization.style import SIGNED, UNREADABLE_COLOURS, escape_text, format_similarities, write_errors

WARNING, QUIET, MARGIN = "#b2182b", "0.35", 0.15  # colours of a warning and of small print; inches beside the words
TRUST_COLOURS = {RELIABLE: "#1b7837", ROUGH: "#b35806"}  # any other label is a warning
QUESTION, SENTENCE, SMALL = 15.0, 11.0, 8.5  # points
LEADING = 1.5  # distance of two lines, in sizes of the font
POINTS = 72  # of an inch


class Line(NamedTuple):
    """One line of words; a line with a band is white on this colour."""

    text: str
    size: float
    colour: str = "black"
    weight: str = "normal"
    band: str | None = None


def wrap_text(text: str, width: float, size: float, weight: str = "normal") -> list[str]:
    """Lines of a text that are at most `width` inches wide in a font of `size` points."""
    words = " ".join(text.split())
    if not words:
        return []
    n_letters, lines = len(words), [words]
    while n_letters > 1 and max(measure_text(line, size, weight) for line in lines) > width:
        n_letters = int(min(0.95 * n_letters, 1.1 * len(words) * width / measure_text(words, size, weight)))
        lines = wrap(words, max(n_letters, 1))
    return list(map(escape_text, lines))


def measure_text(text: str, size: float, weight: str = "normal") -> float:
    """Inches of the width of a text in one line."""
    return text_to_path.get_text_width_height_descent(text, FontProperties(size=size, weight=weight), ismath=False)[0] / POINTS


def write_lines(text: str, width: float, size: float, weight: str = "normal", **style: str) -> list[Line]:
    """The text as lines for a figure of this width."""
    return [Line(words, size, weight=weight, **style) for words in wrap_text(text, width - 2 * MARGIN, size, weight)]


def write_headline(question: str, verdict: Verdict | None, width: float) -> list[Line]:
    """Lines above a figure: warnings, the question, the verdict's sentences, and how far to trust the numbers."""
    question_lines = write_lines(question, width, QUESTION, weight="bold")
    if verdict is None:
        return question_lines
    warnings = " · ".join(warning.rstrip(".") for warning in verdict.warnings)
    lines = write_lines(f"Warning: {warnings}", width, QUESTION, colour="white", weight="bold", band=WARNING) if warnings else []
    lines += question_lines
    for sentence in verdict.sentences:
        lines += write_lines(sentence, width, SENTENCE)
    label = verdict.trust.label
    colour = TRUST_COLOURS.get(label, WARNING)
    return lines if not label else lines + write_lines(SENTENCES[label], width, SENTENCE, colour=colour, weight="bold")


def write_small_print(sentences: Iterable[str], width: float) -> list[Line]:
    """Lines below a figure. Each sentence begins a line."""
    return [line for sentence in sentences for line in write_lines(sentence, width, SMALL, colour=QUIET)]


def build_page(width: float, rows: Sequence[float], above: Sequence[Line], below: Sequence[Line]) -> tuple[Figure, list[SubFigure]]:
    """Figure with words above and below, and one empty part of it for each row.

    Args:
        width: inches of the figure.
        rows: inches of the height of each row.
        above: lines above the rows.
        below: lines below the rows.
    """
    heights = [measure_lines(above), *rows, measure_lines(below)]
    figure = Figure(figsize=(width, sum(heights)), layout="constrained", dpi=110)
    head, *middle, foot = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False).flat
    _draw_lines(head, above, width, heights[0])
    _draw_lines(foot, below, width, heights[-1])
    return figure, middle


def measure_lines(lines: Sequence[Line]) -> float:
    """Inches of the height of some lines."""
    return sum(LEADING * line.size for line in lines) / POINTS + MARGIN


def _draw_lines(panel: SubFigure, lines: Sequence[Line], width: float, height: float) -> None:
    top = height - MARGIN / 2
    for line in lines:
        step = LEADING * line.size / POINTS
        if line.band:
            place = {"xy": (0, (top - step) / height), "width": 1, "height": step / height}
            panel.add_artist(Rectangle(**place, color=line.band, transform=panel.transSubfigure, zorder=0))
        style = {"size": line.size, "color": line.colour, "weight": line.weight, "va": "center"}
        panel.text(MARGIN / width, (top - step / 2) / height, line.text, **style)
        top -= step


def choose_colours(verdict: Verdict | None) -> str | Colormap:
    """Colours of maps: grey if nobody should read the numbers."""
    return UNREADABLE_COLOURS if verdict and verdict.trust.label == UNREADABLE else SIGNED


def describe_colours(verdict: Verdict | None) -> str:
    """A sentence with the meaning of the colours."""
    is_grey = choose_colours(verdict) is UNREADABLE_COLOURS
    return "The maps are grey, because they explain nothing." if is_grey else "Red parts raise it, blue parts lower it."


def write_numbers(interactions: Interactions, example: int, verdict: Verdict | None) -> str:
    """How well the credits predict the similarity, and the numbers behind the verdict's trust, or else the typical errors."""
    numbers = verdict.trust.evidence if verdict and verdict.trust.evidence else [write_errors(interactions, example)]
    return " ".join(dict.fromkeys(filter(None, [describe_prediction(interactions, example), *numbers])))  # a verdict may tell it too


def frame_figure(figure: Figure, interactions: Interactions, example: int, title: str) -> None:
    """Write the title and the similarity above a figure that is no page, and the numbers and the index below it."""
    (similarity,) = format_similarities([interactions.full[example].item()])
    figure.suptitle(f"{escape_text(title)}\nSimilarity {similarity}.".strip(), size="medium")
    sentences = filter(None, [write_numbers(interactions, example, None), describe_index(interactions)])
    width = figure.get_figwidth()
    below = "\n".join(line.text for line in write_small_print(sentences, width))
    figure.supxlabel(below, x=MARGIN / width, ha="left", size=SMALL, color=QUIET)


def ask_question(kinds: tuple[str, str]) -> str:
    """The question that the pictures of a pair answer if no verdict asks another one.

    >>> ask_question(("photo", "photo")), ask_question(("photo", "sentence"))
    ('Why are these two photos similar?', 'Why are this photo and this sentence similar?')
    """
    query, retrieved = kinds
    return f"Why are these two {query}s similar?" if query == retrieved else f"Why are this {query} and this {retrieved} similar?"


def compare_ends(interactions: Interactions, example: int, side: int, name: str) -> str:
    """The similarity of a pair, and the similarity with the baseline in the place of one side; empty if it is unknown.

    Args:
        interactions: of a batch of pairs.
        example: the number of the pair.
        side: 0 for the query, 1 for the retrieved image.
        name: the name of the side in the text, such as "this photo".
    """
    end = (interactions.without_query, interactions.without_retrieved)[side]
    if end is None or not isfinite(end[example]):
        return ""
    present, absent = format_similarities([interactions.full[example].item(), end[example].item()])
    return f"similarity {present} with {name}, {absent} without it"
