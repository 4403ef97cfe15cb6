"""The page of the battery, with a matrix of methods and checks, in Markdown: `python tests/battery_page.py` prints it."""

import argparse
import inspect
import sys
from collections.abc import Mapping

from own_methods import check_own_class, list_own_classes
from tqdm import tqdm

from captum_pairwise.testing.battery import CHECKS, EXEMPT, FAILS, PASSES, Report

HEAD = """# The battery

Every public attribution class passes every check of `captum_pairwise.testing`, or the check does not apply to it. `python
tests/battery_page.py` runs the checks and prints this page. The tests compare each row with a new run. How to run the battery on a
method of your own: `help(captum_pairwise.testing)`.
"""


def format_legend() -> str:
    """The head of the page, and the first line of each check's docstring."""
    docs = {name: inspect.getdoc(check) or "" for name, check in CHECKS.items()}
    return "\n".join([HEAD, *(f"{number}. **{name}**: {doc.splitlines()[0]}" for number, (name, doc) in enumerate(docs.items(), 1)), ""])


def format_matrix(reports: Mapping[str, Report]) -> str:
    """A row for each method and a column for each check; letters refer to the reasons below the table."""
    messages = dict.fromkeys(outcome.message for report in reports.values() for outcome in report.outcomes if outcome.message)
    letters = {message: chr(ord("a") + k % 26) * (k // 26 + 1) for k, message in enumerate(messages)}  # a to z, then aa, bb, and so on
    lines = [f"| method | {' | '.join(str(number + 1) for number in range(len(CHECKS)))} |", "| --- " * (len(CHECKS) + 1) + "|"]
    for name, report in reports.items():
        pairs = ((outcome.status, letters.get(outcome.message)) for outcome in report.outcomes)
        cells = [{PASSES: "✓", EXEMPT: str(letter), FAILS: f"**fails {letter}**"}[status] for status, letter in pairs]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *(f"* {letter}: {message}" for message, letter in letters.items())])


def format_counts(reports: Mapping[str, Report]) -> str:
    """The number of cells, and of cells that pass, do not apply, and fail."""
    statuses = [outcome.status for report in reports.values() for outcome in report.outcomes]
    return (
        f"{len(CHECKS)} checks × {len(reports)} methods: {statuses.count(PASSES)} pass, {statuses.count(EXEMPT)} do not apply, "
        f"{statuses.count(FAILS)} fail."
    )


def print_page() -> int:
    """Check all methods, print the page, and return the number of methods that fail a check."""
    parser = argparse.ArgumentParser(description="Run the battery on every public method.")
    parser.add_argument("--thorough", action="store_true", help="let every forward pass fail in turn, for a nightly run")
    options = parser.parse_args()
    classes = tqdm(list_own_classes(), desc="methods")
    reports = {cls.__name__: check_own_class(cls, thorough=options.thorough) for cls in classes}
    print(format_legend(), format_matrix(reports), "", format_counts(reports), sep="\n")
    return sum(bool(report.failures) for report in reports.values())


if __name__ == "__main__":
    sys.exit(print_page())
