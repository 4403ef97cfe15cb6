"""Figure of a photo and a sentence: what each part of the photo adds, and where each token is found in it."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure, SubFigure
from torch import Tensor

from captum_pairwise.results.index_words import describe_index
from captum_pairwise.results.interactions import Interactions
from captum_pairwise.results.verdict import Verdict
from captum_pairwise.visualization.headline import (
    ask_question,
    build_page,
    choose_colours,
    write_headline,
    write_numbers,
    write_small_print,
)
from captum_pairwise.visualization.input_kinds import InputKind, Signal, Video, Volume
from captum_pairwise.visualization.overlays import overlay
from captum_pairwise.visualization.parts import check_pair, check_players
from captum_pairwise.visualization.photo_parts import PhotoParts
from captum_pairwise.visualization.photos import Array, draw_photo
from captum_pairwise.visualization.sheets import draw_sheet
from captum_pairwise.visualization.style import draw_bar_beside, escape_text, find_scale, find_typical_error, format_number
from captum_pairwise.visualization.token_figure import NO_MAP, check_names, describe_ends

COLUMNS = 5
PHOTO_SIZE = 2.3  # inches of a photo below its title
CAPTION_MEANING = (
    "The value of a part or of a token is what it adds to the similarity while the other side is whole. The map shows the parts, the "
    "numbers in the titles are of the tokens. Red raises the similarity, blue lowers it.",
    "The map of a token shows its pairs with the parts of the photo. Its value also counts what it adds on its own and together with other "
    "tokens. So its pairs need not sum to its value.",
)


def caption_figure(
    interactions: Interactions,
    images: Array | InputKind,
    tokens: Sequence[str],
    example: int = 0,
    title: str = "",
    *,
    verdict: Verdict | None = None,
) -> Figure:
    """Draw the photo, what each of its parts adds, and for each token a map of its pairs with the parts. The token maps share one scale.

    Args:
        interactions: of the parts of an image and the tokens of a sentence; either may be the query.
        images: the photos, RGB `[B, 3, H, W]` in [0, 1].
        tokens: names of the sentence's players in order.
        example: the number of the pair in the batch.
        title: the title of the figure; "" for the verdict's question.
        verdict: words above the figure. Its warnings are a red band. If the numbers are not to be read, the maps are grey.

    Raises:
        ValueError: no side lies in an image, there are too few or too many names, a photo is not in [0, 1], or a credit is not finite.

    >>> import torch, captum_pairwise as cp
    >>> score = cp.ExactShapleyTaylor(lambda photo, words: photo.mean((1, 2, 3)) * words.sum(1))
    >>> photo = torch.rand(1, 3, 4, 4)
    >>> interactions = score.interactions((photo, torch.ones(1, 2)), baselines=(0, 0))
    >>> figure = caption_figure(interactions, photo, ["red", "cat"])
    >>> [panel.get_title().split()[0] for panel in figure.axes[2:4]]
    ['red', 'cat']

    See also `token_figure`, and `cp.models.DualEncoder` for encoders of both.
    """
    image, parts = _find_photo(interactions, images, example)
    between = interactions["between"][example] if image == 0 else interactions["between"][example].T
    check_names(between, len(between), len(tokens))
    maps = (None, None) if interactions.given_other is None else (interactions.query_map[example], interactions.retrieved_map[example])
    n_rows, width, colours = -(-(2 + len(tokens)) // COLUMNS), 2.6 * COLUMNS, choose_colours(verdict)
    kinds = (parts.noun, "sentence") if image == 0 else ("sentence", parts.noun)
    above = write_headline(title or (verdict.question if verdict else ask_question(kinds)), verdict, width)
    meaning = (NO_MAP,) if interactions.given_other is None else CAPTION_MEANING
    numbers = [describe_index(interactions), *describe_ends(interactions, example, kinds), write_numbers(interactions, example, verdict)]
    figure, (row,) = build_page(width, [(PHOTO_SIZE + 0.6) * n_rows + 0.4], above, write_small_print([*meaning, *numbers], width))
    axes = list(row.subplots(n_rows, COLUMNS, squeeze=False).flat)
    _draw_photo_map(row, axes[:2], parts, maps[image], colours)
    values = _write_values(interactions, example, maps[1 - image], len(tokens))
    _draw_token_maps(row, axes[2:], parts, between, tokens, values, colours)
    for panel in axes:
        panel.set_anchor("N")  # bars would move their maps
    return figure


def _find_photo(interactions: Interactions, images: Array | InputKind, example: int) -> tuple[int, PhotoParts]:
    """The number of the side that is a photo, and its parts.

    Raises:
        ValueError: no side lies in an image, the photos do not fit, or a credit is not finite.
    """
    players = check_players(interactions)
    n_axes = 2 if not isinstance(images, Volume | Video | Signal) else images.n_axes
    image = next((side for side in range(2) if n_axes in (players[side].ids.dim() - 2, len(players[side].shape))), None)
    if image is None:
        raise ValueError("Expected one side whose players lie in an image, got none. Draw two sentences with `token_figure`.")
    check_pair(interactions, example)
    return image, draw_sheet(images, interactions, image, example)


def _draw_photo_map(row: SubFigure, axes: Sequence[Axes], parts: PhotoParts, credit: Tensor | None, colours: str | Colormap) -> None:
    """The photo, and what each of its parts adds."""
    draw_photo(axes[0], parts.photo, parts.noun)
    for panel in axes:
        panel.set_axis_off()
    if credit is not None:
        heat = parts.paint(credit)
        draw_photo(axes[1], overlay(parts.photo, heat, colours=colours), f"{parts.noun}: what each part adds")
        draw_bar_beside(row, [axes[1]], find_scale([heat]), location="bottom", colours=colours)


def _write_values(interactions: Interactions, example: int, credit: Tensor | None, n_tokens: int) -> list[str]:
    """The value of each token as text, with the digits that its typical error leaves; empty without values."""
    if credit is None:
        return [""] * n_tokens
    error, largest = find_typical_error(interactions, example, "given_other") or 0.0, credit.abs().max().item()
    return [format_number(value, largest, error) for value in credit.tolist()]


def _draw_token_maps(
    row: SubFigure,
    axes: Sequence[Axes],
    parts: PhotoParts,
    between: Tensor,
    tokens: Sequence[str],
    values: Sequence[str],
    colours: str | Colormap,
) -> None:
    """For each token the map of its pairs, and its own value in the title."""
    maps = [parts.paint(between[:, token]) for token in range(len(tokens))]
    for panel in axes:
        panel.set_axis_off()
    for panel, heat, token, value in zip(axes, maps, tokens, values, strict=False):
        draw_photo(panel, overlay(parts.photo, heat, find_scale(maps), colours))
        panel.set_title(f"{escape_text(token)}  {value}".rstrip(), weight="bold")
    draw_bar_beside(row, axes, find_scale(maps), "similarity of a pair of part and token", colours=colours)
