"""Direct implementations of the published formulas, which the estimators must match."""

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import combinations, permutations
from math import comb, factorial, prod

import numpy as np
import torch
from torch import Tensor

from captum_pairwise.games.game import Game

Coalition = frozenset[int]


def value_function(game: Game) -> Callable[[Iterable[int]], float]:
    """`v(S)` of a set of players, one evaluation at a time."""

    def value(players: Iterable[int]) -> float:
        z = torch.zeros(1, game.n_players, dtype=torch.bool)
        z[0, list(players)] = True
        return game.values(z).item()

    return value


def subsets(players: Iterable[int]) -> Iterator[Coalition]:
    players = list(players)
    return (frozenset(chosen) for size in range(len(players) + 1) for chosen in combinations(players, size))


def dividend(value: Callable[[Iterable[int]], float], coalition: Coalition) -> float:
    """Paper eq. 4, with `d(∅) = v(∅)`."""
    parts = (subset for subset in subsets(coalition) if subset != coalition)
    return value(coalition) - sum(dividend(value, part) for part in parts)


def shapley_value(value: Callable[[Iterable[int]], float], player: int, n_players: int) -> float:
    """Paper eq. 1."""
    total = 0.0
    for subset in subsets(set(range(n_players)) - {player}):
        weight = factorial(len(subset)) * factorial(n_players - len(subset) - 1) / factorial(n_players)
        total += weight * (value(subset | {player}) - value(subset))
    return total


def taylor_pair(value: Callable[[Iterable[int]], float], i: int, j: int, n_players: int) -> float:
    """The order-2 Shapley–Taylor index as a mean of discrete derivatives: `(2/n) Σ_T δ_ij v(T) / C(n-1, |T|)`."""
    total = 0.0
    for subset in subsets(set(range(n_players)) - {i, j}):
        derivative = value(subset | {i, j}) - value(subset | {i}) - value(subset | {j}) + value(subset)
        total += derivative / comb(n_players - 1, len(subset))
    return 2 / n_players * total


def banzhaf_pair(value: Callable[[Iterable[int]], float], i: int, j: int, n_players: int) -> float:
    """The Banzhaf index at 1/2: the mean of `δ_ij v(T)` over all coalitions of the other players."""
    others = [*subsets(set(range(n_players)) - {i, j})]
    return sum(value(t | {i, j}) - value(t | {i}) - value(t | {j}) + value(t) for t in others) / len(others)


def taylor_pairs(game: Game) -> Tensor:
    """Every pair, `[n, n]`."""
    value, n_players = value_function(game), game.n_players
    second = torch.zeros(n_players, n_players, dtype=torch.float64)
    for i, j in combinations(range(n_players), 2):
        second[i, j] = second[j, i] = taylor_pair(value, i, j, n_players)
    return second


PAIR_WEIGHTS = {  # the weight of `δ_ij v(T)` with `t` of the other players of `n`: eq. 5; Grabisch 1999; Tsai 2023; Marichal 1999
    "shapley-taylor": lambda t, n: 2 / (n * comb(n - 1, t)),
    "shapley": lambda t, n: factorial(t) * factorial(n - t - 2) / factorial(n - 1),
    "k-sii": lambda t, n: factorial(t) * factorial(n - t - 2) / factorial(n - 1),
    "faith-shap": lambda t, n: 6 * factorial(t + 1) * factorial(n - t - 1) / factorial(n + 1),
    "chaining": lambda t, n: 2 * factorial(n - t - 2) * factorial(t + 1) / factorial(n),
    "moebius": lambda t, n: float(t == 0),
    "co-moebius": lambda t, n: float(t == n - 2),
}


def presence(game: Game, p: tuple[float, float]) -> list[float]:
    """The probability of each player."""
    return [p[0]] * game.n_query + [p[1]] * (game.n_players - game.n_query)


def probability(coalition: Iterable[int], players: Iterable[int], p: list[float]) -> float:
    """Of this coalition of independent players."""
    return prod(p[player] if player in coalition else 1 - p[player] for player in players)


def index_pairs(game: Game, name: str, p: tuple[float, float] = (0.5, 0.5)) -> Tensor:
    """The pairs of an interaction index as weighted means of discrete derivatives over all coalitions of the other players, `[n, n]`."""
    value, n_players, presences = cache(value_function(game)), game.n_players, presence(game, p)
    second = torch.zeros(n_players, n_players, dtype=torch.float64)
    for i, j in combinations(range(n_players), 2):
        others = set(range(n_players)) - {i, j}
        for subset in subsets(others):
            derivative = value(subset | {i, j}) - value(subset | {i}) - value(subset | {j}) + value(subset)
            is_banzhaf = name == "banzhaf"
            weight = probability(subset, others, presences) if is_banzhaf else PAIR_WEIGHTS[name](len(subset), n_players)
            second[i, j] += weight * derivative
            second[j, i] = second[i, j]
    return second


def faithful_fit(game: Game, weights: Tensor) -> tuple[float, Tensor, Tensor]:
    """The constant, the first order and the pairs of the quadratic function with the least weighted squared error over all coalitions.

    An infinite weight is a constraint. The weights are in the order of bit masks.
    """
    n_players = game.n_players
    rows = torch.tensor([[mask >> player & 1 for player in range(n_players)] for mask in range(2**n_players)], dtype=torch.float64)
    i, j = torch.triu_indices(n_players, n_players, 1)
    terms, values = torch.cat([rows.new_ones(len(rows), 1), rows, rows[:, i] * rows[:, j]], 1), game.values(rows.bool()).double()
    exact, root = terms[weights.isinf()], torch.where(weights.isinf(), 0.0, weights).sqrt()
    free = torch.linalg.svd(exact)[2][torch.linalg.matrix_rank(exact) :] if len(exact) else torch.eye(terms.shape[1]).double()
    fixed = torch.linalg.pinv(exact) @ values[weights.isinf()]
    gap = root * (values - terms @ fixed)
    fit = fixed + free.T @ torch.linalg.lstsq(root[:, None] * terms @ free.T, gap[:, None], driver="gelsd").solution[:, 0]
    second = torch.zeros(n_players, n_players, dtype=torch.float64)
    second[i, j] = second[j, i] = fit[1 + n_players :]
    return fit[0].item(), fit[1 : 1 + n_players], second


def interaction_index(game: Game, name: str, p: tuple[float, float] = (0.5, 0.5)) -> tuple[float, Tensor, Tensor]:
    """The constant, the first order and the pairs of an interaction index of order 2, by their definitions."""
    n_players, value = game.n_players, value_function(game)
    pairs, everyone = index_pairs(game, name, p), set(range(n_players))
    if name in ("banzhaf", "faith-shap"):
        sizes = [mask.bit_count() for mask in range(2**n_players)]
        if name == "faith-shap":  # the kernel of Shapley values
            weights = [1 / (comb(n_players, s) * s * (n_players - s)) if 0 < s < n_players else float("inf") for s in sizes]
        else:
            members = ({player for player in everyone if mask >> player & 1} for mask in range(2**n_players))
            weights = [probability(coalition, everyone, presence(game, p)) for coalition in members]
        constant, first, fitted = faithful_fit(game, torch.tensor(weights, dtype=torch.float64))
        torch.testing.assert_close(fitted, pairs, rtol=0, atol=1e-9)  # the regression has the pairs of the derivatives
        return constant, first, pairs
    if name in ("shapley-taylor", "moebius"):
        return value([]), first_order(game), pairs
    if name == "co-moebius":
        last = [value(everyone) - value(everyone - {player}) for player in everyone]
        return value(everyone), torch.tensor(last, dtype=torch.float64), pairs
    return value([]), shapley_values(game) - (pairs.sum(1) / 2 if name == "k-sii" else 0), pairs


def shapley_values(game: Game) -> Tensor:
    value = value_function(game)
    return torch.tensor([shapley_value(value, i, game.n_players) for i in range(game.n_players)], dtype=torch.float64)


def heat_maps(game: Game) -> Tensor:
    """Paper eq. 2: the Shapley value of each player in the game of its own image, with all players of the other image present."""
    value, images = value_function(game), (range(game.n_query), range(game.n_query, game.n_players))
    credits = []
    for own, other in (images, images[::-1]):
        for player in own:
            total, others = 0.0, set(own) - {player}
            for subset in subsets(others):
                weight = 1 / (len(own) * comb(len(others), len(subset)))
                total += weight * (value({*subset, player, *other}) - value({*subset, *other}))
            credits.append(total)
    return torch.tensor(credits, dtype=torch.float64)


def jagged_credit(
    value: Callable[[Iterable[int]], float], wanted: Iterable[Coalition], n_players: int
) -> tuple[dict[Coalition, float], float]:
    """Paper §5.1: each dividend is shared equally by the maximal wanted coalitions inside; also the left-over dividends."""
    credit, left_over, value = dict.fromkeys(wanted, 0.0), 0.0, cache(value)
    for whole in filter(None, subsets(range(n_players))):
        inside = [coalition for coalition in credit if coalition <= whole]
        largest = [coalition for coalition in inside if not any(coalition < other for other in inside)]
        for coalition in largest:
            credit[coalition] += dividend(value, whole) / len(largest)
        if not largest:
            left_over += dividend(value, whole)
    return credit, left_over


def owen_values(game: Game) -> Tensor:
    """The mean marginal contribution of each player over all orders in which one image arrives after the other (Owen 1977)."""
    value, total, n_orders = value_function(game), torch.zeros(game.n_players, dtype=torch.float64), 0
    images = range(game.n_query), range(game.n_query, game.n_players)
    for first, second in (images, images[::-1]):
        for order in ((*one, *other) for one in permutations(first) for other in permutations(second)):
            n_orders += 1
            for place, player in enumerate(order):
                total[player] += value(order[: place + 1]) - value(order[:place])
    return total / n_orders


def first_order(game: Game) -> Tensor:
    value = value_function(game)
    return torch.tensor([value([i]) - value([]) for i in range(game.n_players)], dtype=torch.float64)


def least_squares_of_sum(normal: Tensor, moment: Tensor, summed: Tensor, total: float) -> Tensor:
    """The `β` that minimises `β' N β - 2 m' β` where `summed' β = total`, from the Lagrange equations."""
    lagrange = torch.cat([torch.cat([normal, summed[:, None]], 1), torch.cat([summed, summed.new_zeros(1)])[None]])
    return torch.linalg.solve(lagrange, torch.cat([moment, moment.new_tensor([total])]))[:-1]


def relative_mse(estimate: Tensor, truth: Tensor) -> float:
    return ((estimate - truth).square().sum() / truth.square().sum()).item()


def gauss_legendre(n_nodes: int) -> list[tuple[float, float]]:
    """Nodes and weights of the integral over [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(n_nodes)
    return list(zip((nodes + 1) / 2, weights / 2, strict=True))


def derivatives(game: Game, t: float) -> tuple[Tensor, Tensor]:
    """The gradient and the Hessian of `v` at `t · 1`."""
    at = torch.full((game.n_players,), t, dtype=torch.float64)

    def value(z: Tensor) -> Tensor:
        return game.values(z[None])[0]

    return torch.autograd.functional.jacobian(value, at), torch.autograd.functional.hessian(value, at)


@cache
def integrated_hessian(game: Game, n_nodes: int = 14) -> Tensor:
    """`Γ_ij = ∫∫ αβ ∂²_ij v(αβ·1) dα dβ`, plus `∫∫ ∂_i v(αβ·1) dα dβ` on the diagonal (paper A.14): ordered pairs, `[n, n]`."""
    total = torch.zeros(game.n_players, game.n_players, dtype=torch.float64)
    for alpha, first in gauss_legendre(n_nodes):
        for beta, second in gauss_legendre(n_nodes):
            gradient, hessian = derivatives(game, alpha * beta)
            total += first * second * (alpha * beta * hessian + torch.diag(gradient))
    return total


def continuous_taylor(game: Game, n_nodes: int = 20) -> tuple[Tensor, Tensor]:
    """`∂_i v(0) + ∫ (1-t) ∂²_ii v dt` of each player and `∫ 2(1-t) ∂²_ij v dt` of each pair: Taylor's formula with its remainder."""
    second = torch.zeros(game.n_players, game.n_players, dtype=torch.float64)
    for t, weight in gauss_legendre(n_nodes):
        second += weight * 2 * (1 - t) * derivatives(game, t)[1]
    first = derivatives(game, 0.0)[0] + second.diagonal() / 2
    return first, second - torch.diag(second.diagonal())
