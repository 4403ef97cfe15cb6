"""Figures of pairs with text: two sentences, or a photo and a sentence."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from captum_pairwise.results.interactions import Interactions
from captum_pairwise.visualization.overlays import overlay
from captum_pairwise.visualization.parts import PhotoParts, check_pair, check_players, locate_in_photo
from captum_pairwise.visualization.photos import Array, check_photos, draw_photo
from captum_pairwise.visualization.style import SIGNED, draw_bar_beside, escape_text, find_scale, format_number, write_title

CELL = 0.55  # inches of a pair of tokens
NUMBERED = 16  # at most this many tokens on a side leave room for numbers in the cells
LEAST_SHARE = 0.03  # of the scale: smaller credits have no number
COLUMNS = 5
TOKEN_NAMES = 2.2  # inches for the names of the tokens


def token_figure(
    interactions: Interactions, query_tokens: Sequence[str], retrieved_tokens: Sequence[str], example: int = 0, title: str = ""
) -> Figure:
    """Draw the credit of every pair of tokens as a matrix, and beside it the credit of every token, all on one signed scale.

    Args:
        interactions: of the tokens of two sentences.
        query_tokens: names of the query's players in order; fewer than players if the batch has a longer sentence.
        retrieved_tokens: names of the retrieved sentence's players.
        example: the number of the pair in the batch.
        title: the title of the figure.

    Raises:
        ValueError: there are too few or too many names, or a credit is not finite.
    """
    names = list(map(escape_text, query_tokens)), list(map(escape_text, retrieved_tokens))
    n_query, n_retrieved = len(names[0]), len(names[1])
    check_pair(interactions, example)
    between = interactions["between"][example]
    _check_names(between, n_query, n_retrieved)
    marginals = interactions.query_map[example, :n_query, None], interactions.retrieved_map[example, None, :n_retrieved]
    matrices = [block.detach().cpu().double().numpy() for block in (between[:n_query, :n_retrieved], *marginals)]
    size = (CELL * (n_retrieved + 1) + TOKEN_NAMES + 1.2, CELL * (n_query + 1) + TOKEN_NAMES)
    figure = Figure(figsize=(max(size[0], 8.5), size[1]), layout="constrained", dpi=110)
    figure.suptitle(write_title(interactions, example, title), size="medium")
    axes = figure.subplots(2, 2, width_ratios=[1, n_retrieved], height_ratios=[1, n_query], squeeze=False)
    _draw_matrices(figure, axes, matrices)
    axes[0, 1].xaxis.tick_top()
    axes[0, 1].set_xticks(range(n_retrieved), names[1], rotation=45, ha="left", rotation_mode="anchor")
    axes[1, 0].set_yticks(range(n_query), names[0])
    return figure


def _check_names(between: Float[Tensor, "query retrieved"], n_query: int, n_retrieved: int) -> None:
    """Check that every token with credit has a name."""
    unnamed = between[n_query:].any() or between[:, n_retrieved:].any()
    if not (0 < n_query <= between.shape[0] and 0 < n_retrieved <= between.shape[1]) or unnamed:
        raise ValueError(
            f"Expected names of all tokens that play, up to {tuple(between.shape)}, got {n_query, n_retrieved}. Use `encoder.pieces(ids)`."
        )


def _draw_matrices(figure: Figure, axes: np.ndarray, matrices: list[np.ndarray]) -> None:
    """The pairs, and beside them the tokens of the query and of the retrieved sentence."""
    scale = find_scale(matrices)
    for panel, matrix in zip((axes[1, 1], axes[1, 0], axes[0, 1]), matrices, strict=True):
        _draw_matrix(panel, matrix, scale, max(matrices[0].shape) <= NUMBERED)
    axes[0, 0].set_axis_off()
    axes[0, 0].text(0.5, 0.5, "each\ntoken", ha="center", va="center", size="small", transform=axes[0, 0].transAxes)
    axes[1, 1].set_xlabel("pairs of tokens", size="small")
    draw_bar_beside(figure, axes[:, 1], scale)


def _draw_matrix(panel: Axes, matrix: Float[np.ndarray, "rows columns"], scale: float, with_numbers: bool) -> None:
    panel.imshow(matrix, cmap=SIGNED, vmin=-(scale or 1.0), vmax=scale or 1.0, aspect="auto")
    panel.set(xticks=[], yticks=[])
    style = ".0e" if scale < 0.005 else ".3f" if scale < 0.1 else ".2f"
    for row, column in np.argwhere(np.abs(matrix) >= LEAST_SHARE * scale) if with_numbers else ():
        number = matrix[row, column]
        label, colour = f"{number:{style}}", "white" if abs(number) > 0.6 * scale else "black"
        if float(label):
            panel.text(column, row, label, ha="center", va="center", size="x-small", color=colour)


def caption_figure(interactions: Interactions, images: Array, tokens: Sequence[str], example: int = 0, title: str = "") -> Figure:
    """Draw the photo, the credit of its parts, and for each token a map of its pairs with the parts. The token maps share one signed scale.

    Args:
        interactions: of the parts of an image and the tokens of a sentence; either may be the query.
        images: the photos, RGB `[B, 3, H, W]` in [0, 1].
        tokens: names of the sentence's players in order.
        example: the number of the pair in the batch.
        title: the title of the figure.

    Raises:
        ValueError: no side lies in an image, there are too few or too many names, a photo is not in [0, 1], or a credit is not finite.
    """
    players = check_players(interactions)
    image = next((side for side in range(2) if players[side].ids.dim() == 4), None)
    if image is None:
        raise ValueError("Expected one side whose players lie in an image, got none. Draw two sentences with `token_figure`.")
    check_pair(interactions, example)
    between = interactions["between"][example] if image == 0 else interactions["between"][example].T
    _check_names(between, len(between), len(tokens))
    credits = interactions.query_map[example], interactions.retrieved_map[example]
    parts = locate_in_photo(players[image], check_photos(images), example)
    rows = -(-(2 + len(tokens)) // COLUMNS)
    figure = Figure(figsize=(2.6 * COLUMNS + 1, 2.9 * rows + 0.8), layout="constrained", dpi=110)
    figure.suptitle(write_title(interactions, example, title), size="medium")
    axes = figure.subplots(rows, COLUMNS, squeeze=False)
    for panel in axes.flat:
        panel.set_axis_off()
    draw_photo(axes.flat[0], parts.photo, "photo")
    heat = parts.paint(credits[image])
    draw_photo(axes.flat[1], overlay(parts.photo, heat), "each part")
    draw_bar_beside(figure, [axes.flat[1]], find_scale([heat]), location="bottom")
    _draw_token_maps(figure, axes, parts, between, tokens, credits[1 - image])
    return figure


def _draw_token_maps(figure: Figure, axes: np.ndarray, parts: PhotoParts, between: Tensor, tokens: Sequence[str], credits: Tensor) -> None:
    """For each token the map of its pairs, and its own credit in the title."""
    maps = [parts.paint(between[:, token]) for token in range(len(tokens))]
    scale, largest = find_scale(maps), credits.abs().max().item()
    for panel, heat, token, credit in zip(axes.flat[2:], maps, tokens, credits.tolist(), strict=False):
        draw_photo(panel, overlay(parts.photo, heat, scale))
        panel.set_title(f"{escape_text(token)}  {format_number(credit, largest)}", weight="bold")
    draw_bar_beside(figure, axes.flat, scale, "similarity of a pair of part and token")
