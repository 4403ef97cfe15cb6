"""One pair out of a batch of results."""

from dataclasses import replace
from typing import Any

from torch import Tensor

from captum_pairwise.players.regions import Players
from captum_pairwise.results.interactions import Credits, Interactions, get_blocks


def take_pair(interactions: Interactions, example: int) -> Interactions:
    """The results of one pair, a batch of one.

    Args:
        interactions: of a batch of pairs.
        example: the number of the pair.
    """
    chosen = slice(example, example + 1)

    def take_players(players: Players | None) -> Players | None:
        return None if players is None else Players(players.ids[chosen], players.shape)

    tensors: dict[str, Any] = {name: value[chosen] for name, value in vars(interactions).items() if isinstance(value, Tensor)}
    errors = interactions.standard_error
    return replace(
        interactions,
        standard_error=None if errors is None else Credits(**{name: block[chosen] for name, block in get_blocks(errors).items()}),
        query_players=take_players(interactions.query_players),
        retrieved_players=take_players(interactions.retrieved_players),
        **tensors,
    )
