"""Figures that explain a pair with text in it: words against words, and words over a photo."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from captum_pairwise.results.interactions import Interactions
from captum_pairwise.visualization.headers import header
from captum_pairwise.visualization.heatmap_figure import overlay
from captum_pairwise.visualization.parts import PhotoParts, check_example, on_photo, places_of, refuse_unknown
from captum_pairwise.visualization.photos import Array, show, to_photos
from captum_pairwise.visualization.scales import SIGNED, largest, signed_bar
from captum_pairwise.visualization.scales import number as written
from captum_pairwise.visualization.wording import plain

CELL = 0.55  # inches of a pair of tokens
NUMBERED = 16  # the most tokens of a side whose cells have room for numbers
LEAST = 0.03  # of the scale: smaller credits are left without a number
COLUMNS = 5
SHOWN_TOKENS = 2.2  # inches that the names of tokens take


def token_figure(
    interactions: Interactions, query_tokens: Sequence[str], retrieved_tokens: Sequence[str], example: int = 0, title: str = ""
) -> Figure:
    """Draw the credit of every pair of tokens as a matrix, and that of every token beside it, all on one signed scale.

    Args:
        interactions: of the tokens of two sentences.
        query_tokens: what the players of the query are called, in order; fewer than there are where a longer sentence is in the batch.
        retrieved_tokens: the same for the retrieved sentence.
        example: which pair of the batch.
        title: a line above.

    Raises:
        ValueError: names are missing or too many, or a credit is not finite.
    """
    names = list(map(plain, query_tokens)), list(map(plain, retrieved_tokens))
    query, retrieved = (len(tokens) for tokens in names)
    check_example(interactions, example)
    refuse_unknown(interactions, example)
    between = interactions["between"][example]
    _refuse_missing_names(between, names)
    blocks = (
        between[:query, :retrieved],
        interactions.query_marginal[example, :query, None],
        interactions.retrieved_marginal[example, None, :retrieved],
    )
    size = (CELL * (retrieved + 1) + SHOWN_TOKENS + 1.2, CELL * (query + 1) + SHOWN_TOKENS)
    figure = Figure(figsize=(max(size[0], 8.5), size[1]), layout="constrained", dpi=110)
    figure.suptitle(header(interactions, example, title), size="medium")
    axes = figure.subplots(2, 2, width_ratios=[1, retrieved], height_ratios=[1, query], squeeze=False)
    _draw_matrices(figure, axes, [block.detach().cpu().double().numpy() for block in blocks])
    axes[0, 1].xaxis.tick_top()
    axes[0, 1].set_xticks(range(retrieved), names[1], rotation=45, ha="left", rotation_mode="anchor")
    axes[1, 0].set_yticks(range(query), names[0])
    return figure


def _draw_matrices(figure: Figure, axes: np.ndarray, matrices: list[np.ndarray]) -> None:
    """The pairs, and beside them the tokens of the query and of the retrieved sentence."""
    scale = largest(matrices)
    for panel, matrix in zip((axes[1, 1], axes[1, 0], axes[0, 1]), matrices, strict=True):
        _draw_matrix(panel, matrix, scale, max(matrices[0].shape) <= NUMBERED)
    axes[0, 0].set_axis_off()
    axes[0, 0].text(0.5, 0.5, "each\ntoken", ha="center", va="center", size="small", transform=axes[0, 0].transAxes)
    axes[1, 1].set_xlabel("pairs of tokens", size="small")
    signed_bar(figure, axes[:, 1], scale)


def _refuse_missing_names(between: Float[Tensor, "query retrieved"], names: tuple[list[str], list[str]]) -> None:
    n_query, n_retrieved = (len(tokens) for tokens in names)
    unnamed = between[n_query:].any() or between[:, n_retrieved:].any()
    if not (0 < n_query <= between.shape[0] and 0 < n_retrieved <= between.shape[1]) or unnamed:
        raise ValueError(
            f"Expected a name for each token that plays, {between.shape[0]} of the query and {between.shape[1]} of the retrieved sentence, "
            f"or fewer where a longer one is in the batch, got {n_query} and {n_retrieved}. An encoder's `pieces(ids)` are such names."
        )


def _draw_matrix(panel: Axes, numbers: Float[np.ndarray, "rows columns"], scale: float, with_numbers: bool) -> None:
    limit = scale or 1.0
    panel.imshow(numbers, cmap=SIGNED, vmin=-limit, vmax=limit, aspect="auto")
    panel.set(xticks=[], yticks=[])
    digits = ".0e" if scale < 0.005 else ".3f" if scale < 0.1 else ".2f"
    shown = np.argwhere(np.abs(numbers) >= LEAST * scale) if with_numbers else ()
    for row, column in shown:
        number = numbers[row, column]
        label, colour = f"{number:{digits}}", "white" if abs(number) > 0.6 * scale else "black"
        if float(label):
            panel.text(column, row, label, ha="center", va="center", size="x-small", color=colour)


def caption_figure(interactions: Interactions, images: Array, tokens: Sequence[str], example: int = 0, title: str = "") -> Figure:
    """Draw the photo, the credit of its parts, and for each token the map of its pairs with them, all maps of tokens on one signed scale.

    Args:
        interactions: of the parts of an image and the tokens of a sentence, whichever is the query.
        images: the photos, RGB `[B, 3, H, W]` in [0, 1].
        tokens: what the players of the sentence are called, in order.
        example: which pair of the batch.
        title: a line above.

    Raises:
        ValueError: no side lies in an image, names are missing or too many, a photo is not in [0, 1], or a credit is not finite.
    """
    players = places_of(interactions)
    image = next((k for k in range(2) if players[k].ids.dim() == 4), None)
    if image is None:
        raise ValueError("Expected one side whose players lie in an image, got none. Draw two sentences with `token_figure`.")
    check_example(interactions, example)
    refuse_unknown(interactions, example)
    between = interactions["between"][example] if image == 0 else interactions["between"][example].T
    _refuse_missing_names(between, ([""] * len(between), list(tokens)))
    credits = interactions.query_marginal[example], interactions.retrieved_marginal[example]
    parts = on_photo(players[image], to_photos(images), example)
    rows = -(-(2 + len(tokens)) // COLUMNS)
    figure = Figure(figsize=(2.6 * COLUMNS + 1, 2.9 * rows + 0.8), layout="constrained", dpi=110)
    figure.suptitle(header(interactions, example, title), size="medium")
    axes = figure.subplots(rows, COLUMNS, squeeze=False)
    for panel in axes.flat:
        panel.set_axis_off()
    show(axes.flat[0], parts.photo, "photo")
    of_parts = parts.spread(credits[image])
    show(axes.flat[1], overlay(parts.photo, of_parts), "each part")
    signed_bar(figure, [axes.flat[1]], largest([of_parts]), location="bottom")
    _draw_words(figure, axes, parts, between, tokens, credits[1 - image])
    return figure


def _draw_words(figure: Figure, axes: np.ndarray, parts: PhotoParts, between: Tensor, tokens: Sequence[str], credits: Tensor) -> None:
    """For each token the map of its pairs, and its own credit, on one scale."""
    maps = [parts.spread(between[:, token]) for token in range(len(tokens))]
    scale, most = largest(maps), credits.abs().max().item()
    for panel, one, token, credit in zip(axes.flat[2:], maps, tokens, credits.tolist(), strict=False):
        show(panel, overlay(parts.photo, one, scale))
        panel.set_title(f"{plain(token)}  {written(credit, most)}", weight="bold")
    signed_bar(figure, axes.flat, scale, "similarity of a pair of part and token")
