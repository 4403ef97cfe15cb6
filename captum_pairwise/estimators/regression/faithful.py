"""Faithful indices of any game: the quadratic function that predicts its values best."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.estimators.coalitions import all_coalitions
from captum_pairwise.estimators.draws import default_generator, ends_and_singles
from captum_pairwise.estimators.independent_presence import draw_present, repeat_sides, weigh_present
from captum_pairwise.estimators.limits import refuse_beyond_memory
from captum_pairwise.estimators.regression.least_squares import add_products, describe_undetermined, solve_free, sum_constrained
from captum_pairwise.estimators.regression.sampling import ROUNDS, Coalitions, distinct, shapley_law
from captum_pairwise.games.game import Game
from captum_pairwise.results.index import BANZHAF, FAITH_SHAP, Index
from captum_pairwise.results.interactions import Interactions, make_interactions, split_blocks

ROWS_AT_ONCE = 2048
Players = Float[Tensor, " players"]
Pairs = Float[Tensor, "players players"]  # with each pair at both places
Targets = Float[Tensor, " coalitions"]
Terms = Float[Tensor, "rows terms"]
Drawn = tuple[Coalitions, Targets]  # coalitions and their weights


def kernel_faithful(
    game: Game, n_samples: int, *, index: Index, ridge: float | None = None, generator: torch.Generator | None = None
) -> Interactions:
    """The faithful Shapley or Banzhaf index of order 2 by the weighted quadratic fit that defines it (Tsai et al. 2023).

    `"faith-shap"` weights coalitions by the Shapley kernel and reproduces `v(∅)` and `v(N)`. `"banzhaf"` is ordinary least squares over
    coalitions in which every player is present with its probability, as in FIxLIP (Baniecki et al. 2025). If all coalitions are
    enumerated, the fit is the index itself.

    Args:
        game: the game.
        n_samples: coalitions to evaluate, beside the empty one, the full one and the single players.
        index: `"faith-shap"` or `"banzhaf"`.
        ridge: if not None, added to the diagonal of the normal equations, in units of its mean. It gives a biased answer if the budget
            does not determine the terms.
        generator: source of randomness; None means a generator with seed 0.

    Raises:
        ValueError: the terms do not fit into memory, or the coalitions do not determine them.

    >>> from captum_pairwise.games.game import CallableGame
    >>> product = CallableGame(2, 1, lambda z: 6.0 * z.all(1))
    >>> kernel_faithful(product, 3, index=Index("faith-shap")).between.round(decimals=6)
    tensor([[[3.],
             [3.]]])
    """
    n_players = game.n_players
    message = _describe_terms(n_players, n_samples)
    if ridge is None and n_samples < min(n_players * (n_players + 1) // 2, 2**n_players - n_players - 2):
        raise ValueError(message)  # before the game is evaluated
    known = game.values(ends_and_singles(n_players))
    own, p = known[2:] - known[0], repeat_sides(index.probabilities, game.n_query, game.n_retrieved)
    drawn = _draw_shapley(n_players, n_samples, generator) if index.name == FAITH_SHAP else _draw_players(p, n_samples, generator)
    coalitions, new = drawn[0].double(), drawn[0][len(known) :]
    values = torch.cat([known, game.values(new)] if len(new) else [known]).cpu().double()
    # an additive game has this index without a fit: its part is subtracted
    targets = values - values[0] - coalitions @ own.cpu().double()
    if index.name == BANZHAF:
        constant, first, second = _fit_banzhaf(drawn, targets, p, ridge, message)
    else:
        constant, (first, second) = torch.zeros_like(targets[:1]), _fit_shapley(drawn, targets, ridge, message)
    blocks = {"first_order": (own + first.to(own))[None], **split_blocks(second.to(own)[None], game.n_query)}
    return make_interactions(known[:2], game.n_query, game.n_evaluations, index=index, constant=known[:1] + constant.to(known), **blocks)


def _describe_terms(n_players: int, n_samples: int) -> str:
    """The message for too few coalitions, after a check that the terms fit into memory."""
    n_terms = n_players * (n_players + 1) // 2
    advice = "Group them with a coarser mask, or use FactorisedInteractions or GaussianProcessShapleyTaylor."
    refuse_beyond_memory(16 * n_terms**2, f"the {n_terms} terms of {n_players} players", advice)
    return describe_undetermined(f"the {n_terms} players and pairs", n_samples, n_terms)


def _draw_shapley(n_players: int, n_samples: int, generator: torch.Generator | None) -> Drawn:
    """`ends_and_singles` and distinct coalitions of the other sizes, weighted by the Shapley kernel; the ends are constraints."""
    law, base = shapley_law(n_players), ends_and_singles(n_players)
    others = distinct(law * (torch.arange(n_players + 1, device="cpu") > 1), n_samples, default_generator(generator))
    weights = [law.new_zeros(2), (law[1] / n_players).expand(n_players), others.weights]
    return torch.cat([base, others.coalitions]), torch.cat(weights)


def _draw_players(p: Players, n_samples: int, generator: torch.Generator | None) -> Drawn:
    """`ends_and_singles` and all other coalitions with their probabilities; or the former without a weight, and independent draws."""
    n_players, base = len(p), ends_and_singles(len(p))
    if 2**n_players - len(base) <= n_samples:
        rows = all_coalitions(n_players)
        rows = torch.cat([base, rows[(rows.sum(1) > 1) & (rows.sum(1) < n_players)]])
        return rows, weigh_present(rows, p)
    rows, counts = _draw_distinct(p, n_samples, default_generator(generator))
    return torch.cat([base, rows]), torch.cat([p.new_zeros(len(base)), counts / counts.sum()])


def _draw_distinct(p: Players, n_samples: int, generator: torch.Generator) -> Drawn:
    """Independent draws until there are `n_samples` distinct coalitions, or for some rounds, and the number of draws of each."""
    draws = torch.zeros(0, len(p), dtype=torch.bool, device="cpu")
    for _ in range(ROUNDS):
        draws = torch.cat([draws, draw_present(len(p), n_samples, p, generator)])
        rows, which = draws.unique(dim=0, return_inverse=True)
        if len(rows) >= n_samples:
            break
    first_seen = torch.full((len(rows),), len(draws), device="cpu").scatter_reduce(0, which, torch.arange(len(draws), device="cpu"), "amin")
    first_seen = torch.cat([first_seen.sort().values, torch.tensor([len(draws)], device="cpu")])
    counts = torch.bincount(which[: first_seen[min(n_samples, len(rows))]], minlength=len(rows)).double()
    return rows[counts > 0], counts[counts > 0]


def _fit_shapley(drawn: Drawn, targets: Targets, ridge: float | None, message: str) -> tuple[Players, Pairs]:
    """The players and the pairs with the best fit and the right sum."""
    n_players, total = drawn[0].shape[1], targets[1]
    normal, moment = _sum_products(drawn, targets, lambda rows: _expand(rows.double()))
    terms = sum_constrained(normal, ridge, message).solve(moment[:, None], total)[:, 0]
    return terms[:n_players], _place_pairs(terms[n_players:], n_players)


def _fit_banzhaf(
    drawn: Drawn, targets: Targets, p: Players, ridge: float | None, message: str
) -> tuple[Float[Tensor, " 1"], Players, Pairs]:
    """The constant, the players and the pairs with the best fit.

    The terms are those of `(z - p) / σ`, because they are uncorrelated.
    """
    n_players, deviation = len(p), (p * (1 - p)).sqrt()

    def expand(rows: Coalitions) -> Terms:
        return torch.cat([p.new_ones(len(rows), 1), _expand((rows.double() - p) / deviation)], 1)

    terms = solve_free(*_sum_products(drawn, targets, expand), ridge, message)
    second = _place_pairs(terms[1 + n_players :], n_players) / deviation / deviation[:, None]
    slopes = terms[1 : 1 + n_players] / deviation
    return terms[:1] - slopes @ p + p @ second @ p / 2, slopes - second @ p, second


def _expand(columns: Float[Tensor, "rows players"]) -> Terms:
    """The columns and the product of every two of them."""
    i, j = torch.triu_indices(columns.shape[1], columns.shape[1], 1, device="cpu")
    return torch.cat([columns, columns[:, i] * columns[:, j]], 1)


def _sum_products(
    drawn: Drawn, targets: Targets, expand: Callable[[Coalitions], Terms]
) -> tuple[Float[Tensor, "terms terms"], Float[Tensor, " terms"]]:
    """The lower triangle of `Xᵀ Λ X`, and `Xᵀ Λ y`, for the terms `X`."""
    coalitions, weights = drawn
    n_terms = expand(coalitions[:0]).shape[1]
    normal = torch.zeros(n_terms, n_terms, dtype=torch.float64, device="cpu")
    moment = torch.zeros(n_terms, dtype=torch.float64, device="cpu")
    for rows in weights.nonzero()[:, 0].split(ROWS_AT_ONCE):
        root = weights[rows].sqrt()
        terms = expand(coalitions[rows]) * root[:, None]
        moment.addmv_(terms.T, root * targets[rows])
        add_products(normal, terms)
    return normal, moment


def _place_pairs(pairs: Targets, n_players: int) -> Pairs:
    """The pairs as a symmetric matrix."""
    second = torch.zeros(n_players, n_players, dtype=torch.float64, device="cpu")
    second[tuple(torch.triu_indices(n_players, n_players, 1, device="cpu"))] = pairs
    return second + second.T
