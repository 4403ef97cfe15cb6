"""The battery's matrix of methods and checks: `python -m captum_pairwise.testing` prints it as Markdown."""

import argparse
import sys
from collections.abc import Mapping

from tqdm import tqdm

from captum_pairwise.testing.battery import CHECKS, EXEMPT, FAILS, PASSES, Report
from captum_pairwise.testing.own import check_own, own_classes

MARKS = {PASSES: "✓", FAILS: "**✗**"}


def matrix(reports: Mapping[str, Report]) -> str:
    """A table with a row for each method and a column for each check; below it, why some do not apply and what failed."""
    notes: dict[str, int] = {}
    lines = ["| method | " + " | ".join(CHECKS) + " |", "| --- " * (len(CHECKS) + 1) + "|"]
    for name, report in reports.items():
        cells = []
        for outcome in report.outcomes:
            number = f" {notes.setdefault(outcome.message, len(notes) + 1)}" if outcome.message else ""
            cells.append(MARKS.get(outcome.status, "–") + number)
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *(f"{number}. {message}" for message, number in notes.items())])


def counts(reports: Mapping[str, Report]) -> str:
    """How many cells there are, and how many of them passed, do not apply, and failed."""
    statuses = [outcome.status for report in reports.values() for outcome in report.outcomes]
    return (
        f"{len(CHECKS)} checks × {len(reports)} methods: {statuses.count(PASSES)} pass, {statuses.count(EXEMPT)} do not apply, "
        f"{statuses.count(FAILS)} fail."
    )


def main() -> int:
    """Run all, print the matrix, and return how many methods failed a check."""
    parser = argparse.ArgumentParser(prog="captum_pairwise.testing", description="Run the battery over every public method.")
    parser.add_argument("--thorough", action="store_true", help="let every forward pass fail in turn, and the like: for a nightly run")
    options = parser.parse_args()
    reports = {cls.__name__: check_own(cls, thorough=options.thorough) for cls in tqdm(list(own_classes()), desc="methods")}
    print(f"{matrix(reports)}\n\n{counts(reports)}")
    return sum(bool(report.failures) for report in reports.values())


if __name__ == "__main__":
    sys.exit(main())
