"""What the viewer's page knows of a pair: photos or words, whose parts they are, and the numbers of each method."""

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

from captum_pairwise.players.regions import Players
from captum_pairwise.results.interactions import AXES, SIDES, Credits, Interactions
from captum_pairwise.visualization.heatmap_figure import SIGNED
from captum_pairwise.visualization.parts import PART_COLOURS, refuse_unknown
from captum_pairwise.visualization.photos import to_photos

Side = Tensor | Sequence[str]  # a batch of photos, or the words of one sentence
SHOWN = ("marginal", "between", "within_query", "within_retrieved")
LARGEST_PHOTO, LARGEST_MASK = 1024, 512  # pixels of the longer side on the page
QUALITY = 92  # of a JPEG


def of_both(found: Any) -> Any:
    """What a first-order method found of each image alone, as one: credit of the parts of both, and no pairs.

    What each image adds is over a baseline of its own, so there is no `empty` and no gap. Anything else is returned as it is.
    """
    if not isinstance(found, tuple) or len(found) != 2 or not all(isinstance(one, Interactions) for one in found):
        return found
    query, retrieved = found
    errors = [one.standard_error.marginal for one in found if one.standard_error is not None and one.standard_error.marginal is not None]
    return Interactions(
        n_query=query["marginal"].shape[1],
        empty=torch.full_like(query.empty, torch.nan),
        full=query.full,
        n_evaluations=query.n_evaluations + retrieved.n_evaluations,
        marginal=torch.cat([query["marginal"], retrieved["marginal"]], 1),
        standard_error=Credits(marginal=torch.cat(errors, 1)) if len(errors) == 2 else None,
        query_players=query.query_players,
        retrieved_players=retrieved.query_players or retrieved.retrieved_players,
    )


def page_data(methods: Mapping[str, Interactions], sides: tuple[Side, Side], example: int) -> dict[str, Any]:
    """All that the page needs, ready for JSON.

    Raises:
        ValueError: something does not fit, or is not finite.
    """
    _refuse_other_batches(methods, example)
    n_pairs = len(next(iter(methods.values())).full)
    return {
        "palette": _base64(matplotlib.colormaps[SIGNED](np.arange(256), bytes=True)[:, :3].tobytes()),
        "pinColours": PART_COLOURS,
        "sides": [_side(side, name, n_pairs, example) for side, name in zip(sides, SIDES, strict=True)],
        "methods": [_method(name, interactions, sides, example) for name, interactions in methods.items()],
    }


def _refuse_other_batches(methods: Mapping[str, Interactions], example: int) -> None:
    if not methods:
        raise ValueError("Expected the interactions of at least one method, got an empty mapping. Explain the pair first.")
    for name, interactions in methods.items():
        if not isinstance(interactions, Interactions):
            raise ValueError(
                f"Expected Interactions, got {type(interactions).__name__} for {name!r}. Call the method's `.interactions(...)`, and of "
                "SBSM's window pairs `.interactions()` again."
            )
    sizes = {name: len(interactions.full) for name, interactions in methods.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(f"Expected all methods to explain the same pairs, got batches of {sizes}. Explain the same images with each.")
    if not 0 <= example < min(sizes.values()):
        raise ValueError(f"Expected example from 0 to {min(sizes.values()) - 1}, got {example}. It is the place of the pair in the batch.")


# sides


def _side(side: Side, name: str, n_pairs: int, example: int) -> dict[str, Any]:
    if isinstance(side, Tensor):
        return _photo(side, name, n_pairs, example)
    if isinstance(side, str) or not isinstance(side, Sequence) or not all(isinstance(token, str) for token in side) or not len(side):
        came = repr(side) if isinstance(side, str) else type(side).__name__
        raise ValueError(
            f"Expected the {name} to be photos [B, 3, H, W] or the tokens of one sentence, a list of strings, got {came}. An encoder's "
            "`pieces(ids)[example]` are such tokens."
        )
    return {"tokens": list(side)}


def _photo(images: Tensor, name: str, n_pairs: int, example: int) -> dict[str, Any]:
    if images.dim() != 4 or images.shape[1] != 3 or len(images) != n_pairs:
        raise ValueError(
            f"Expected {name} photos [{n_pairs}, 3, H, W], RGB and as many as there are pairs, got shape {tuple(images.shape)}. Give "
            "the images that were explained; grey ones `.expand(-1, 3, -1, -1)`."
        )
    if not torch.isfinite(images[example]).all():
        raise ValueError(f"Expected finite photos, got NaN or infinity in the {name} photo of pair {example}. Look at where it was read.")
    photo = to_photos(images[example : example + 1], f"the {name} photo")[0]
    image = Image.fromarray((photo * 255).round().astype(np.uint8))
    image.thumbnail((LARGEST_PHOTO, LARGEST_PHOTO), Image.Resampling.LANCZOS)
    file = BytesIO()
    image.save(file, "JPEG", quality=QUALITY, subsampling=0)
    return {"photo": f"data:image/jpeg;base64,{_base64(file.getvalue())}", "width": image.width, "height": image.height}


# methods


def _method(name: str, interactions: Interactions, sides: tuple[Side, Side], example: int) -> dict[str, Any]:
    """The numbers of one method, its parts, and how far it is to be trusted."""
    if interactions.between is None and interactions.marginal is None:
        raise ValueError(
            f"Expected credits of parts or of pairs of parts, but {name!r} has neither `marginal` nor `between`. Take a method that "
            "computes one of them."
        )
    n_players = _n_players(interactions)
    players = (interactions.query_players, interactions.retrieved_players)
    named = [_n_named(side, n, what) for side, n, what in zip(sides, n_players, SIDES, strict=True)]
    kept = {"query": list(range(named[0])), "retrieved": list(range(named[1]))}
    kept["players"] = kept["query"] + [n_players[0] + player for player in kept["retrieved"]]
    ends = {"full": interactions.full, "empty": interactions.empty}
    if interactions.marginal is not None:
        ends["gap"] = interactions.completeness_gap
    return {
        "name": name,
        "parts": [_parts(*each, example) for each in zip(sides, players, n_players, SIDES, strict=True)],
        "credit": _blocks(interactions, kept, example, name),
        "error": _errors(interactions.standard_error or Credits(), kept, example),
        **{end: _number(value[example]) for end, value in ends.items()},
    }


def _n_players(interactions: Interactions) -> tuple[int, int]:
    if interactions.between is not None:
        return interactions.between.shape[1], interactions.between.shape[2]
    return interactions.n_query, interactions["marginal"].shape[1] - interactions.n_query


def _n_named(side: Side, n_players: int, name: str) -> int:
    """How many players of a side are shown: of a sentence, those that have a token."""
    if isinstance(side, Tensor):
        return n_players
    if len(side) > n_players:
        raise ValueError(
            f"Expected a token for each of the {n_players} players of the {name}, or fewer where a longer sentence is in the batch, got "
            f"{len(side)}. An encoder's `pieces(ids)[example]` are such tokens."
        )
    return len(side)


def _blocks(credits: Credits, kept: Mapping[str, list[int]], example: int, method: str) -> dict[str, str]:
    """The blocks that are known, as float32 in base64, without the players that have no token.

    Raises:
        ValueError: one is not finite, or such a player has credit.
    """
    refuse_unknown(credits, example, SHOWN, f" of {method!r}")
    packed = {}
    for name in SHOWN:
        block = getattr(credits, name)
        if block is None:
            continue
        named = _of_kept(block[example], AXES[name], kept)
        if named.count_nonzero() < block[example].count_nonzero():
            raise ValueError(
                f"Expected a token for each player with credit, but in `{name}` of {method!r} players without one have some. Name all "
                "tokens that play."
            )
        packed[name] = _floats(named)
    return packed


def _errors(errors: Credits, kept: Mapping[str, list[int]], example: int) -> dict[str, str]:
    known = {name: getattr(errors, name) for name in SHOWN}
    return {name: _floats(_of_kept(block[example], AXES[name], kept)) for name, block in known.items() if block is not None}


def _of_kept(block: Float[Tensor, "..."], axes: tuple[str, ...], kept: Mapping[str, list[int]]) -> Float[Tensor, "..."]:
    for dimension, axis in enumerate(axes):
        block = block.index_select(dimension, torch.tensor(kept[axis], device=block.device))
    return block


# parts


def _parts(side: Side, players: Players | None, n_players: int, name: str, example: int) -> dict[str, Any]:
    """Which part each pixel of a raster belongs to, the raster stretched over the photo; without `runs`, each pixel to itself."""
    if not isinstance(side, Tensor):
        return {"n": len(side)}
    if players is None or players.ids.dim() != 4 or players.n_players != n_players:
        came = "players of no known place" if players is None else f"{players.n_players} with ids of shape {tuple(players.ids.shape)}"
        raise ValueError(
            f"Expected {n_players} {name} players that lie in a photo, ids [B, C, H, W], got {came}. Give the tokens of a sentence as a "
            "list of strings, and those of a vision transformer a place by `layer_mask=cp.token_grid(...)`."
        )
    ids = players.ids[example].cpu()
    if (ids != ids[:1]).any():
        raise ValueError(f"Expected {name} players that own pixels, got some that own single channels. Give a mask [B, 1, H, W].")
    ids = _reduced(ids[0])
    raster = {"n": n_players, "height": ids.shape[0], "width": ids.shape[1]}
    is_cells = ids.numel() == n_players and torch.equal(ids.flatten(), torch.arange(n_players))
    return raster if is_cells else raster | {"runs": _runs(ids)}


def _reduced(ids: Int[Tensor, "height width"]) -> Int[Tensor, "h w"]:
    """Every so many pixels of a mask that is larger than the page needs."""
    longest = max(ids.shape)
    if longest <= LARGEST_MASK:
        return ids
    sizes = [max(1, size * LARGEST_MASK // longest) for size in ids.shape]
    rows, columns = (((torch.arange(new) + 0.5) * old / new).long() for new, old in zip(sizes, ids.shape, strict=True))
    reduced = ids[rows][:, columns]
    for player in set(ids.unique().tolist()) - set(reduced.unique().tolist()):  # one that no chosen pixel hits keeps one
        row, column = (ids == player).nonzero().double().mean(0).tolist()
        reduced[int(row * sizes[0] / ids.shape[0]), int(column * sizes[1] / ids.shape[1])] = player
    return reduced


def _runs(ids: Int[Tensor, "height width"]) -> list[int]:
    """Row by row: an id, how often it follows itself, the next id, and so on."""
    values, counts = ids.flatten().unique_consecutive(return_counts=True)
    return torch.stack([values, counts], 1).flatten().tolist()


# numbers


def _number(value: Tensor) -> float | None:
    return value.item() if isfinite(value.item()) else None


def _floats(values: Tensor) -> str:
    return _base64(values.detach().cpu().double().numpy().astype("<f4").tobytes())


def _base64(content: bytes) -> str:
    return b64encode(content).decode("ascii")
