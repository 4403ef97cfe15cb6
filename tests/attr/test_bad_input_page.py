"""The page of error messages equals the raised messages: `python tests/test_bad_input_page.py > tutorials/trust/bad_input.md` writes it."""

import re
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import test_bad_files
import test_bad_input
import test_metrics_bad_input
import test_viewer

from captum_pairwise.evaluation.escaping import escape_markdown

PAGE = Path(__file__).parents[2] / "tutorials" / "trust" / "bad_input.md"
FILES = "Files"
HEAD = """# What bad input gets

A `ValueError` at the door, in a sentence that says what was expected, what came, and what to do: {n_cases} cases and what the user reads.
`python tests/test_bad_input_page.py` prints this page, and the tests compare it with what is raised. A bad `target` alone is an
`AssertionError`, as it is in Captum, and a file that is not there a `FileNotFoundError`, as it is in Python.
"""


def tables(folder: Path) -> dict[str, dict[str, Callable[[], object]]]:
    """All cases, as the functions that are refused."""
    return {
        "Images, players, budgets, models and layers": {name: call for name, (call, _) in test_bad_input.CASES.items()},
        "Metrics": {name: call for name, (call, _) in test_metrics_bad_input.CASES.items()},
        "The viewer": {name: call for name, (call, _) in test_viewer.WRONG.items()},
        FILES: {name: partial(test_bad_files.attempt, name, folder) for name in test_bad_files.CASES},
    }


def row(name: str, call: Callable[[], object], folder: Path) -> str:
    """A case and its sentence, without what is of this machine alone."""
    try:
        call()
    except ValueError as refused:
        sentence = re.sub(r"there are \d+ GiB", "there are 24 GiB", str(refused).replace(f"{folder}/", "").replace(f"{name}/", ""))
        return f"| {escape_markdown(name)} | {escape_markdown(sentence)} |"
    raise AssertionError(f"Expected {name} to be refused.")


def page(folder: Path) -> Iterator[str]:
    """Line by line."""
    found = tables(folder)
    yield from HEAD.format(n_cases=sum(map(len, found.values()))).split("\n")
    for title, calls in found.items():
        yield from (f"## {title}", "", "| what came | what it says |", "| --- | --- |")
        yield from (row(name, call, folder) for name, call in calls.items())
        yield ""


@pytest.mark.filterwarnings("ignore:Image size")
def test_the_page_lists_the_messages_that_are_raised(tmp_path, without_type_checks):
    found, expected = list(page(tmp_path)), PAGE.read_text().split("\n")
    of_files = expected.index(f"## {FILES}")
    assert found[:of_files] == expected[:of_files], "run `python tests/test_bad_input_page.py > tutorials/trust/bad_input.md`"
    for name, *_, sentence in ((name, *case) for name, case in test_bad_files.CASES.items()):
        (line,) = (line for line in expected[of_files:] if line.startswith(f"| {escape_markdown(name)} |"))
        assert re.search(sentence, re.sub(r"\\(.)", r"\1", line)), line  # the words of torch and Pillow in it change


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        print("\n".join(page(Path(folder))), end="")
