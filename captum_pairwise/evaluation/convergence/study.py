"""The convergence study: how fast estimators of Shapley–Taylor indices approach the exact ones (the paper's Figures 5 and 10)."""

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import torch
from tqdm import tqdm

from captum_pairwise.estimators.enumeration import exact
from captum_pairwise.evaluation.convergence.random_games import GAMES, TWO_TOWER, TableGame
from captum_pairwise.evaluation.convergence.study_estimators import StudyEstimator
from captum_pairwise.evaluation.rows import Journal

BUDGETS, TOWER_BUDGETS = (500, 1000, 2000, 4000), {"B-towers": (50, 100, 200, 500, 1000, 2000, 4000), "C": (200, 1000, 2000, 8000)}
SEEDS, MAX_SEEDS = 8, {"C": 4}
SLOW_SEEDS = 2
FIRST_DRAW = 2**20  # seeds of draws start here, so that draws do not repeat the random numbers of the game


class Task(NamedTuple):
    """One run of the study."""

    game: str
    estimator: str
    budget: int
    seed: int


@dataclass(frozen=True)
class Row:
    """The result of one run.

    Attributes:
        game: its name.
        pairs: the pairs that are judged, `"all"` or those `"between"` the images.
        estimator: its name.
        source: its package and version.
        budget: evaluations of `v`, or network passes if the game has two towers.
        seed: of the game and of the draws.
        passes: the cost, in the unit of the budget.
        distinct: the cost if every distinct coalition were evaluated once; of two towers, embedded once in each.
        mse: the mean over pairs of the squared error; NaN if the budget is too small.
        relative_mse: `mse` over the mean square of the exact indices.
        seconds: time of the estimator; values come from a table.
    """

    game: str
    pairs: str
    estimator: str
    source: str
    budget: int
    seed: int
    passes: int
    distinct: int
    mse: float
    relative_mse: float
    seconds: float

    @property
    def task(self) -> Task:
        """The run, by which rows are compared."""
        return Task(self.game, self.estimator, self.budget, self.seed)


def plan_tasks(
    games: Iterable[str], estimators: dict[str, StudyEstimator], budgets: Sequence[int] | None, n_seeds: int | None
) -> list[Task]:
    """All runs of the study, game by game.

    Slow estimators run on two seeds. Game C, where every run takes long, has four seeds unless `n_seeds` is given.

    Args:
        games: names of `GAMES`.
        estimators: by name.
        budgets: for every game; None for the default of each game.
        n_seeds: random games of each kind; None for the default.
    """
    return [
        Task(game, name, budget, seed)
        for game in games
        for seed in range(n_seeds or MAX_SEEDS.get(game, SEEDS))
        for name, estimator in estimators.items()
        if not (estimator.is_slow and seed >= SLOW_SEEDS) and not (estimator.needs_towers and game not in TWO_TOWER)
        for budget in budgets or TOWER_BUDGETS.get(game, BUDGETS)
    ]


def run_tasks(tasks: Sequence[Task], estimators: dict[str, StudyEstimator], journal: Journal[Row]) -> list[Row]:
    """The rows of these tasks; those that the journal lacks are computed, and each is written at once."""
    done = {row.task for row in journal.rows}
    missing = [task for task in tasks if task not in done]
    with tqdm(total=len(missing), desc="convergence", unit="run", dynamic_ncols=True, disable=None) as progress:
        for (name, seed), group in groupby(missing, lambda task: (task.game, task.seed)):
            game = GAMES[name](seed)
            truth = game.judge_pairs(exact(game.build()[0]).second_order[0])
            for task in group:
                progress.set_postfix_str(f"{name}, seed {seed}: {task.estimator} at {task.budget}")
                journal.append(measure_task(game, truth, task, estimators[task.estimator]))
                progress.update()
    wanted = set(tasks)
    return [row for row in journal.rows if row.task in wanted]


def measure_task(game: TableGame, truth: torch.Tensor, task: Task, estimator: StudyEstimator) -> Row:
    """The row of one run; if the estimator refuses the budget, its errors are NaN."""
    view, lookups = game.build(hide_towers=not estimator.needs_towers)
    passes_per_value = 1 if estimator.needs_towers else len(game.tables)  # an evaluation of `v` is a pass through each tower
    start = time.perf_counter()
    try:
        second_order = estimator.estimate(view, task.budget // passes_per_value, FIRST_DRAW + task.seed)
        mse = (game.judge_pairs(second_order) - truth).square().mean().item()
    except ValueError as error:
        tqdm.write(f"{task.estimator} on {task.game} at {task.budget}: {error}")
        mse = math.nan
    seconds = time.perf_counter() - start
    return Row(
        **task._asdict(),
        pairs="between" if game.is_two_tower else "all",
        source=estimator.source,
        passes=view.n_evaluations * passes_per_value,
        distinct=sum(int(lookup.is_read.sum()) for lookup in lookups),
        mse=mse,
        relative_mse=mse / truth.square().mean().item(),
        seconds=round(seconds, 4),
    )
