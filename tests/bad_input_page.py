"""The page of error messages, in Markdown: `python tests/bad_input_page.py > tutorials/trust/bad_input.md` writes it."""

import re
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import conftest
import test_bad_files
import test_bad_input
import test_metrics_bad_input
import test_viewer

from captum_pairwise.evaluation.escaping import escape_markdown

PAGE = conftest.REPOSITORY / "tutorials" / "trust" / "bad_input.md"
FILES = "Files"
HEAD = """# What bad input gets

Bad input raises a `ValueError` that says what was expected, what came, and what to do: {n_cases} cases and their messages. `python
tests/bad_input_page.py` prints this page, and the tests compare it with the messages that are raised. Two errors have other types: a bad
`target` raises an `AssertionError`, as in Captum. A missing list, or a missing file of weights or results, raises a
`FileNotFoundError`, as in Python.
"""


def list_tables(folder: Path) -> dict[str, dict[str, Callable[[], object]]]:
    """Each table of the page, as calls by the names of the cases."""
    return {
        "Images, players, budgets, models and layers": {name: call for name, (call, _) in test_bad_input.CASES.items()},
        "Metrics": {name: call for name, (call, _) in test_metrics_bad_input.CASES.items()},
        "The viewer": {name: call for name, (call, _) in test_viewer.WRONG.items()},
        FILES: {name: partial(test_bad_files.attempt, name, folder) for name in test_bad_files.CASES},
    }


def format_row(name: str, call: Callable[[], object], folder: Path) -> str:
    """A case and its message, without the paths and the memory of this machine."""
    try:
        call()
    except ValueError as error:
        message = re.sub(r"there are \d+ GiB", "there are 24 GiB", str(error).replace(f"{folder}/", "").replace(f"{name}/", ""))
        return f"| {escape_markdown(name)} | {escape_markdown(message)} |"
    raise AssertionError(f"{name} raised no ValueError")


def format_page(folder: Path) -> Iterator[str]:
    """Yield the page line by line."""
    tables = list_tables(folder)
    yield from HEAD.format(n_cases=sum(map(len, tables.values()))).split("\n")
    for title, calls in tables.items():
        yield from (f"## {title}", "", "| input | message |", "| --- | --- |")
        yield from (format_row(name, call, folder) for name, call in calls.items())
        yield ""


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        print("\n".join(format_page(Path(folder))), end="")
