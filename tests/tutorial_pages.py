"""The tutorial pages. Each page runs once, and all tests use the result."""

import runpy
from functools import cache
from pathlib import Path
from typing import Any

TUTORIALS = Path(__file__).parent.parent / "tutorials"
PAGES = sorted(TUTORIALS.glob("0*.py"))


@cache
def run_page(name: str) -> dict[str, Any]:
    """The variables of a page after its last cell, by name."""
    return runpy.run_path(str(TUTORIALS / f"{name}.py"))
