"""The first-order kernel estimator: Shapley values of any game as a weighted least-squares fit (Kernel SHAP, paper §4)."""

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.estimators.draws import empty_and_full
from captum_pairwise.estimators.regression.least_squares import SumConstrained, describe_undetermined, sum_constrained
from captum_pairwise.estimators.regression.sampling import SHAPLEY_SAMPLERS, Coalitions, draw_coalitions, shapley_law
from captum_pairwise.games.game import Game
from captum_pairwise.results.credits import Credits
from captum_pairwise.results.interactions import Interactions, make_interactions

SIZE_PRIOR = 0.1
FULL_LEVERAGE = 1 - 1e-6
Design = Float[Tensor, "coalitions players"]
Targets = Float[Tensor, " coalitions"]


def kernel_shapley(
    game: Game, n_samples: int, *, sampling: str = "distinct", ridge: float | None = None, generator: torch.Generator | None = None
) -> Interactions:
    """All Shapley values (as `marginal`), by the linear fit with the kernel `(n-1) / (C(n,s) s (n-s))` (Lundberg & Lee 2017).

    `v(S) ≈ v(∅) + Σ_{i∈S} φ_i`. The coalitions of infinite weight, the empty and the full one, are exact constraints: at any budget the
    values sum to `v(N) - v(∅)`. If all coalitions are enumerated, the fit is the Shapley value itself.

    With `sampling="distinct"` a coalition comes with its complement, because Shapley values depend only on
    `(v(S) + v(N) - v(N∖S) - v(∅)) / 2`. There is also one unknown for each size, because a linear fit is worst at differences between
    sizes. Standard errors are from leaving out one pair at a time; they are 0 if every coalition is evaluated.

    Args:
        game: the game.
        n_samples: coalitions to evaluate, beside the empty and the full one.
        sampling: `"distinct"`; or `"paper-direct"`: sizes drawn by the kernel, coalitions with repetition and equal weight.
        ridge: if not None, added to the diagonal of the normal equations, in units of its mean. It gives an answer, biased to equal
            players, if the budget does not determine them.
        generator: source of randomness; None means a generator with seed 0.

    Raises:
        ValueError: the sampling is unknown, or the coalitions do not determine the values.

    >>> from captum_pairwise.games.game import CallableGame
    >>> product = CallableGame(3, 0, lambda z: 6.0 * z.all(1))
    >>> kernel_shapley(product, 6).marginal.round(decimals=6)
    tensor([[2., 2., 2.]])
    """
    n_players, is_halved = game.n_players, sampling == "distinct"
    needed = (2 if is_halved else 1) * (n_players - 1)
    message = describe_undetermined(f"the Shapley values of {n_players} players", n_samples, needed)
    if ridge is None and n_samples < needed:
        raise ValueError(message)  # before the game is evaluated
    drawn = draw_coalitions(SHAPLEY_SAMPLERS, sampling, shapley_law(n_players), n_samples, generator)
    ends, targets = _evaluate(game, drawn.coalitions, is_halved)
    design = drawn.coalitions.double()
    if is_halved:
        design, targets = _remove_size_means(drawn.coalitions, targets)
    weighted = drawn.weights[:, None] * design
    fit = sum_constrained(weighted.T @ design, ridge, message)
    values = fit.solve((weighted.T @ targets)[:, None], ends.cpu().double().diff())[:, 0]
    errors = None
    if is_halved and ridge is None:
        errors = Credits(marginal=_sandwich_error(fit, design, weighted, targets - design @ values, drawn.unseen).to(ends)[None])
    return make_interactions(ends, game.n_query, game.n_evaluations, marginal=values.to(ends)[None], standard_error=errors)


def _evaluate(game: Game, coalitions: Coalitions, is_halved: bool) -> tuple[Float[Tensor, "2"], Targets]:
    """`v(∅)` and `v(N)`, and the target of each coalition: `v(S) - v(∅)`, or if halved its mean with `v(N) - v(N∖S)`."""
    ends = empty_and_full(game.n_players)
    values = game.values(torch.cat([ends, coalitions, *([~coalitions] if is_halved else [])]))
    exact = values.cpu().double()
    targets = exact[2 : 2 + len(coalitions)] - exact[0]
    return values[:2], (targets + (exact[1] - exact[2 + len(coalitions) :])) / 2 if is_halved else targets


def _remove_size_means(coalitions: Coalitions, targets: Targets) -> tuple[Design, Targets]:
    """Rows and targets minus most of the mean of their size. It fits one unknown for each size, with a prior near 0."""
    n_players, size = coalitions.shape[1], coalitions.sum(1)
    rows = torch.cat([coalitions.double(), targets[:, None]], 1)
    count = torch.bincount(size, minlength=n_players + 1).double()
    means = rows.new_zeros(len(count), n_players + 1).index_add_(0, size, rows) / count.clamp(min=1)[:, None]
    share = 1 - (SIZE_PRIOR / (count + SIZE_PRIOR)).sqrt()
    if n_players % 2 == 0:
        share[n_players // 2] = 0  # a half of the players and its complement have the same size, which tells nothing
    rows = rows - (share[:, None] * means)[size]
    return rows[:, :-1], rows[:, -1]


def _sandwich_error(fit: SumConstrained, design: Design, weighted: Design, residual: Targets, unseen: Targets) -> Float[Tensor, " players"]:
    """The sandwich `Σ_S unseen · (influence · residual of the fit without S)²`; infinite if a value depends on a single sampled row."""
    influence = fit.solve(weighted.T, 0.0)
    leverage = (influence.T * design).sum(1)
    left_out = torch.where(leverage < FULL_LEVERAGE, residual / (1 - leverage), torch.inf)
    square = influence.square() * unseen
    return torch.where(square > 0, square * left_out.square(), 0.0).sum(1).sqrt()
