"""What the convergence study found, in words, tables and curves."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean

from matplotlib.figure import Figure

from captum_pairwise.evaluation.convergence.random_games import TITLES, TWO_TOWER
from captum_pairwise.evaluation.convergence.savings import saving
from captum_pairwise.evaluation.convergence.shapiq_estimators import PEERS
from captum_pairwise.evaluation.convergence.study import Row
from captum_pairwise.evaluation.escaping import in_markdown
from captum_pairwise.visualization.convergence_figure import convergence_figure

CLAIM = (
    "The paper (§5.2, Figure 5): the kernel often needs ten times fewer evaluations than permutation sampling for the same error. "
    "Found here, the factor by which it needs fewer, from mean errors over seeds, interpolated in log error over log cost and averaged "
    "over the errors that both reach (below 1 it needs more; with < or > no error is reached by both, with ? that tells nothing):"
)
SAVERS = ("kernel, paper-direct", "kernel", "gaussian process")
SPENDERS = ("shapiq permutations", "permutations")
COSTS: dict[str, Callable[[Row], int]] = {"evaluations drawn": lambda row: row.budget, "distinct ones": lambda row: row.distinct}


def _curves(rows: Iterable[Row]) -> dict[str, dict[int, list[Row]]]:
    """By estimator, by budget, the rows of all seeds; estimators in the order in which they first came, other packages' last."""
    curves: dict[str, dict[int, list[Row]]] = defaultdict(lambda: defaultdict(list))
    places = {name: place for place, name in enumerate(PEERS)}
    for row in sorted(rows, key=lambda row: places.get(row.estimator, -1)):
        curves[row.estimator][row.budget].append(row)
    return curves


def _games(rows: Sequence[Row]) -> list[str]:
    return [name for name in TITLES if any(row.game == name for row in rows)]


def _markdown(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, ["---"] * len(header), *lines))


def tables(rows: Sequence[Row]) -> str:
    """A Markdown table for each game: the mean over seeds of the relative MSE, and what the largest budget took."""
    return "\n\n".join(_table(game, [row for row in rows if row.game == game]) for game in _games(rows))


def _table(game: str, rows: Sequence[Row]) -> str:
    unit = "network passes, two for an evaluation of v" if game in TWO_TOWER else "evaluations of v"
    budgets, curves = sorted({row.budget for row in rows}), _curves(rows)
    n_seeds = max(len(some) for by_budget in curves.values() for some in by_budget.values())
    lines = []
    for estimator, by_budget in curves.items():
        last = by_budget[max(by_budget)]
        seeds = "" if len(last) == n_seeds else f" (seeds: {len(last)})"
        errors = [_number(fmean(row.relative_mse for row in by_budget[budget])) if by_budget[budget] else "" for budget in budgets]
        effort = [f"{fmean(row.distinct for row in last):.0f}", f"{fmean(row.seconds for row in last):.2f}"]
        lines.append([in_markdown(estimator) + seeds, *errors, *effort])
    header = ["relative MSE", *(str(budget) for budget in budgets), f"distinct of {budgets[-1]}", "seconds"]
    return f"**{TITLES[game]}** ({unit}; mean over seeds: {n_seeds})\n\n{_markdown(header, lines)}"


def _number(error: float) -> str:
    if math.isnan(error):
        return "–"
    return f"{error:.1e}".replace("e-0", "e-").replace("e+0", "e") if error > 1e-12 else "exact"


def claim(rows: Sequence[Row]) -> str:
    """What the paper says of the kernel and permutation sampling, and what these rows say; nothing where they do not say anything."""
    games = [game for game in _games(rows) if game not in TWO_TOWER]
    lines = [line for game in games for line in _savings(game, [row for row in rows if row.game == game])]
    if not lines:
        return "The paper's claim needs the kernel and a permutation sampler on one of the games A, B and D."
    header = ["game", "this", "against", *COSTS]
    return f"{CLAIM}\n\n{_markdown(header, lines)}"


def _savings(game: str, rows: Sequence[Row]) -> list[list[str]]:
    curves = _curves(row for row in rows if row.mse > 0)
    return [
        [game, saver, spender, *(str(saving(_mean(curves[saver], cost), _mean(curves[spender], cost))) for cost in COSTS.values())]
        for saver in SAVERS
        for spender in SPENDERS
        if saver in curves and spender in curves
    ]


def _mean(by_budget: dict[int, list[Row]], cost: Callable[[Row], int]) -> list[tuple[float, float]]:
    return [(fmean(map(cost, rows)), fmean(row.relative_mse for row in rows)) for rows in by_budget.values()]


def figure(rows: Sequence[Row]) -> Figure:
    """The curves, a panel for each game; those of other packages are dashed."""
    panels, units = {}, {}
    for game in _games(rows):
        curves = _curves(row for row in rows if row.game == game)
        panels[TITLES[game]] = {
            estimator: {budget: [row.relative_mse for row in some] for budget, some in by_budget.items()}
            for estimator, by_budget in curves.items()
        }
        units[TITLES[game]] = "network passes (an evaluation of v is two)" if game in TWO_TOWER else "evaluations of v"
    return convergence_figure(panels, units, dashed=[row.estimator for row in rows if row.estimator in PEERS])
