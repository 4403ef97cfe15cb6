"""The battery's matrix of methods and checks, a page in Markdown: `python -m captum_pairwise.testing` prints it."""

import argparse
import inspect
import sys
from collections.abc import Mapping

from tqdm import tqdm

from captum_pairwise.testing.battery import CHECKS, EXEMPT, FAILS, PASSES, Report
from captum_pairwise.testing.own_methods import check_own, own_classes

HEAD = """# The battery

Every public attribution class passes every check of `captum_pairwise.testing`, or does not promise what it checks. `python -m
captum_pairwise.testing` runs them and prints this page, and the tests compare each row with what they find. How to run the battery on a
method of your own: `help(captum_pairwise.testing)`.
"""


def legend() -> str:
    """What the page is, and what each check is."""
    return "\n".join([HEAD, *(f"{number}. **{name}**: {_first_line(name)}" for number, name in enumerate(CHECKS, 1)), ""])


def _first_line(name: str) -> str:
    return (inspect.getdoc(CHECKS[name]) or "").split("\n")[0]


def matrix(reports: Mapping[str, Report]) -> str:
    """A row for each method, a column for each check by its number; below, why some do not apply and what failed, by letter."""
    letters: dict[str, str] = {}
    lines = [f"| method | {' | '.join(str(number + 1) for number in range(len(CHECKS)))} |", "| --- " * (len(CHECKS) + 1) + "|"]
    for name, report in reports.items():
        cells = []
        for outcome in report.outcomes:
            letter = letters.setdefault(outcome.message, _letter(len(letters))) if outcome.message else ""
            cells.append({PASSES: "✓", EXEMPT: letter, FAILS: f"**fails {letter}**"}[outcome.status])
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *(f"* {letter}: {message}" for message, letter in letters.items())])


def _letter(number: int) -> str:
    """A to z, then aa, bb, and so on."""
    return chr(ord("a") + number % 26) * (number // 26 + 1)


def counts(reports: Mapping[str, Report]) -> str:
    """How many cells there are, and how many of them passed, do not apply, and failed."""
    statuses = [outcome.status for report in reports.values() for outcome in report.outcomes]
    return (
        f"{len(CHECKS)} checks × {len(reports)} methods: {statuses.count(PASSES)} pass, {statuses.count(EXEMPT)} do not apply, "
        f"{statuses.count(FAILS)} fail."
    )


def main() -> int:
    """Run all, print the page, and return how many methods failed a check."""
    parser = argparse.ArgumentParser(prog="captum_pairwise.testing", description="Run the battery over every public method.")
    parser.add_argument("--thorough", action="store_true", help="let every forward pass fail in turn, and the like: for a nightly run")
    options = parser.parse_args()
    reports = {cls.__name__: check_own(cls, thorough=options.thorough) for cls in tqdm(list(own_classes()), desc="methods")}
    print(legend(), matrix(reports), "", counts(reports), sep="\n")
    return sum(bool(report.failures) for report in reports.values())


if __name__ == "__main__":
    sys.exit(main())
