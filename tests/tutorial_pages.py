"""The pages of the tutorials, each run once for all tests that look at it."""

import runpy
from functools import cache
from pathlib import Path
from typing import Any

TUTORIALS = Path(__file__).parent.parent / "tutorials"
PAGES = sorted(TUTORIALS.glob("0*.py"))


@cache
def run_page(name: str) -> dict[str, Any]:
    """All that a page has defined at its end, by name."""
    return runpy.run_path(str(TUTORIALS / f"{name}.py"))
