"""Data of the viewer's page: photos or tokens, the places of their parts, and the numbers of each method."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from io import BytesIO
from math import isfinite
from typing import Any

import matplotlib
import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from captum_pairwise.results.credits import AXES, Credits
from captum_pairwise.results.index_words import describe_index, describe_prediction
from captum_pairwise.results.interactions import SIDES, Interactions
from captum_pairwise.results.verdict import Verdict
from captum_pairwise.visualization.headline import choose_colours
from captum_pairwise.visualization.input_kinds import InputKind
from captum_pairwise.visualization.marks import PART_COLOURS
from captum_pairwise.visualization.parts import check_pair
from captum_pairwise.visualization.photo_parts import PhotoParts
from captum_pairwise.visualization.photos import LARGEST_PHOTO, Array
from captum_pairwise.visualization.sheets import Side, draw_sheet

Sheet = PhotoParts | tuple[str, ...]  # the picture of one side, or its tokens
SHOWN = ("given_other", "between", "within_query", "within_retrieved")
LARGEST_MASK = 512  # pixels of the longer side on the page
QUALITY = 92  # of a JPEG


def merge_sides(result: Any) -> Any:
    """One result from a first-order method's results for each image: the map of each image, without pairs.

    Each image has its own baseline value, so `empty` is NaN. Other results are returned unchanged.
    """
    if not isinstance(result, tuple) or len(result) != 2 or not all(isinstance(side, Interactions) for side in result):
        return result
    query, retrieved = result
    errors = [side.standard_error.marginal for side in result if side.standard_error and side.standard_error.marginal is not None]
    return Interactions(
        n_query=query["marginal"].shape[1],
        empty=torch.full_like(query.empty, torch.nan),
        full=query.full,
        without_query=query.empty,
        without_retrieved=retrieved.empty,
        n_evaluations=query.n_evaluations + retrieved.n_evaluations,
        given_other=torch.cat([query["marginal"], retrieved["marginal"]], 1),
        standard_error=Credits(given_other=torch.cat(errors, 1)) if len(errors) == 2 else None,
        query_players=query.query_players,
        retrieved_players=retrieved.query_players or retrieved.retrieved_players,
    )


def build_page_data(methods: Mapping[str, Interactions], sides: tuple[Side, Side], example: int, verdict: Verdict | None) -> dict[str, Any]:
    """All data of the page, as values for JSON.

    Raises:
        ValueError: the arguments do not fit together, or a number is not finite.
    """
    _check_methods(methods, example)
    sheets: list[tuple[Sheet, Sheet]] = []
    for name, interactions in methods.items():
        sheets.append(prepare_sides(sides, interactions, example, name, sheets[0] if sheets else None))
    return {
        **build_colours(verdict),
        "isSimilar": verdict is None or verdict.is_similar,
        "sides": [describe_side(sheet) for sheet in sheets[0]],
        "methods": [describe_method(*method, pair, example) for method, pair in zip(methods.items(), sheets, strict=True)],
    }


def build_colours(verdict: Verdict | None) -> dict[str, Any]:
    """The colours of the page: of values, and of numbered parts."""
    palette = matplotlib.colormaps.get_cmap(choose_colours(verdict))(np.arange(256), bytes=True)[:, :3]
    return {"palette": _encode(palette), "pinColours": PART_COLOURS}


def _check_methods(methods: Mapping[str, Interactions], example: int) -> None:
    if not methods:
        raise ValueError("Expected the interactions of at least one method, got an empty mapping. Explain the pair first.")
    for name, result in methods.items():
        if not isinstance(result, Interactions):
            raise ValueError(
                f"Expected Interactions, got {type(result).__name__} for {name!r}. Call `.interactions()`, also on window pairs of SBSM."
            )
    sizes = {name: len(interactions.full) for name, interactions in methods.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(f"Expected all methods to explain the same pairs, got batches of {sizes}. Explain the same images with each.")
    if not 0 <= example < min(sizes.values()):
        raise ValueError(f"Expected example from 0 to {min(sizes.values()) - 1}, got {example}. It is the number of a pair in the batch.")


# sides


def prepare_sides(
    sides: tuple[Side, Side], interactions: Interactions, example: int, method: str, first: tuple[Sheet, Sheet] | None = None
) -> tuple[Sheet, Sheet]:
    """The picture or the tokens of both sides.

    Args:
        sides: as in the public functions.
        interactions: of one method.
        example: the number of the pair.
        method: the name of the method, for messages.
        first: the sides of the method whose slices are shown; None chooses slices.

    Raises:
        ValueError: a side is neither a picture nor tokens, or the players do not lie in it.
    """
    check_pair(interactions, example, SHOWN, f" of {method!r}")
    return (
        prepare_side(sides[0], interactions, 0, example, None if first is None else first[0]),
        prepare_side(sides[1], interactions, 1, example, None if first is None else first[1]),
    )


def prepare_side(side: Side, interactions: Interactions, number: int, example: int, first: Sheet | None = None) -> Sheet:
    """The picture or the tokens of one side; arguments and errors are as for `prepare_sides`."""
    if isinstance(side, Array | InputKind):
        slices = first.slices if isinstance(first, PhotoParts) and first.slices else None
        return draw_sheet(side, interactions, number, example, slices)
    if isinstance(side, str) or not isinstance(side, Sequence) or not all(isinstance(token, str) for token in side) or not len(side):
        actual = repr(side) if isinstance(side, str) else type(side).__name__
        raise ValueError(
            f"Expected {SIDES[number]} photos [B, 3, H, W] or a list of tokens of one sentence, got {actual}. Use "
            "`encoder.pieces(ids)[example]`."
        )
    return tuple(side)


def describe_side(sheet: Sheet, largest: int = LARGEST_PHOTO) -> dict[str, Any]:
    """A picture as a JPEG of at most `largest` pixels a side, or the tokens of a sentence, as values for JSON."""
    if not isinstance(sheet, PhotoParts):
        return {"tokens": list(sheet), "noun": "sentence", "isWide": False}
    image = Image.fromarray((sheet.photo * 255).round().astype(np.uint8))
    if not sheet.is_wide:  # whose words would be too small
        image.thumbnail((largest, largest), Image.Resampling.LANCZOS)
    file = BytesIO()
    image.save(file, "JPEG", quality=QUALITY, subsampling=0)
    photo = f"data:image/jpeg;base64,{_encode(file.getvalue())}"
    return {"photo": photo, "width": image.width, "height": image.height, "noun": sheet.noun, "isWide": sheet.is_wide}


# methods


def describe_method(name: str, interactions: Interactions, sides: tuple[Sheet, Sheet], example: int) -> dict[str, Any]:
    """Numbers of one method, the places of its parts, and its errors."""
    n_players = _count_players(interactions, name)
    n_shown = [_count_shown(side, n, side_name) for side, n, side_name in zip(sides, n_players, SIDES, strict=True)]
    credit = _select_blocks(interactions, n_shown, n_players[0], example)
    if lost := [block for block in credit if credit[block].count_nonzero() < interactions[block][example].count_nonzero()]:
        raise ValueError(f"Expected a token for each player with credit, got too few for {lost} of {name!r}. Name all tokens that play.")
    errors = _select_blocks(interactions.standard_error or Credits(), n_shown, n_players[0], example)
    ends = (interactions.full, interactions.without_query, interactions.without_retrieved)
    full, *without = (None if end is None or not isfinite(end[example]) else end[example].item() for end in ends)
    gaps = [] if interactions.given_other is None or None in without else [gap[example].abs().item() for gap in interactions.map_gaps]
    return {
        "name": name,
        "parts": [_locate(*side) for side in zip(sides, n_players, SIDES, strict=True)],
        "credit": {block_name: encode_floats(block) for block_name, block in credit.items()},
        "error": {block_name: encode_floats(block) for block_name, block in errors.items()},
        "full": full,
        "without": without,
        "gap": max(gaps, default=None),
        "prediction": describe_prediction(interactions, example),
        "index": describe_index(interactions),
    }


def _count_players(interactions: Interactions, name: str) -> tuple[int, int]:
    if interactions.between is not None:
        return interactions.between.shape[1], interactions.between.shape[2]
    if interactions.given_other is not None:
        return interactions.n_query, interactions.given_other.shape[1] - interactions.n_query
    raise ValueError(f"Expected `given_other` or `between` of {name!r}, got neither. Use a method that computes them.")


def _count_shown(side: Sheet, n_players: int, name: str) -> int:
    """Number of players of a side on the page: all parts of a photo, or the players of a sentence that have a token."""
    if isinstance(side, PhotoParts):
        return n_players
    if len(side) > n_players:
        raise ValueError(f"Expected up to {n_players} {name} tokens, one per player, got {len(side)}. Use `encoder.pieces(ids)[example]`.")
    return len(side)


def _select_blocks(credits: Credits, n_shown: Sequence[int], n_query: int, example: int) -> dict[str, Float[Tensor, "..."]]:
    """The known blocks of one pair in float64 on the CPU, without the players that have no token."""
    query, retrieved = map(torch.arange, n_shown)
    shown = {"query": query, "retrieved": retrieved, "players": torch.cat([query, n_query + retrieved])}
    selected = {}
    for name in SHOWN:
        if (blocks := getattr(credits, name)) is not None:
            selected[name] = blocks[example].detach().cpu().double()
            for dimension, axis in enumerate(AXES[name]):
                selected[name] = selected[name].index_select(dimension, shown[axis])
    return selected


# parts


def _locate(side: Sheet, n_players: int, name: str) -> dict[str, Any]:
    """Raster of the owners of a picture's pixels, in run lengths. Without `runs`, each cell of the raster is a part."""
    if not isinstance(side, PhotoParts):
        return {"n": len(side)}
    players = side.players
    if players.n_players != n_players:
        raise ValueError(
            f"Expected {n_players} {name} players, got {players.n_players}. Pass the result of a method's `.interactions(...)`."
        )
    ids = players.ids[0]
    if (ids != ids[:1]).any():
        raise ValueError(f"Expected {name} players that own pixels, got some that own single channels. Pass a mask [B, 1, H, W].")
    ids = _shrink_mask(ids[0])
    raster = {"n": n_players, "height": ids.shape[0], "width": ids.shape[1]}
    is_cells = ids.numel() == n_players and torch.equal(ids.flatten(), torch.arange(n_players, device="cpu"))
    names = {"names": side.names} if side.names else {}
    return raster | names if is_cells else raster | names | {"runs": _encode_runs(ids)}


def _shrink_mask(ids: Int[Tensor, "height width"]) -> Int[Tensor, "h w"]:
    """The mask at no more pixels than the page needs."""
    longest = max(ids.shape)
    if longest <= LARGEST_MASK:
        return ids
    sizes = [max(1, size * LARGEST_MASK // longest) for size in ids.shape]
    rows, columns = ((2 * torch.arange(new, device="cpu") + 1) * old // (2 * new) for new, old in zip(sizes, ids.shape, strict=True))
    smaller = ids[rows][:, columns]
    for player in set(ids.unique().tolist()) - set(smaller.unique().tolist()):  # a player without any chosen pixel gets one
        row, column = (ids == player).nonzero().double().mean(0).tolist()
        smaller[int(row * sizes[0] / ids.shape[0]), int(column * sizes[1] / ids.shape[1])] = player
    return smaller


def _encode_runs(ids: Int[Tensor, "height width"]) -> list[int]:
    """Run lengths in reading order: an id, the length of its run, the next id, and so on."""
    values, counts = ids.flatten().unique_consecutive(return_counts=True)
    return torch.stack([values, counts], 1).flatten().tolist()


def encode_floats(block: Tensor) -> str:
    """Numbers as the page reads them: float32, little endian, in base64."""
    return _encode(block.detach().cpu().double().numpy().astype("<f4"))


def _encode(content: bytes | np.ndarray) -> str:
    """Bytes, or the bytes of an array, in base64."""
    return b64encode(content if isinstance(content, bytes) else content.tobytes()).decode("ascii")
