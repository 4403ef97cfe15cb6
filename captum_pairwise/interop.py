"""Conversions to and from other packages: values and games of shapiq, matrices of shap."""

from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.files.optional_packages import import_optional
from captum_pairwise.games.game import Game
from captum_pairwise.results.interactions import Interactions, make_interactions, split_blocks, stack_interactions

# shapiq is optional, so its types cannot be imported here
InteractionValues = Any
ShapiqGame = Any
INDEX, ORDER = "STII", 2  # the Shapley–Taylor indices of pairs in shapiq
STII = {"index": INDEX, "max_order": ORDER, "min_order": 0}


def to_shapiq(interactions: Interactions) -> list[InteractionValues]:
    """One `shapiq.InteractionValues` for each pair of images, index "STII" of order 2; the query's players have the first numbers.

    `v(∅)` is the baseline value. A pair of players has its whole value in both orders. All values are marked as estimated, because
    `Interactions` do not record whether they are exact. shapiq stores neither `v(N)` nor standard errors nor the places of players.

    Raises:
        ValueError: single players or some pairs were not computed.
        ImportError: shapiq is not installed.
    """
    second, first = _get_all_pairs(interactions), interactions["first_order"]
    n_players = first.shape[1]
    i, j = torch.triu_indices(n_players, n_players, 1, device="cpu")
    names: list[tuple[int, ...]] = [(), *((k,) for k in range(n_players)), *zip(i.tolist(), j.tolist(), strict=True)]
    rows = torch.cat([interactions.empty[:, None], first, second[:, i, j]], 1).cpu().double().tolist()
    credits, make = [dict(zip(names, row, strict=True)) for row in rows], _import_shapiq().InteractionValues
    return [
        make(credit, **STII, n_players=n_players, estimated=True, estimation_budget=budget, baseline_value=credit[()])
        for credit, budget in zip(credits, interactions.n_evaluations.tolist(), strict=True)
    ]


def from_shapiq(values: list[InteractionValues], n_query: int) -> Interactions:
    """The interactions of a batch of pairs of images, one for each `shapiq.InteractionValues` with index "STII" and `max_order=2`.

    Values that shapiq leaves out are 0. shapiq does not store `v(N)`: for exact values it is their sum; for estimated values it is NaN, and
    so is the completeness gap. `dataclasses.replace(interactions, full=...)` sets it. `n_evaluations` is the budget, or 0 if it is unknown.

    Args:
        values: one for each pair of images, all with the same number of players.
        n_query: the number of the query's players, which come first.

    Raises:
        ValueError: the values have another index or order, no single players, or different numbers of players.
    """
    if not isinstance(values, list) or not values:
        raise ValueError(f"Expected a non-empty list of shapiq.InteractionValues, got {type(values).__name__}. Put one value in a list.")
    for value in values:
        _refuse_other_indices(value)
    counts = {value.n_players for value in values}
    if len(counts) > 1 or not 1 <= n_query < min(counts):
        raise ValueError(f"Expected one number of players, more than n_query={n_query}, got {sorted(counts)}. Convert each size alone.")
    return stack_interactions([_parse_values(value, n_query) for value in values])


def _refuse_other_indices(value: InteractionValues) -> None:
    if value.index != INDEX or value.max_order != ORDER or value.min_order > 1:
        raise ValueError(
            f"Expected index='STII', max_order=2, min_order 0 or 1, got {value.index!r}, {value.max_order}, {value.min_order}. Use these."
        )


def _parse_values(value: InteractionValues, n_query: int) -> Interactions:
    empty = torch.tensor(float(value.baseline_value), dtype=torch.float64, device="cpu")
    first, second = (torch.from_numpy(np.asarray(value.get_n_order_values(order), dtype=np.float64)) for order in (1, ORDER))
    full = empty * torch.nan if value.estimated else empty + first.sum() + second.sum() / 2
    blocks = {"first_order": first[None], **split_blocks(second[None], n_query)}
    return make_interactions(torch.stack([empty, full]), n_query, value.estimation_budget or 0, **blocks)


def to_shap_matrix(interactions: Interactions) -> Float[Tensor, "batch players players"]:
    """The matrices of interaction values in shap's convention, as from `shap.ExactExplainer` with `interactions=2`.

    `M_ii = φ_i` and `M_ij = M_ji = ½ φ_ij`: a matrix sums to `v(N) - v(∅)`, and its rows sum to the Shapley values. shapiq and
    `Interactions.second_order` have the whole `φ_ij` at both places.

    Raises:
        ValueError: single players or some pairs were not computed.

    >>> from captum_pairwise.estimators.enumeration import exact
    >>> from captum_pairwise.games.game import CallableGame
    >>> to_shap_matrix(exact(CallableGame(1, 1, lambda z: z[:, 0] + 4.0 * (z[:, 0] & z[:, 1]))))
    tensor([[[1., 2.],
             [2., 0.]]])
    """
    return _get_all_pairs(interactions) / 2 + interactions["first_order"].diag_embed()


def _get_all_pairs(interactions: Interactions) -> Float[Tensor, "batch players players"]:
    missing = [name for name in ("first_order", "between", "within_query", "within_retrieved") if getattr(interactions, name) is None]
    if missing:
        raise ValueError(
            f"Expected {' and '.join(missing)} to have been computed, because other packages read missing values as 0. Take an "
            "estimator of all pairs, such as ExactShapleyTaylor, or set them to 0 with `dataclasses.replace`."
        )
    return interactions.second_order


def as_shapiq_game(game: Game) -> ShapiqGame:
    """The game as a `shapiq.Game`, for shapiq's `ExactComputer` and approximators.

    It is not normalised: the value of the empty coalition is the similarity of the two baselines, and becomes the baseline value.

    Raises:
        ImportError: shapiq is not installed.
    """
    return _make_game_class()(game)


@cache
def _make_game_class() -> type:
    class PairGame(_import_shapiq().Game):  # made at the first call, because its base class is optional
        def __init__(self, game: Game) -> None:
            super().__init__(game.n_players, normalize=False)
            self.game = game

        @torch.no_grad()
        def value_function(self, coalitions: np.ndarray) -> np.ndarray:
            return self.game.values(torch.tensor(coalitions, dtype=torch.bool, device="cpu")).cpu().double().numpy()

    return PairGame


def _import_shapiq() -> Any:
    return import_optional("shapiq", "the conversion", "interop")
