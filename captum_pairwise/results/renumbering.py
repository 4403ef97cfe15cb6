"""New numbers for the players of a pair, so that all pairs of a batch have the same players."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from captum_pairwise.results.credits import AXES, Credits, get_blocks
from captum_pairwise.results.interactions import IndexSource, Interactions


def renumber_players(
    pair: Interactions, query_ids: Int[Tensor, " query"], retrieved_ids: Int[Tensor, " retrieved"], n_query: int, n_retrieved: int
) -> Interactions:
    """Give the players of one pair new ids. An id without a player is a dummy: its credits are 0."""
    if (len(query_ids), len(retrieved_ids)) == (n_query, n_retrieved):
        return pair
    ids = {"query": query_ids, "retrieved": retrieved_ids, "players": torch.cat([query_ids, n_query + retrieved_ids])}
    sizes = {"query": n_query, "retrieved": n_retrieved, "players": n_query + n_retrieved}

    def scatter(credits: Credits) -> dict[str, Any]:
        blocks = {}
        for name, block in get_blocks(credits).items():
            blocks[name] = block.new_zeros(1, *(sizes[axis] for axis in AXES[name]))
            blocks[name][0][torch.meshgrid(*(ids[axis] for axis in AXES[name]), indexing="ij")] = block[0]
        return blocks

    errors = Credits(**scatter(pair.standard_error)) if pair.standard_error is not None else None
    sources = map_sources(pair, lambda other: renumber_players(other, query_ids, retrieved_ids, n_query, n_retrieved))
    return replace(pair, n_query=n_query, standard_error=errors, sources=sources, **scatter(pair))


def map_sources(interactions: Interactions, change: Callable[[Interactions], Interactions]) -> tuple[IndexSource, ...] | None:
    """The sources of other indices, each followed by a change of its result; None if they were not kept."""
    if interactions.sources is None:
        return None
    return tuple(lambda index, source=source: change(source(index)) for source in interactions.sources)
