"""Figure of two sentences: the pairs of their tokens, and what each token adds."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure, SubFigure
from torch import Tensor

from captum_pairwise.results.index_words import describe_index
from captum_pairwise.results.interactions import SIDES, Interactions
from captum_pairwise.results.verdict import Verdict
from captum_pairwise.visualization.headline import (
    ask_question,
    build_page,
    choose_colours,
    compare_ends,
    write_headline,
    write_numbers,
    write_small_print,
)
from captum_pairwise.visualization.parts import check_pair
from captum_pairwise.visualization.style import draw_bar_beside, escape_text, find_scale, find_typical_error, format_number

CELL = 0.55  # inches of a pair of tokens
NUMBERED = 16  # at most this many tokens on a side leave room for numbers in the cells
LEAST_SHARE = 0.03  # of the scale: smaller credits have no number
TOKEN_NAMES, BARS = 2.2, 2.4  # inches for the names of the tokens, and for two colour bars
LEAST_WIDTH = 9.0  # inches of a figure
MAP_MEANING = (
    "The value of a token is what it adds to the similarity while the other sentence is whole. Red raises the similarity, blue lowers it. "
    "Without a sentence, all of its tokens are absent."
)
PAIR_MEANING = (
    "A pair is of one token of each sentence. The value of a token also counts what it adds on its own and together with other tokens of "
    "its sentence. So the pairs of a token need not sum to its value. {index}"
)
NO_MAP = "This method gives pairs, but no value of a single part or token."


def token_figure(
    interactions: Interactions,
    query_tokens: Sequence[str],
    retrieved_tokens: Sequence[str],
    example: int = 0,
    title: str = "",
    *,
    verdict: Verdict | None = None,
) -> Figure:
    """Draw the credit of every pair of tokens as a matrix, and beside it what each token adds while the other sentence is whole.

    The pairs have one signed scale, the tokens have another.

    Args:
        interactions: of the tokens of two sentences. Without maps (`given_other`), only the pairs are drawn.
        query_tokens: names of the query's players in order; fewer than players if the batch has a longer sentence.
        retrieved_tokens: names of the retrieved sentence's players.
        example: the number of the pair in the batch.
        title: the title of the figure; "" for the verdict's question.
        verdict: words above the figure. Its warnings are a red band. If the numbers are not to be read, the colours are grey.

    Raises:
        ValueError: there are too few or too many names, or a credit is not finite.

    >>> import torch, captum_pairwise as cp
    >>> similarity = cp.ExactShapleyTaylor(lambda query, retrieved: (query * retrieved).sum(1))
    >>> interactions = similarity.interactions((torch.ones(1, 2), torch.ones(1, 2)))
    >>> figure = token_figure(interactions, ["red", "cat"], ["red", "bike"])
    >>> figure.axes[3].images[0].get_array().shape  # a row for each token of the query
    (2, 2)

    See also `caption_figure`, `matrix_figure` and `cp.explain`.
    """
    names = list(map(escape_text, query_tokens)), list(map(escape_text, retrieved_tokens))
    check_pair(interactions, example)
    between = interactions["between"][example]
    check_names(between, len(names[0]), len(names[1]))
    width = max(CELL * (len(names[1]) + 1) + TOKEN_NAMES + BARS, LEAST_WIDTH)
    meaning = [MAP_MEANING if interactions.given_other is not None else NO_MAP]
    meaning.append(PAIR_MEANING.format(index=describe_index(interactions)))
    above = write_headline(title or (verdict.question if verdict else ask_question(("sentence", "sentence"))), verdict, width)
    below = write_small_print([*meaning, *describe_ends(interactions, example), write_numbers(interactions, example, verdict)], width)
    figure, (row,) = build_page(width, [CELL * (len(names[0]) + 1) + TOKEN_NAMES], above, below)
    _draw_matrices(row, interactions, example, names, choose_colours(verdict))
    return figure


def check_names(between: Float[Tensor, "query retrieved"], n_query: int, n_retrieved: int) -> None:
    """Check that every token with credit has a name."""
    unnamed = between[n_query:].any() or between[:, n_retrieved:].any()
    if not (0 < n_query <= between.shape[0] and 0 < n_retrieved <= between.shape[1]) or unnamed:
        raise ValueError(
            f"Expected names of all tokens that play, up to {tuple(between.shape)}, got {n_query, n_retrieved}. Use `encoder.pieces(ids)`."
        )


def describe_ends(interactions: Interactions, example: int, kinds: Sequence[str] = ("sentence", "sentence")) -> list[str]:
    """The similarity with and without each side, one sentence each."""
    names = [f"the {side} {kind}" for side, kind in zip(SIDES, kinds, strict=True)]
    texts = [compare_ends(interactions, example, side, name) for side, name in enumerate(names)]
    return [" ".join(f"{text[0].upper()}{text[1:]}." for text in texts if text)] if any(texts) else []


def _draw_matrices(
    row: SubFigure, interactions: Interactions, example: int, names: tuple[list[str], list[str]], colours: str | Colormap
) -> None:
    """The pairs, and beside them the tokens of the query and of the retrieved sentence."""
    n_query, n_retrieved = map(len, names)
    axes = row.subplots(2, 2, width_ratios=[1, n_retrieved], height_ratios=[1, n_query], squeeze=False)
    errors = [find_typical_error(interactions, example, block) or 0.0 for block in ("between", "given_other")]
    pairs = interactions["between"][example][:n_query, :n_retrieved].detach().cpu().double().numpy()
    _draw_matrix(axes[1, 1], pairs, find_scale([pairs]), errors[0], colours)
    axes[0, 0].set_axis_off()
    draw_bar_beside(row, axes[:, 1], find_scale([pairs]), "similarity that a pair adds", colours=colours)
    if interactions.given_other is None:
        strips = [np.zeros((n_query, 1)), np.zeros((1, n_retrieved))]
    else:
        maps = interactions.query_map[example, :n_query, None], interactions.retrieved_map[example, None, :n_retrieved]
        strips = [block.detach().cpu().double().numpy() for block in maps]
        axes[0, 0].text(0.5, 0.5, "each\ntoken", ha="center", va="center", size="small", transform=axes[0, 0].transAxes)
        draw_bar_beside(row, axes[:, 1], find_scale(strips), "similarity that a token adds", colours=colours)
    for panel, strip in zip((axes[1, 0], axes[0, 1]), strips, strict=True):
        _draw_matrix(panel, strip, find_scale(strips), errors[1], colours)
    axes[0, 1].xaxis.tick_top()
    axes[0, 1].set_xticks(range(n_retrieved), names[1], rotation=45, ha="left", rotation_mode="anchor")
    axes[1, 0].set_yticks(range(n_query), names[0])
    axes[1, 1].set_xlabel("pairs of tokens", size="small")


def _draw_matrix(panel: Axes, matrix: Float[np.ndarray, "rows columns"], scale: float, error: float, colours: str | Colormap) -> None:
    """Colours of a matrix, and its numbers if there is room, with the digits that their typical error leaves."""
    panel.imshow(matrix, cmap=colours, vmin=-(scale or 1.0), vmax=scale or 1.0, aspect="auto")
    panel.set(xticks=[], yticks=[])
    for row, column in np.argwhere(np.abs(matrix) >= LEAST_SHARE * scale) if max(matrix.shape) <= NUMBERED else ():
        label, colour = (
            format_number(float(matrix[row, column]), scale, error),
            "white" if abs(matrix[row, column]) > 0.6 * scale else "black",
        )
        if label != "0":
            panel.text(column, row, label.removeprefix("+"), ha="center", va="center", size="x-small", color=colour)
