"""The page *Your model in five lines*, run block by block: `python tests/your_model_page.py` prints a table of its families."""

import ast
import os
import re
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import conftest
import five_line_models
import torch

PAGE = conftest.REPOSITORY / "tutorials" / "your_model_in_five_lines.md"
MOST_LINES = 5


class Block(NamedTuple):
    """A block of code: its title, the part that makes the model, and the part that explains."""

    title: str
    setup: str
    code: str

    @property
    def n_lines(self) -> int:
        """The lines of the second part."""
        return len(self.code.strip().splitlines())


def read_blocks() -> list[Block]:
    """All blocks of the page."""
    found = re.findall(r"^### (.*?)\n(?:(?!^###).)*?^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    parts = ((title, *code.rpartition("\n\n")[::2]) for title, code in found)
    return [Block(*part) for part in parts]


def run_block(block: Block) -> dict[str, Any]:
    """The names after a block, in the current folder."""
    family = five_line_models.FAMILIES[block.title]
    names = family.make()
    imports = [step for step in ast.parse(block.setup).body if isinstance(step, (ast.Import, ast.ImportFrom))]
    exec(block.setup if family.runs_setup else ast.unparse(ast.Module(imports, [])), names)
    exec(block.code, names)
    return names


def list_assigned(block: Block) -> set[str]:
    """The names that the first part of a block makes, apart from imports."""
    steps = ast.walk(ast.parse(block.setup))
    return {step.id for step in steps if isinstance(step, ast.Name) and isinstance(step.ctx, ast.Store)}


def measure_gap(names: dict[str, Any]) -> float:
    """The largest gap of the maps of the explanations of a block: the gain of an image minus the sum of its map."""
    if "interactions" in names:
        return names["interactions"].completeness_gap.abs().max().item()
    shown = names["ranking"].explanations if "ranking" in names else [names["why"]]
    return max(torch.cat(why.interactions.map_gaps).abs().max().item() for why in shown)


def format_page() -> Iterator[str]:
    """Yield the table line by line."""
    yield from ("| model | lines | first time | completeness gap | against brute force |", "| --- | --- | --- | --- | --- |")
    for block in read_blocks():
        try:
            names = run_block(block)
            pairs, expected = five_line_models.FAMILIES[block.title].compare(names)
            error = (pairs.double() - expected.double()).abs().max().item()
            yield f"| {block.title} | {block.n_lines} | yes | {measure_gap(names):.0e} | {error:.0e} |"
        except Exception as failure:  # a block that fails is a row of the table
            yield f"| {block.title} | {block.n_lines} | no: {type(failure).__name__}: {str(failure).splitlines()[0][:200]} | | |"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        five_line_models.write_photos(Path(folder))
        for row in format_page():
            print(row, flush=True)
