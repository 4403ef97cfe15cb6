"""One pair out of a batch of results."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from captum_pairwise.players.regions import Players
from captum_pairwise.results.credits import AXES, Credits, get_blocks
from captum_pairwise.results.interactions import Interactions
from captum_pairwise.results.renumbering import map_sources


def take_pair(interactions: Interactions, example: int) -> Interactions:
    """The results of one pair, a batch of one, without players that only longer sentences of the batch have.

    Args:
        interactions: of a batch of pairs.
        example: the number of the pair.
    """
    chosen = slice(example, example + 1)
    players = [_take_players(side, example) for side in (interactions.query_players, interactions.retrieved_players)]
    kept, errors = _list_kept(interactions, players), interactions.standard_error
    tensors: dict[str, Any] = {name: value[chosen] for name, value in vars(interactions).items() if isinstance(value, Tensor)}
    tensors |= {name: block[chosen] for name, block in get_blocks(interactions).items()}
    tensors["standard_error"] = None if errors is None else Credits(**{name: block[chosen] for name, block in get_blocks(errors).items()})
    tensors["sources"] = None if interactions.sources is None else interactions.sources[chosen]
    pair = replace(interactions, **tensors, query_players=None, retrieved_players=None)
    return replace(_keep_all(pair, kept), query_players=players[0], retrieved_players=players[1])


def _keep_all(pair: Interactions, kept: dict[str, Tensor]) -> Interactions:
    """The results of one pair for the players that are left."""

    def keep(credits: Credits) -> dict[str, Any]:
        return {name: _keep_players(name, block, kept) for name, block in get_blocks(credits).items()}

    errors = None if pair.standard_error is None else Credits(**keep(pair.standard_error))
    sources = map_sources(pair, lambda other: _keep_all(other, kept))
    return replace(pair, **keep(pair), n_query=len(kept["query"]), standard_error=errors, sources=sources)


def keep_first(pair: Interactions, n_query: int | None, n_retrieved: int | None) -> Interactions:
    """The results of one pair for the first players of each side, without their masks; None keeps all."""
    counts = pair.n_query if n_query is None else n_query, _count_retrieved(pair) if n_retrieved is None else n_retrieved
    query, retrieved = (torch.arange(n, device=pair.full.device, dtype=torch.int64) for n in counts)
    kept = {"query": query, "retrieved": retrieved, "players": torch.cat([query, retrieved + pair.n_query])}
    return _keep_all(replace(pair, query_players=None, retrieved_players=None), kept)


def _take_players(players: Players | None, example: int) -> Players | None:
    """The players of one example; the last ones go if it has no element of them and they are no cells of a map."""
    if players is None:
        return None
    ids = players.ids[example : example + 1]
    return Players(ids, (int(ids.max()) + 1,) if len(players.shape) == 1 else players.shape)


def _list_kept(interactions: Interactions, players: list[Players | None]) -> dict[str, Tensor]:
    """The numbers of the players that are left, by the name of an axis."""
    sizes = interactions.n_query, _count_retrieved(interactions)
    query, retrieved = (
        torch.arange(size if own is None else own.n_players, device=interactions.full.device, dtype=torch.int64)
        for size, own in zip(sizes, players, strict=True)
    )
    return {"query": query, "retrieved": retrieved, "players": torch.cat([query, retrieved + interactions.n_query])}


def _count_retrieved(interactions: Interactions) -> int:
    """The number of players of the retrieved image in a batch, from any block."""
    sizes = [dict(zip(AXES[name], block.shape[1:], strict=True)) for name, block in get_blocks(interactions).items()]
    counts = [axes.get("retrieved", axes.get("players", 0) - interactions.n_query) for axes in sizes]
    return max([0, *counts])


def _keep_players(name: str, block: Tensor, kept: dict[str, Tensor]) -> Tensor:
    """A block of credits of the players that are left."""
    for axis, players in enumerate(AXES[name], 1):
        block = block.index_select(axis, kept[players].to(block.device))
    return block
