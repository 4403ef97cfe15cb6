"""Interactions and games in the shapes of other packages: shapiq's values and games, shap's matrices."""

from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.games.game import Game
from captum_pairwise.results.interactions import Interactions, make_interactions, split_blocks, stack_interactions

# shapiq is optional, so its types have no names here
InteractionValues = Any
ShapiqGame = Any
INDEX, ORDER = "STII", 2  # what shapiq calls Shapley–Taylor indices of pairs


def to_shapiq(interactions: Interactions) -> list[InteractionValues]:
    """One `shapiq.InteractionValues` for each pair of images, index "STII" of order 2, players numbered query first.

    `v(∅)` is the baseline value; a pair has its whole value, whichever way round it is asked for. All are marked as estimated, because
    `Interactions` do not say that nothing was drawn. shapiq has no place for `v(N)`, standard errors or the places of players.

    Raises:
        ValueError: single players or some of the pairs were not computed.
        ImportError: shapiq is not installed.
    """
    second, first, empty = (block.cpu().double() for block in (_every_pair(interactions), interactions["first_order"], interactions.empty))
    n_players = first.shape[1]
    i, j = torch.triu_indices(n_players, n_players, 1)
    names: list[tuple[int, ...]] = [(), *((k,) for k in range(n_players)), *zip(i.tolist(), j.tolist(), strict=True)]
    rows, budgets = torch.cat([empty[:, None], first, second[:, i, j]], 1).tolist(), interactions.n_evaluations.tolist()
    return [_values(dict(zip(names, row, strict=True)), n_players, budget) for row, budget in zip(rows, budgets, strict=True)]


def _values(credit: dict[tuple[int, ...], float], n_players: int, budget: int) -> InteractionValues:
    return _shapiq().InteractionValues(
        credit,
        index=INDEX,
        max_order=ORDER,
        min_order=0,
        n_players=n_players,
        estimated=True,
        estimation_budget=budget,
        baseline_value=credit[()],
    )


def from_shapiq(values: list[InteractionValues], n_query: int) -> Interactions:
    """The interactions of a batch of pairs of images, one for each `shapiq.InteractionValues` with index "STII" and `max_order=2`.

    What shapiq leaves out is 0 there, and here. It does not keep `v(N)`: where the values are exact it is their sum, where they are
    estimated it is NaN, and so is the completeness gap; `dataclasses.replace(interactions, full=...)` brings it back. `n_evaluations` is
    the budget, or 0 where none is told.

    Args:
        values: one for each pair of images, all of as many players.
        n_query: how many of the players, from the first on, are the query's.

    Raises:
        ValueError: the values are of another index or order, without single players, or of different numbers of players.
    """
    if not isinstance(values, list) or not values:
        raise ValueError(f"Expected a list of shapiq.InteractionValues, at least one, got {type(values).__name__}. Wrap a single one.")
    for value in values:
        _refuse_other_indices(value)
    counts = {value.n_players for value in values}
    if len(counts) > 1 or not 1 <= n_query < min(counts):
        raise ValueError(
            f"Expected values of as many players each, n_query of them of the query and some left, got {sorted(counts)} players and "
            f"n_query {n_query}. Convert games of different sizes one by one."
        )
    return stack_interactions([_interactions(value, n_query) for value in values])


def _refuse_other_indices(value: InteractionValues) -> None:
    if value.index != INDEX or value.max_order != ORDER or value.min_order > 1:
        raise ValueError(
            f"Expected values of index 'STII', max_order 2 and min_order 0 or 1, got index {value.index!r}, max_order {value.max_order} "
            f"and min_order {value.min_order}. Other indices credit pairs by other rules; ask shapiq for index='STII', max_order=2."
        )


def _interactions(value: InteractionValues, n_query: int) -> Interactions:
    empty = torch.tensor(float(value.baseline_value), dtype=torch.float64)
    first, second = (torch.from_numpy(np.asarray(value.get_n_order_values(order), dtype=np.float64)) for order in (1, ORDER))
    full = empty * torch.nan if value.estimated else empty + first.sum() + second.sum() / 2
    blocks = {"first_order": first[None], **split_blocks(second[None], n_query)}
    return make_interactions(torch.stack([empty, full]), n_query, value.estimation_budget or 0, **blocks)


def to_shap_matrix(interactions: Interactions) -> Float[Tensor, "batch players players"]:
    """The matrices of interaction values in shap's convention, as of `shap.ExactExplainer` with `interactions=2`.

    `M_ii = φ_i` and `M_ij = M_ji = ½ φ_ij`: a matrix sums to `v(N) - v(∅)`, and its rows to the Shapley values. shapiq, and
    `Interactions.second_order`, have the whole `φ_ij` at both places.

    Raises:
        ValueError: single players or some of the pairs were not computed.

    >>> from captum_pairwise.estimators.enumeration import exact
    >>> from captum_pairwise.games.game import CallableGame
    >>> to_shap_matrix(exact(CallableGame(1, 1, lambda z: z[:, 0] + 4.0 * (z[:, 0] & z[:, 1]))))
    tensor([[[1., 2.],
             [2., 0.]]])
    """
    return _every_pair(interactions) / 2 + interactions["first_order"].diag_embed()


def _every_pair(interactions: Interactions) -> Float[Tensor, "batch players players"]:
    missing = [name for name in ("first_order", "between", "within_query", "within_retrieved") if getattr(interactions, name) is None]
    if missing:
        raise ValueError(
            f"Expected {' and '.join(missing)} to have been computed, because elsewhere what is left out counts as 0. Take an "
            "estimator of all pairs (ExactShapleyTaylor, KernelShapleyTaylor, ShapleyTaylorSampling), or say that they are 0 with "
            "`dataclasses.replace(interactions, within_query=zeros, within_retrieved=zeros)`."
        )
    return interactions.second_order


def as_shapiq_game(game: Game) -> ShapiqGame:
    """The same game as a `shapiq.Game`, for shapiq's `ExactComputer` and approximators.

    It is not normalised: the value of no player is the similarity of the two baselines, and becomes the baseline value.

    Raises:
        ImportError: shapiq is not installed.
    """
    return _game_class()(game)


@cache
def _game_class() -> type:
    class PairGame(_shapiq().Game):  # made at the first call, because its base is optional
        def __init__(self, game: Game) -> None:
            super().__init__(game.n_players, normalize=False)
            self.game = game

        @torch.no_grad()
        def value_function(self, coalitions: np.ndarray) -> np.ndarray:
            return self.game.values(torch.tensor(coalitions, dtype=torch.bool)).cpu().double().numpy()

    return PairGame


def _shapiq() -> Any:
    try:
        return import_module("shapiq")
    except ImportError as error:
        raise ImportError("This conversion needs the package shapiq: pip install 'captum-pairwise[interop]'") from error
