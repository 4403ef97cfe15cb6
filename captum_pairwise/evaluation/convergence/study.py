"""The convergence study: how fast estimators of Shapley–Taylor indices approach the exact ones (the paper's Figures 5 and 10)."""

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from tqdm.auto import tqdm

from captum_pairwise.evaluation.convergence.random_games import GAMES, TWO_TOWER, RandomGame
from captum_pairwise.evaluation.convergence.study_estimators import Contender
from captum_pairwise.evaluation.rows import Journal

BUDGETS = {
    "A": (500, 1000, 2000, 4000),
    "B": (500, 1000, 2000, 4000),
    "B-towers": (50, 100, 200, 500, 1000, 2000, 4000),
    "C": (200, 1000, 2000, 8000),
    "D": (500, 1000, 2000, 4000),
}
SEEDS, MOST_SEEDS = 8, {"C": 4}
SLOW_SEEDS = 2
Key = tuple[str, str, int, int]
FIRST_DRAW = 2**20  # so that draws do not repeat the random numbers of the game


@dataclass(frozen=True)
class Row:
    """One run of an estimator on a random game.

    Attributes:
        game: its name.
        pairs: which pairs are judged, `"all"` or those `"between"` the images.
        estimator: its name.
        source: the package, with its version.
        budget: what it may cost: evaluations of `v`, or network passes where a game has two towers.
        seed: that of the game, and of the draws.
        passes: what it did cost, in the unit of the budget.
        distinct: what it would have cost with every distinct coalition evaluated once; of two towers, embedded once in each.
        mse: the mean over pairs of the squared error; NaN where the budget is too small.
        relative_mse: the same over the mean square of the exact indices.
        seconds: of the estimator, values being looked up in a table.
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
    def key(self) -> Key:
        """What makes two rows the same run."""
        return self.game, self.estimator, self.budget, self.seed


@dataclass(frozen=True)
class Task:
    """One run that is asked for."""

    game: str
    seed: int
    estimator: str
    budget: int

    @property
    def key(self) -> Key:
        """As of `Row`."""
        return self.game, self.estimator, self.budget, self.seed


def plan(games: Iterable[str], contenders: dict[str, Contender], budgets: Sequence[int] | None, n_seeds: int | None) -> list[Task]:
    """Every run of the study, game by game, each for all estimators that fit it, before the next.

    Slow estimators run on two seeds, and game C, where each takes long, on four unless `n_seeds` says otherwise.

    Args:
        games: names, of `GAMES`.
        contenders: by name.
        budgets: for every game; None for the usual ones of each.
        n_seeds: how many random games of each kind, each estimated once; None for the usual number.
    """
    return [
        Task(game, seed, name, budget)
        for game in games
        for seed in range(n_seeds or MOST_SEEDS.get(game, SEEDS))
        for name, contender in contenders.items()
        if not (contender.is_slow and seed >= SLOW_SEEDS) and not (contender.needs_towers and game not in TWO_TOWER)
        for budget in budgets or BUDGETS[game]
    ]


def study(tasks: Sequence[Task], contenders: dict[str, Contender], journal: Journal[Row]) -> list[Row]:
    """Run what the journal does not have, write each row as it comes, and return those that were asked for."""
    known = {row.key for row in journal.rows}
    left = [task for task in tasks if task.key not in known]
    with tqdm(total=len(left), desc="convergence", unit="run", dynamic_ncols=True) as progress:
        for (name, seed), group in groupby(left, lambda task: (task.game, task.seed)):
            game = GAMES[name](seed)
            truth = game.judged(game.exact().second_order[0])
            for task in group:
                progress.set_postfix_str(f"{name}, seed {seed}: {task.estimator} at {task.budget}")
                journal.append(measure(game, truth, task, contenders[task.estimator]))
                progress.update()
    wanted = {task.key for task in tasks}
    return [row for row in journal.rows if row.key in wanted]


def measure(game: RandomGame, truth: torch.Tensor, task: Task, contender: Contender) -> Row:
    """Run one estimator once; a budget that it refuses gives a row of NaN errors."""
    view, lookups = game.towers() if contender.needs_towers else game.opaque()
    budget = task.budget if contender.needs_towers else task.budget // game.passes_per_value
    start = time.perf_counter()
    try:
        mse = (game.judged(contender.estimate(view, budget, FIRST_DRAW + task.seed)) - truth).square().mean().item()
    except ValueError as refusal:
        tqdm.write(f"{task.estimator} on {task.game} at {task.budget}: {refusal}")
        mse = math.nan
    seconds = time.perf_counter() - start
    return Row(
        game=task.game,
        pairs="between" if game.is_two_tower else "all",
        estimator=task.estimator,
        source=contender.source,
        budget=task.budget,
        seed=task.seed,
        passes=view.n_evaluations * (1 if contender.needs_towers else game.passes_per_value),
        distinct=sum(int(lookup.is_asked.sum()) for lookup in lookups),
        mse=mse,
        relative_mse=mse / truth.square().mean().item(),
        seconds=round(seconds, 4),
    )
