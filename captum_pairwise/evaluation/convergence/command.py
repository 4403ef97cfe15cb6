"""`python -m captum_pairwise.evaluation convergence`: what it is told, and what it prints."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from captum_pairwise import __version__
from captum_pairwise.evaluation.convergence import report
from captum_pairwise.evaluation.convergence.random_games import GAMES
from captum_pairwise.evaluation.convergence.shapiq_estimators import peers
from captum_pairwise.evaluation.convergence.study import Row, plan, study
from captum_pairwise.evaluation.convergence.study_estimators import Contender, own
from captum_pairwise.evaluation.rows import Journal

QUICK_GAMES, QUICK_BUDGETS, QUICK_SEEDS = ("A", "B-towers", "D"), (300, 600), 2


def add_to(studies: Any) -> None:
    """Add the study to the command line."""
    one = studies.add_parser(
        "convergence",
        help="error over budget, on random games whose exact indices are known",
        description="The paper's Figures 5 and 10, and beyond: how fast estimators of Shapley–Taylor indices approach the exact ones.",
        epilog="Writes convergence.csv and convergence.png. A budget counts evaluations of v, or, on the games of two towers (B-towers, "
        "C), network passes, of which an estimator that does not know the towers needs two for an evaluation.",
    )
    one.add_argument("--out", type=Path, default=Path("convergence"), help="folder; rows that it has are not computed again")
    one.add_argument("--games", nargs="+", choices=GAMES, help="all if not given")
    one.add_argument("--estimators", nargs="+", metavar="NAME", help="all that are installed if not given")
    one.add_argument("--budgets", nargs="+", type=positive, metavar="N", help="for every game; the usual ones of each if not given")
    one.add_argument("--seeds", type=positive, metavar="N", help="random games of each kind; 8 if not given, and 4 of game C")
    one.add_argument("--quick", action="store_true", help="games A, B-towers and D, small budgets, 2 seeds: well under a minute")
    one.add_argument("--report", action="store_true", help="compute nothing: print and draw the rows that the folder has, of whatever run")
    one.set_defaults(run=convergence)


def positive(text: str) -> int:
    """A whole number of the command line, at least 1."""
    if int(text) < 1:
        raise ValueError
    return int(text)


def chosen(names: Sequence[str] | None, is_quick: bool) -> dict[str, Contender]:
    """The estimators of these names, or all; prints what is left out.

    Raises:
        ValueError: a name is unknown, or that of an estimator that is not there.
    """
    theirs, missing = peers()
    every = own(__version__) | theirs
    for name in names or ():
        if name not in every:
            why = " ".join(missing)
            raise ValueError(f"Expected estimators among {sorted(every)}, got {name!r}. {why and 'Left out are: ' + why}")
    if not names:
        print(*(f"Left out: {sentence}." for sentence in missing), sep="\n")
    return {name: one for name, one in every.items() if (name in names if names else not (is_quick and one.is_slow))}


def convergence(options: argparse.Namespace) -> int:
    """Run the study, or take its rows as they are, print what was found, and draw it; what it returns is the exit status."""
    journal = Journal(options.out / "convergence.csv", Row)
    rows = journal.rows if options.report else measured(options, journal)
    picture = options.out / "convergence.png"
    report.figure(rows).savefig(picture)
    print(f"\n{report.tables(rows)}\n\n{report.claim(rows)}\n\nRows: {journal.path}\nPicture: {picture}")
    return 0


def measured(options: argparse.Namespace, journal: Journal[Row]) -> list[Row]:
    """The rows that the options ask for."""
    contenders = chosen(options.estimators, options.quick)
    games = options.games or (QUICK_GAMES if options.quick else tuple(GAMES))
    budgets = options.budgets or (QUICK_BUDGETS if options.quick else None)
    tasks = plan(games, contenders, budgets, options.seeds or (QUICK_SEEDS if options.quick else None))
    return study(tasks, contenders, journal)
