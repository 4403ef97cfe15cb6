"""The report of the convergence study: tables, savings and curves."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from statistics import fmean

from matplotlib.figure import Figure

from captum_pairwise.evaluation.convergence.random_games import TITLES, TWO_TOWER
from captum_pairwise.evaluation.convergence.savings import compute_saving
from captum_pairwise.evaluation.convergence.study import Row
from captum_pairwise.evaluation.convergence.study_estimators import SHAPIQ_ESTIMATORS
from captum_pairwise.evaluation.escaping import escape_markdown, format_markdown_table
from captum_pairwise.visualization.study_figures import convergence_figure

CLAIM = (
    "The paper (§5.2, Figure 5): the kernel often needs ten times fewer evaluations than permutation sampling for the same error. "
    "The table has the factor in these runs, from mean errors over seeds, interpolated in log error over log cost and averaged over the "
    "errors that both reach. Below 1 the kernel needs more. With < or > no error is reached by both; ? means that the costs do not tell."
)
SAVERS = ("kernel, paper-direct", "kernel", "gaussian process")
SPENDERS = ("shapiq permutations", "permutations")
COSTS: dict[str, Callable[[Row], int]] = {"evaluations drawn": lambda row: row.budget, "distinct ones": lambda row: row.distinct}


def group_curves(rows: Iterable[Row]) -> dict[str, dict[int, list[Row]]]:
    """The rows of all seeds by estimator and budget; estimators in the order of their first row, other packages last."""
    curves: dict[str, dict[int, list[Row]]] = defaultdict(lambda: defaultdict(list))
    places = {name: place for place, name in enumerate(SHAPIQ_ESTIMATORS)}
    for row in sorted(rows, key=lambda row: places.get(row.estimator, -1)):
        curves[row.estimator][row.budget].append(row)
    return curves


def group_games(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows by game."""
    games = {name: [row for row in rows if row.game == name] for name in TITLES}
    return {name: rows_of_game for name, rows_of_game in games.items() if rows_of_game}


def format_errors(rows: Sequence[Row]) -> str:
    """A Markdown table for each game: the mean over seeds of the relative MSE, and the cost of the largest budget."""
    return "\n\n".join(_format_game(game, rows_of_game) for game, rows_of_game in group_games(rows).items())


def _format_game(game: str, rows: Sequence[Row]) -> str:
    unit = "network passes, two for an evaluation of v" if game in TWO_TOWER else "evaluations of v"
    budgets, curves = sorted({row.budget for row in rows}), group_curves(rows)
    n_seeds = max(len(seeds) for by_budget in curves.values() for seeds in by_budget.values())
    lines = []
    for estimator, by_budget in curves.items():
        last = by_budget[max(by_budget)]
        seeds = "" if len(last) == n_seeds else f" (seeds: {len(last)})"
        errors = [_format_error(fmean(row.relative_mse for row in by_budget[budget])) if by_budget[budget] else "" for budget in budgets]
        effort = [f"{fmean(row.distinct for row in last):.0f}", f"{fmean(row.seconds for row in last):.2f}"]
        lines.append([escape_markdown(estimator) + seeds, *errors, *effort])
    header = ["relative MSE", *(str(budget) for budget in budgets), f"distinct of {budgets[-1]}", "seconds"]
    return f"**{TITLES[game]}** ({unit}; mean over seeds: {n_seeds})\n\n{format_markdown_table(header, lines)}"


def _format_error(error: float) -> str:
    if math.isnan(error):
        return "–"
    return f"{error:.1e}".replace("e-0", "e-").replace("e+0", "e") if error > 1e-12 else "exact"


def format_savings(rows: Sequence[Row]) -> str:
    """The paper's claim about the kernel and permutation sampling, and the factors in these rows."""
    games = {game: rows_of_game for game, rows_of_game in group_games(rows).items() if game not in TWO_TOWER}
    lines = [line for game, rows_of_game in games.items() for line in _compare_estimators(game, rows_of_game)]
    if not lines:
        return "The paper's claim needs the kernel and a permutation sampler on one of the games A, B and D."
    return f"{CLAIM}\n\n{format_markdown_table(['game', 'this', 'against', *COSTS], lines)}"


def _compare_estimators(game: str, rows: Sequence[Row]) -> list[list[str]]:
    curves = group_curves(row for row in rows if row.mse > 0)
    pairs = [pair for pair in product(SAVERS, SPENDERS) if curves.keys() >= set(pair)]
    return [[game, *pair, *(_compare_costs(curves, pair, cost) for cost in COSTS.values())] for pair in pairs]


def _compare_costs(curves: dict[str, dict[int, list[Row]]], pair: tuple[str, str], cost: Callable[[Row], int]) -> str:
    saver, spender = (_average_seeds(curves[name], cost) for name in pair)
    return str(compute_saving(saver, spender))


def _average_seeds(by_budget: dict[int, list[Row]], cost: Callable[[Row], int]) -> list[tuple[float, float]]:
    """Mean cost and mean error at each budget."""
    return [(fmean(map(cost, rows)), fmean(row.relative_mse for row in rows)) for rows in by_budget.values()]


def draw_errors(rows: Sequence[Row]) -> Figure:
    """Error over budget, a panel for each game; curves of other packages are dashed."""
    panels, units = {}, {}
    for game, rows_of_game in group_games(rows).items():
        panels[TITLES[game]] = {
            estimator: {budget: [row.relative_mse for row in seeds] for budget, seeds in by_budget.items()}
            for estimator, by_budget in group_curves(rows_of_game).items()
        }
        units[TITLES[game]] = "network passes (an evaluation of v is two)" if game in TWO_TOWER else "evaluations of v"
    return convergence_figure(panels, units, dashed=[row.estimator for row in rows if row.estimator in SHAPIQ_ESTIMATORS])
