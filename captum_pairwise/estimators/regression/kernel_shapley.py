"""The first-order kernel estimator: Shapley values of any game as a weighted least-squares fit (Kernel SHAP, paper §4)."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from captum_pairwise.estimators.regression.least_squares import SumConstrained, sum_constrained
from captum_pairwise.estimators.regression.sampling import Sampler, distinct_halves, draw_coalitions, paper_direct, shapley_law
from captum_pairwise.games.game import Game
from captum_pairwise.results.interactions import Credits, Interactions

SAMPLERS: dict[str, Sampler] = {"distinct": distinct_halves, "paper-direct": paper_direct}
SIZE_PRIOR = 0.1
ALL_LEVERAGE = 1 - 1e-6


def kernel_shapley(
    game: Game,
    n_samples: int,
    *,
    sampling: str = "distinct",
    ridge: float | None = None,
    generator: torch.Generator | None = None,
) -> Interactions:
    """Every Shapley value (as `marginal`), by the linear fit whose kernel is `(n-1) / (C(n,s) s (n-s))` (Lundberg & Lee 2017).

    `v(S) ≈ v(∅) + Σ_{i∈S} φ_i`. The coalitions of infinite weight, no player and all, are exact constraints: at any budget the values
    sum to `v(N) - v(∅)`. Enumerated, the fit is the value itself.

    With `sampling="distinct"` a coalition comes with its complement, because the Shapley values see no more of a game than
    `(v(S) + v(N) - v(N∖S) - v(∅)) / 2`; and there is an unknown for each size, because a linear fit is worst at those. Standard errors
    are those of leaving one pair out, 0 where every coalition is seen.

    Args:
        game: the game.
        n_samples: coalitions; beside them those of no player and of all are evaluated.
        sampling: `"distinct"`, or `"paper-direct"`: sizes drawn by the kernel, coalitions with repetition, of equal weight.
        ridge: if not None, added to the diagonal of the normal equations, in units of its mean: an answer, biased to equal
            players, where the budget does not determine them.
        generator: the source of randomness; one seeded with 0 if None.

    Raises:
        ValueError: the sampling is unknown, or the coalitions do not determine the values.

    >>> from captum_pairwise.games.game import CallableGame
    >>> product = CallableGame(3, 0, lambda z: 6.0 * z.all(1))
    >>> kernel_shapley(product, 6).marginal.round(decimals=6)
    tensor([[2., 2., 2.]])
    """
    n_players, is_halved = game.n_players, sampling == "distinct"
    needed = (2 if is_halved else 1) * (n_players - 1)
    refusal = _refusal(n_players, n_samples, needed)
    if ridge is None and n_samples < needed:
        raise ValueError(refusal)  # before anything is evaluated
    drawn = draw_coalitions(SAMPLERS, sampling, shapley_law(n_players), n_samples, generator)
    ends, left = _evaluate(game, drawn.coalitions, is_halved)
    design = drawn.coalitions.double()
    if is_halved:
        design, left = _less_sizes(drawn.coalitions, left)
    heavy = drawn.weights[:, None] * design
    fit = sum_constrained(heavy.T @ design, ridge, refusal)
    values = fit.solve((heavy.T @ left)[:, None], ends.cpu().double().diff())[:, 0]
    errors = None
    if is_halved and ridge is None:
        errors = Credits(marginal=_standard_error(fit, design, heavy, left - design @ values, drawn.unseen).to(ends)[None])
    return Interactions(
        n_query=game.n_query,
        empty=ends[:1],
        full=ends[1:],
        n_evaluations=torch.tensor([game.n_evaluations]),
        marginal=values.to(ends)[None],
        standard_error=errors,
    )


def _evaluate(
    game: Game, coalitions: Bool[Tensor, "coalitions players"], is_halved: bool
) -> tuple[Float[Tensor, "2"], Float[Tensor, " coalitions"]]:
    """`v(∅)` and `v(N)`, and of each coalition what its players have to explain; its complement's share in it, if asked for."""
    everybody = torch.tensor([[False], [True]]).expand(2, game.n_players)
    values = game.values(torch.cat([everybody, coalitions, *([~coalitions] if is_halved else [])]))
    ends, exact = values[:2], values.cpu().double()
    there, back = exact[2 : 2 + len(coalitions)] - exact[0], exact[1] - exact[2 + len(coalitions) :]
    return ends, (there + back) / 2 if is_halved else there


def _less_sizes(
    coalitions: Bool[Tensor, "coalitions players"], left: Float[Tensor, " coalitions"]
) -> tuple[Float[Tensor, "coalitions players"], Float[Tensor, " coalitions"]]:
    """Rows less most of the mean of their size, which is to fit an unknown for each size, held near 0 by a tenth of a coalition."""
    n_players, size = coalitions.shape[1], coalitions.sum(1)
    rows = torch.cat([coalitions.double(), left[:, None]], 1)
    count = torch.bincount(size, minlength=n_players + 1).double()
    means = rows.new_zeros(len(count), n_players + 1).index_add_(0, size, rows) / count.clamp(min=1)[:, None]
    share = 1 - (SIZE_PRIOR / (count + SIZE_PRIOR)).sqrt()
    if n_players % 2 == 0:
        share[n_players // 2] = 0  # half of the players against the other half: size says nothing there
    rows = rows - (share[:, None] * means)[size]
    return rows[:, :-1], rows[:, -1]


def _standard_error(
    fit: SumConstrained,
    design: Float[Tensor, "coalitions players"],
    heavy: Float[Tensor, "coalitions players"],
    residuals: Float[Tensor, " coalitions"],
    unseen: Float[Tensor, " coalitions"],
) -> Float[Tensor, " players"]:
    """The sandwich `Σ_S unseen · (influence · residual of the fit without S)²`; infinite where a drawn row alone decides."""
    influence = fit.solve(heavy.T, 0.0)
    leverage = (influence.T * design).sum(1)
    without = torch.where(leverage < ALL_LEVERAGE, residuals / (1 - leverage), torch.inf)
    square = influence.square() * unseen
    return torch.where(square > 0, square * without.square(), 0.0).sum(1).sqrt()


def _refusal(n_players: int, n_samples: int, needed: int) -> str:
    return (
        f"Expected coalitions that determine the Shapley values of {n_players} players, but {n_samples} do not. Raise n_samples well "
        f"above {needed}, or pass `ridge` for a biased answer."
    )
