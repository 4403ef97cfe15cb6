"""The page of error messages lists the messages that are raised."""

import re

import pytest
import test_bad_files
from bad_input_page import FILES, PAGE, format_page

from captum_pairwise.evaluation.escaping import escape_markdown


@pytest.mark.filterwarnings("ignore:Image size")
def test_the_page_lists_the_messages_that_are_raised(tmp_path, without_type_checks):
    lines, expected = list(format_page(tmp_path)), PAGE.read_text().split("\n")
    files_start = expected.index(f"## {FILES}")
    assert lines[:files_start] == expected[:files_start], "run `python tests/bad_input_page.py > tutorials/trust/bad_input.md`"
    for name, *_, message in ((name, *case) for name, case in test_bad_files.CASES.items()):
        (line,) = (line for line in expected[files_start:] if line.startswith(f"| {escape_markdown(name)} |"))
        assert re.search(message, re.sub(r"\\(.)", r"\1", line)), line  # the messages of torch and Pillow in it change
