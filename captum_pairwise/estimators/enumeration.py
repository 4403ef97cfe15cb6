"""Exact interaction indices, from the values of all coalitions."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.estimators.coalitions import all_coalitions, interaction_index, shapley_values
from captum_pairwise.estimators.draws import default_generator
from captum_pairwise.estimators.limits import refuse_too_many
from captum_pairwise.estimators.prediction_fit import HeldOut, score_enumerated, take_enumerated
from captum_pairwise.estimators.towers.game_estimate import GameEstimate
from captum_pairwise.estimators.towers.models import EnumeratedTower
from captum_pairwise.games.game import EmbeddedGame, Game, TwoTowerGame
from captum_pairwise.results.index import TAYLOR_INDEX, Index
from captum_pairwise.results.interactions import Interactions, make_interactions, split_blocks

MOST_COALITIONS = 2**16  # by default


def exact(game: Game, most: int = 2**20, index: Index = TAYLOR_INDEX) -> Interactions:
    """The index of all pairs and players, by default Shapley–Taylor (paper eq. 5), and the heat maps.

    All `2**n` coalitions are evaluated, or `2**n_q + 2**n_r` of a two-tower game.

    Args:
        game: the game.
        most: maximum number of coalitions to evaluate; for a two-tower game, for each tower.
        index: the interaction index.

    Raises:
        ValueError: there are more coalitions, or they do not fit into memory.

    >>> from captum_pairwise.games.game import CallableGame
    >>> both = CallableGame(1, 1, lambda z: 5.0 * (z[:, 0] & z[:, 1]))
    >>> exact(both).between
    tensor([[[5.]]])
    """
    if not isinstance(game, TwoTowerGame):
        refuse_too_many(game.n_players, most, "of both images")
        return _share_values(enumerate_values(game), index, game.n_query, game.n_evaluations)
    refuse_too_many(max(game.n_query, game.n_retrieved), most, "of one image")
    towers = [
        EnumeratedTower(embed(all_coalitions(n_players)))
        for embed, n_players in ((game.embed_query, game.n_query), (game.embed_retrieved, game.n_retrieved))
    ]
    estimate = GameEstimate(towers, game.n_evaluations, within=True, has_errors=False, held_out=_score_all(game, towers, index))
    return estimate.keep(estimate.compute(index))


def _score_all(game: TwoTowerGame, towers: Sequence[EnumeratedTower], index: Index) -> tuple[Tensor, HeldOut, HeldOut]:
    """The values of all combinations of coalitions of both towers, or of as many as fit into a table."""
    generator = default_generator(None)
    query, retrieved = (take_enumerated(tower.embeddings, p, generator) for tower, p in zip(towers, index.probabilities, strict=True))
    return game.combine(query.embeddings, retrieved.embeddings), query, retrieved


def _share_values(values: Float[Tensor, " coalitions"], index: Index, n_query: int, n_evaluations: int) -> Interactions:
    """The index of a game whose values are known, which are kept."""
    constant, first, second = interaction_index(values, index, n_query)
    blocks = {"first_order": first[None], **split_blocks(second[None], n_query), **map_images(values, n_query)}
    sources = (partial(_share_values, values, n_query=n_query, n_evaluations=n_evaluations),)
    ends = values[[0, -1]]
    result = make_interactions(ends, n_query, n_evaluations, index=index, constant=constant[None], sources=sources, **blocks)
    return score_enumerated(result, values)


def enumerate_values(game: Game) -> Float[Tensor, " coalitions"]:
    """The values of all coalitions, row `S` at bit mask `S`, with the query players as the lower bits. Towers embed each row once."""
    if isinstance(game, EmbeddedGame):
        u, w = game.embed_query(all_coalitions(game.n_query)), game.embed_retrieved(all_coalitions(game.n_retrieved))
        return game.combine(u, w).T.flatten()
    return game.values(all_coalitions(game.n_players))


def map_images(values: Float[Tensor, " coalitions"], n_query: int) -> dict[str, Any]:
    """The heat maps and their ends, by name: Shapley values of each image's players in the coalitions with the whole other image.

    Args:
        values: the values of all coalitions, as from `enumerate_values`.
        n_query: number of query players.
    """
    table = values.reshape(-1, 2**n_query)  # a row for each coalition of the retrieved image
    query, retrieved = table[-1], table[:, -1]
    maps = torch.cat([shapley_values(query), shapley_values(retrieved)])
    return {"given_other": maps[None], "without_query": query[:1], "without_retrieved": retrieved[:1]}
