"""The factorised estimator: interaction indices of a game of two towers from coalitions of each tower alone."""

from dataclasses import replace
from functools import partial
from itertools import count, takewhile

import torch
from torch import Tensor

from captum_pairwise.estimators.draws import default_generator
from captum_pairwise.estimators.index_path import make_index_path
from captum_pairwise.estimators.limits import refuse_small_budget
from captum_pairwise.estimators.prediction_fit import HeldOut
from captum_pairwise.estimators.towers.game_estimate import GameEstimate
from captum_pairwise.estimators.towers.indices import Share, combine
from captum_pairwise.estimators.towers.lifting import lift_scores
from captum_pairwise.estimators.towers.models import TowerModel, TowerSample
from captum_pairwise.estimators.towers.sampled_tower import DEFAULT_OPTIONS, SampledTower, TowerOptions
from captum_pairwise.games.game import EmbeddedGame, TwoTowerGame
from captum_pairwise.results.interactions import Interactions


def factorise(
    game: EmbeddedGame,
    n_samples: int,
    options: TowerOptions = DEFAULT_OPTIONS,
    *,
    share: Share = combine,
    generator: torch.Generator | None = None,
) -> Interactions:
    """The index of all pairs between the images, of the players, and the heat maps, from `n_samples` embeddings per tower.

    The expected slopes and means of each tower at the nodes of `IndexPath` come from a Gaussian process on its coalitions, with the errors
    of its posterior, or from chains of growing coalitions, with jackknife errors. A tower whose coalitions all fit the budget is
    enumerated. If both are, the result is exact and its errors are 0. Games with the same query share the results of its tower.

    A game that is no inner product is scored at every pair of a query's and a retrieved coalition, and `lift_scores` makes embeddings of
    these scores. The estimate is then unchanged, and its errors hold as before; games with the same query share the query's embeddings.

    Args:
        game: the game.
        n_samples: embeddings per tower, beside the embeddings of the full and the empty image.
        options: how to estimate.
        share: `combine` for the index of the options, `combine_between` for credit of single players and pairs between the images only.
        generator: source of randomness; None means a generator with seed 0.

    Raises:
        ValueError: the budget is too small for the number of players, or an option does not fit.

    >>> bilinear = TwoTowerGame(2, 1, lambda z: z * torch.tensor([1.0, 2.0]), lambda z: 5.0 * z.expand(-1, 2))
    >>> factorise(bilinear, 2).between
    tensor([[[ 5.],
             [10.]]])
    """
    most_players = max(game.n_query, game.n_retrieved)
    if 2**most_players > n_samples + 2:
        refuse_small_budget(n_samples, 2 * most_players - 2, f"{most_players} players in one image")
    generator = default_generator(generator)
    seeds = torch.randint(2**62, (2,), generator=generator, device=generator.device).tolist()
    is_lifted, n_nodes = not isinstance(game, TwoTowerGame), len(make_index_path(options.index, game.n_players).query)
    make_tower = partial(SampledTower, n_nodes=n_nodes, options=options, is_lifted=is_lifted, is_affine=game.is_affine)
    key, p = ("factorised", options.fit, options.index.probabilities), options.index.probabilities
    query = game.query_tables.setdefault(key, make_tower(game.n_query, p=p[0], seed=seeds[0]))
    retrieved = make_tower(game.n_retrieved, p=p[1], seed=seeds[1])
    embed = game.embed_query, game.embed_retrieved
    held_out = None
    for budget in _budgets(n_samples, game.n_players, options.tolerance):
        samples = query.sample(embed[0], budget, n_samples), retrieved.sample(embed[1], budget, n_samples)
        if share is combine and held_out is None:
            held_out = _hold_out(game, query.hold_out(embed[0], n_samples), retrieved.hold_out(embed[1], n_samples))
        towers = _lift_samples(game, *samples) if is_lifted else samples
        estimate = GameEstimate(towers, game.n_evaluations, options.within, share, held_out=held_out)
        result = estimate.compute(options.index)
        if options.tolerance is not None and result.errors["between"].norm() <= options.tolerance * result["between"].norm():
            break
    return estimate.keep(result) if share is combine else replace(result, index=None)  # other credit is no interaction index


def _hold_out(game: EmbeddedGame, query: HeldOut | None, retrieved: HeldOut | None) -> tuple[Tensor, HeldOut, HeldOut] | None:
    """The values of all combinations of two sets of coalitions, and the sets, without their embeddings, which a result need not keep."""
    if query is None or retrieved is None:
        return None
    values = game.combine(query.embeddings, retrieved.embeddings)
    kept = [replace(side, embeddings=values.new_empty(len(side.coalitions), 0)) for side in (query, retrieved)]
    return values, kept[0], kept[1]


def _lift_samples(game: EmbeddedGame, query: TowerSample, retrieved: TowerSample) -> tuple[TowerModel, TowerModel]:
    """The models of both towers from embeddings whose inner products are the values of the game."""
    u, w = lift_scores(game.combine(query.embeddings, retrieved.embeddings))
    return query.make_model(u), retrieved.make_model(w)


def _budgets(n_samples: int, n_players: int, tolerance: float | None) -> list[int]:
    """The budget; with a tolerance, preceded by smaller ones, each twice the one before."""
    smaller = takewhile(lambda budget: budget < n_samples, (2 * n_players * 2**k for k in count()))
    return [*(smaller if tolerance is not None else ()), n_samples]
