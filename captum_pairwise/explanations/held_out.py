"""The fit of heat maps on coalitions that were not used: how much of the similarity's changes the credits of parts explain."""

from math import nan

import torch
from torch import Tensor

from captum_pairwise.games.game import Game, make_one_image_games
from captum_pairwise.players.regions import NEVER_LEAVES, Players
from captum_pairwise.results.interactions import Interactions

N_HELD_OUT, HALF = 64, 0.5


def measure_fit(game: Game, interactions: Interactions, generator: torch.Generator, n_coalitions: int = N_HELD_OUT) -> tuple[float, float]:
    r"""The coefficient of determination of each heat map, of the query and of the retrieved image.

    $$R^2 = 1 - \frac{\operatorname{Var}_S(v(S) - \hat v(S))}{\operatorname{Var}_S(v(S))}, \qquad \hat v(S) = \sum_{i \in S} \phi_i$$

    for random coalitions $S$ of half of one image's players while the other image is whole. It asks whether the credits tell which
    coalitions are more similar than others. The constant is free, because a map says nothing about the level: under cosine similarity, a
    half blurred image often has another level than the ends. NaN if the similarity does not change, or if the map is unknown.

    Args:
        game: the game of the pair.
        interactions: the results for it, a batch of one.
        generator: the source of randomness.
        n_coalitions: the number of coalitions of each image.
    """
    if interactions.given_other is None:
        return nan, nan
    query, retrieved = make_one_image_games(game)
    return (
        _measure_map(query, _take_used(interactions.query_map[0], interactions.query_players), n_coalitions, generator),
        _measure_map(retrieved, _take_used(interactions.retrieved_map[0], interactions.retrieved_players), n_coalitions, generator),
    )


def _take_used(credits: Tensor, players: Players | None) -> Tensor:
    """The credits of the players that this image has; in a batch, another image may have more."""
    if players is None:
        return credits
    ids = players.ids[0].unique()
    return credits[ids[ids != NEVER_LEAVES].to(credits.device)]


def _measure_map(game: Game, credits: Tensor, n_coalitions: int, generator: torch.Generator) -> float:
    """`R²` of one map."""
    drawn = torch.rand(n_coalitions, len(credits), generator=generator, dtype=torch.float32, device="cpu")
    coalitions = drawn < HALF
    values = game.values(coalitions).cpu().double()
    left = values - coalitions.double() @ credits.cpu().double()
    spread = (values - values.mean()).square().sum()
    return (1 - (left - left.mean()).square().sum() / spread).item() if spread > 0 else nan
