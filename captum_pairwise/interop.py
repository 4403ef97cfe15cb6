"""Conversions to and from other packages: values and games of shapiq, matrices of shap."""

from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.files.optional_packages import import_optional
from captum_pairwise.games.game import Game
from captum_pairwise.results.index import (
    BANZHAF,
    CHAINING,
    CO_MOEBIUS,
    FAITH_SHAP,
    K_SII,
    MOEBIUS,
    SHAPLEY,
    SHAPLEY_TAYLOR,
    Index,
    parse_index,
)
from captum_pairwise.results.interactions import Interactions, make_interactions, split_blocks, stack_interactions

# shapiq is optional, so its types cannot be imported here
InteractionValues = Any
ShapiqGame = Any
ORDER = 2
BANZHAF_NAME, EQUAL = "FBII", (0.5, 0.5)
SHAPIQ_NAMES = {
    SHAPLEY_TAYLOR: "STII",
    SHAPLEY: "SII",
    K_SII: "k-SII",
    FAITH_SHAP: "FSII",
    CHAINING: "CHII",
    BANZHAF: BANZHAF_NAME,
    MOEBIUS: "Moebius",
    CO_MOEBIUS: "Co-Moebius",
}


def to_shapiq(interactions: Interactions) -> list[InteractionValues]:
    """One `shapiq.InteractionValues` of order 2 for each pair of images; the query's players have the first numbers.

    The index is named as shapiq does: "STII", "SII", "k-SII", "FSII", "CHII", "FBII" (`"banzhaf"` at p = 0.5), "Moebius" or "Co-Moebius".
    `v(∅)` is the baseline value, but for "FBII" the constant of the prediction. A pair of players has its whole value in both orders. All
    values are marked as estimated, because `cp.Interactions` do not record if they are exact. shapiq stores neither `v(N)` nor standard
    errors nor the places of players.

    Raises:
        ValueError: shapiq has no such index, or single players or some pairs were not computed.
        ImportError: shapiq is not installed.

    For example::

        interactions = cp.ExactShapleyTaylor(model).interactions((query, retrieved), feature_mask=masks)
        shapiq.network_plot(interaction_values=cp.interop.to_shapiq(interactions)[0])

    See also `from_shapiq` and `to_shap_matrix`.
    """
    name = _name_index(interactions.index)
    second, first = _get_all_pairs(interactions), interactions["first_order"]
    n_players = first.shape[1]
    i, j = torch.triu_indices(n_players, n_players, 1, device="cpu")
    names: list[tuple[int, ...]] = [(), *((k,) for k in range(n_players)), *zip(i.tolist(), j.tolist(), strict=True)]
    constant = interactions.constant if name == BANZHAF_NAME and interactions.constant is not None else interactions.empty
    rows = torch.cat([constant[:, None], first, second[:, i, j]], 1).cpu().double().tolist()
    credits, make = [dict(zip(names, row, strict=True)) for row in rows], _import_shapiq().InteractionValues
    options = {"index": name, "max_order": ORDER, "min_order": 0, "n_players": n_players, "estimated": True}
    return [
        make(credit, **options, estimation_budget=budget, baseline_value=credit[()])
        for credit, budget in zip(credits, interactions.n_evaluations.tolist(), strict=True)
    ]


def _name_index(index: Index | None) -> str:
    """The index in shapiq's words."""
    if index is None:
        raise ValueError(
            "Expected credit of an interaction index, got credit of another kind, as of LIME or JaggedShapleyTaylor, which shapiq cannot "
            "name. Take a class with `index=`."
        )
    if index.p not in (None, EQUAL):
        raise ValueError(
            f"Expected 'banzhaf' at p = 0.5, the only one that shapiq has, got p = {index.p}. Take as_index('banzhaf', p=0.5)."
        )
    return SHAPIQ_NAMES[index.name]


def from_shapiq(values: list[InteractionValues], n_query: int) -> Interactions:
    """The interactions of a batch of pairs of images, one for each `shapiq.InteractionValues` of order 2 with an index of `to_shapiq`.

    Values that shapiq leaves out are 0. shapiq does not store `v(N)`: for exact values of an index that sums to it, it is their sum; else
    it is NaN, and so are the completeness gap and the constant of "Co-Moebius", which is `v(N)`. "FBII" does not store `v(∅)`, which is NaN
    then. `dataclasses.replace(interactions, full=...)` sets them. `n_evaluations` is the budget, or 0 if it is unknown.

    Args:
        values: one for each pair of images, all with the same index and number of players. "Moebius" may have larger orders too.
        n_query: the number of the query's players, which come first.

    Raises:
        ValueError: the values have another index or order, no single players, or different numbers of players.

    For example::

        values = shapiq.KernelSHAPIQ(n=game.n_players, max_order=2, index="k-SII").approximate(256, cp.interop.as_shapiq_game(game))
        interactions = cp.interop.from_shapiq([values], n_query=game.n_query)

    See also `to_shapiq` and `as_shapiq_game`.
    """
    if not isinstance(values, list) or not values:
        raise ValueError(f"Expected a non-empty list of shapiq.InteractionValues, got {type(values).__name__}. Put one value in a list.")
    for value in values:
        _refuse_other_indices(value)
    counts, names = {value.n_players for value in values}, {value.index for value in values}
    if len(counts) > 1 or len(names) > 1 or not 1 <= n_query < min(counts):
        raise ValueError(
            f"Expected one index and one number of players, more than n_query={n_query}, got {sorted(names)} and {sorted(counts)}. Convert "
            "each alone."
        )
    return stack_interactions([_parse_values(value, n_query) for value in values])


def _refuse_other_indices(value: InteractionValues) -> None:
    has_order = value.max_order == ORDER or (value.index == SHAPIQ_NAMES[MOEBIUS] and value.max_order > ORDER)
    if value.index == "BII":
        raise ValueError(
            "Expected 'FBII', whose single players and pairs predict the game together, got 'BII', which has the same pairs, but Banzhaf "
            "values for single players. Compute 'FBII'."
        )
    if value.index not in SHAPIQ_NAMES.values() or not has_order or value.min_order > 1:
        raise ValueError(
            f"Expected an index of {list(SHAPIQ_NAMES.values())}, max_order=2, min_order 0 or 1, got {value.index!r}, {value.max_order}, "
            f"{value.min_order}. Use these."
        )


def _parse_values(value: InteractionValues, n_query: int) -> Interactions:
    name = next(name for name, in_shapiq in SHAPIQ_NAMES.items() if in_shapiq == value.index)
    baseline = torch.tensor(float(value[()] if name == BANZHAF else value.baseline_value), dtype=torch.float64, device="cpu")
    unknown, index = baseline * torch.nan, parse_index(name)
    first, second = (torch.from_numpy(np.asarray(value.get_n_order_values(order), dtype=np.float64)) for order in (1, ORDER))
    is_sum = index.is_efficient and not value.estimated
    ends = torch.stack([unknown if name == BANZHAF else baseline, baseline + first.sum() + second.sum() / 2 if is_sum else unknown])
    constant = {BANZHAF: baseline, CO_MOEBIUS: unknown}.get(name)
    blocks = {"first_order": first[None], "constant": None if constant is None else constant[None], **split_blocks(second[None], n_query)}
    return make_interactions(ends, n_query, value.estimation_budget or 0, index=index, **blocks)


def to_shap_matrix(interactions: Interactions) -> Float[Tensor, "batch players players"]:
    """The matrices `[B, n, n]` of interaction values in shap's convention, as from `shap.ExactExplainer` with `interactions=2`.

    `M_ii = φ_i` and `M_ij = M_ji = ½ φ_ij`: a matrix sums to `v(N) - v(∅)`, and its rows sum to the Shapley values. shapiq and
    `Interactions.second_order` have the whole `φ_ij` at both places.

    Raises:
        ValueError: single players or some pairs were not computed.

    >>> from captum_pairwise.estimators.enumeration import exact
    >>> from captum_pairwise.games.game import CallableGame
    >>> to_shap_matrix(exact(CallableGame(1, 1, lambda z: z[:, 0] + 4.0 * (z[:, 0] & z[:, 1]))))
    tensor([[[1., 2.],
             [2., 0.]]])

    See also `to_shapiq`.
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

    For example::

        game = CallableGame(1, 1, lambda z: z[:, 0] + 4.0 * (z[:, 0] & z[:, 1]))  # of captum_pairwise.games.game
        values = shapiq.ExactComputer(n_players=2, game=cp.interop.as_shapiq_game(game))("STII", order=2)

    See also `from_shapiq`.
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
