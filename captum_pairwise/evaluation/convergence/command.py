"""`captum-pairwise convergence`: its options and its output."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from captum_pairwise.evaluation.convergence import report
from captum_pairwise.evaluation.convergence.random_games import GAMES
from captum_pairwise.evaluation.convergence.study import Row, plan_tasks, run_tasks
from captum_pairwise.evaluation.convergence.study_estimators import OWN_ESTIMATORS, StudyEstimator, find_shapiq_estimators
from captum_pairwise.evaluation.rows import Journal, read_rows
from captum_pairwise.files.arguments import parse_positive

QUICK = ("A", "B-towers", "D"), (300, 600), 2  # games, budgets, number of seeds


def add_convergence_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command, and add its options."""
    parser.description = "The paper's Figures 5 and 10, and beyond: how fast estimators of Shapley–Taylor indices approach the exact ones."
    parser.epilog = (
        "Writes convergence.csv and convergence.png; the same command continues after an interruption. A budget counts evaluations of v, "
        "or, on the games of two towers (B-towers, C), network passes; an estimator without access to the towers needs two passes for an "
        "evaluation."
    )
    parser.add_argument("--out", type=Path, default=Path("convergence"), help="folder; rows that it already has are not computed again")
    parser.add_argument("--games", nargs="+", choices=GAMES, help="default: all")
    parser.add_argument("--estimators", nargs="+", metavar="NAME", help="default: all that are installed")
    parser.add_argument("--budgets", nargs="+", type=parse_positive, metavar="N", help="for every game; default: depends on the game")
    parser.add_argument("--seeds", type=parse_positive, metavar="N", help="random games of each kind; default: 8, and 4 of game C")
    parser.add_argument("--quick", action="store_true", help="games A, B-towers and D, small budgets, 2 seeds: well under a minute")
    parser.add_argument("--report", action="store_true", help="compute nothing: print and draw all rows of the folder")
    parser.set_defaults(run=run_convergence)


def choose_estimators(names: Sequence[str] | None, is_quick: bool) -> dict[str, StudyEstimator]:
    """The estimators of these names, or all; prints which ones are left out.

    Raises:
        ValueError: a name is unknown, or its estimator is not installed.
    """
    shapiq_estimators, missing = find_shapiq_estimators()
    estimators = OWN_ESTIMATORS | shapiq_estimators
    for name in names or ():
        if name not in estimators:
            reason = " ".join(missing)
            raise ValueError(f"Expected estimators among {sorted(estimators)}, got {name!r}. {reason and 'Left out are: ' + reason}")
    if names:
        return {name: estimator for name, estimator in estimators.items() if name in names}
    print(*(f"Left out: {sentence}." for sentence in missing), sep="\n")
    return {name: estimator for name, estimator in estimators.items() if not (is_quick and estimator.is_slow)}


def run_convergence(options: argparse.Namespace) -> int:
    """Run the study, or read its rows, and write the report; returns the exit status."""
    file, picture = options.out / "convergence.csv", options.out / "convergence.png"
    rows = read_rows(file, Row) if options.report else _compute_rows(options, file)
    report.draw_errors(rows).savefig(picture)
    print(f"\n{report.format_errors(rows)}\n\n{report.format_savings(rows)}\n\nRows: {file}\nPicture: {picture}")
    return 0


def _compute_rows(options: argparse.Namespace, file: Path) -> list[Row]:
    """The rows of all tasks of the command line."""
    estimators = choose_estimators(options.estimators, options.quick)
    games, budgets, n_seeds = QUICK if options.quick else (tuple(GAMES), None, None)
    tasks = plan_tasks(options.games or games, estimators, options.budgets or budgets, options.seeds or n_seeds)
    return run_tasks(tasks, estimators, Journal(file, Row))
