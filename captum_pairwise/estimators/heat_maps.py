"""Heat maps beside pairs: the parts of each image while the other image is whole (paper eq. 2)."""

from collections.abc import Callable
from dataclasses import replace

import torch

from captum_pairwise.estimators.draws import default_generator
from captum_pairwise.estimators.enumeration import exact
from captum_pairwise.estimators.gaussian.shapley_process import count_least, process_shapley
from captum_pairwise.estimators.prediction_fit import measure_prediction
from captum_pairwise.games.game import Game, make_one_image_games
from captum_pairwise.results.credits import Credits
from captum_pairwise.results.index import TAYLOR_INDEX, Index
from captum_pairwise.results.interactions import IndexSource, Interactions

HELD_OUT = 10  # a tenth of the budget measures the prediction
SHARE = 5  # the maps get a fifth of the budget
MOST_SAMPLES = 2048  # of a map: more take long and hardly change it


def estimate_with_maps(
    game: Game,
    n_samples: int,
    estimate: Callable[[Game, int], Interactions],
    *,
    least: int,
    exact_from: int | None,
    index: Index = TAYLOR_INDEX,
    generator: torch.Generator | None = None,
) -> Interactions:
    """The pairs by an estimator of the joint game, and the heat maps from coalitions in which the other image is whole.

    The maps get about a fifth of the budget, and a tenth measures the prediction, `r2`; the pairs get the rest. If that is too little for
    the pairs, there is no `r2`, and then there are no maps.

    Args:
        game: the game.
        n_samples: the budget of pairs and maps together.
        estimate: the estimator of pairs, `(game, budget) -> interactions`.
        least: the smallest budget of the pairs.
        exact_from: the budget from which all coalitions are evaluated, which gives everything; None if the estimator is biased there.
        index: the interaction index.
        generator: source of randomness of the maps; None means a generator with seed 0.
    """
    if exact_from is not None and n_samples >= exact_from:
        return exact(game, 2**game.n_players, index)
    budgets = divide_budget(game, n_samples, least)
    if budgets is None:
        return estimate(game, n_samples)
    n_held_out = _hold_out_some(n_samples, sum(budgets) + least)
    pairs, generator = estimate(game, n_samples - sum(budgets) - n_held_out), default_generator(generator)
    if n_held_out:
        pairs = measure_prediction(game, pairs, n_held_out, generator)
    games = zip(make_one_image_games(game), budgets, strict=True)
    query, retrieved = (process_shapley(image_game, budget, generator=generator) for image_game, budget in games)
    return attach_maps(pairs, query, retrieved, game.n_evaluations)


def _hold_out_some(n_samples: int, needed: int) -> int:
    """The coalitions that measure the prediction: a tenth of the budget, or none if the rest is too little."""
    return n_samples // HELD_OUT if n_samples - n_samples // HELD_OUT >= needed else 0


def divide_budget(game: Game, n_samples: int, least: int) -> tuple[int, int] | None:
    """The coalitions for the map of each image; None if an image has no players, or if fewer than `least` are left for the pairs."""
    sizes = game.n_query, game.n_retrieved
    needed = [count_least(size) for size in sizes]
    share = max(n_samples // SHARE, sum(needed))
    if not min(sizes) or n_samples - share < least:
        return None
    free = share - sum(needed)
    query, retrieved = (min(2**size, MOST_SAMPLES, base + free * size // game.n_players) for size, base in zip(sizes, needed, strict=True))
    return query, retrieved


def attach_maps(pairs: Interactions, query: Interactions, retrieved: Interactions, n_evaluations: int) -> Interactions:
    """The pairs with the heat maps, which are the `marginal` of the games of the single images. Other indices get the same maps."""

    def attach_to(source: IndexSource) -> IndexSource:
        return lambda index: attach_maps(source(index), query, retrieved, n_evaluations)

    errors = [image.standard_error.marginal for image in (query, retrieved) if image.standard_error is not None]
    known = [error for error in errors if error is not None]
    standard_error = pairs.standard_error
    if len(known) == 2:
        standard_error = replace(standard_error or Credits(), given_other=torch.cat(known, 1))
    return replace(
        pairs,
        given_other=torch.cat([query["marginal"], retrieved["marginal"]], 1),
        without_query=query.empty,
        without_retrieved=retrieved.empty,
        standard_error=standard_error,
        n_evaluations=torch.full_like(pairs.n_evaluations, n_evaluations),
        sources=None if pairs.sources is None else tuple(map(attach_to, pairs.sources)),
    )
