"""`captum-pairwise methods`: the table of methods."""

import argparse

from captum_pairwise.testing.method_table import HEADER, METHODS

N_COLUMNS = 5  # the others, as the sums and the network passes, are in tutorials/guide/methods.md


def add_methods_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = (
        "List all methods: the class, if it credits parts (order 1) or pairs of parts (order 2), its players and its needs."
    )
    parser.set_defaults(run=print_methods)


def print_methods(_: argparse.Namespace) -> int:
    """Print a line for each method; returns the exit status."""
    rows = [cells[:N_COLUMNS] for cells in (HEADER, *(method.cells for method in METHODS))]
    rows = [[cell.replace("`", "") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print('\nEach class explains its arguments: python -c "import captum_pairwise as cp; help(cp.LayerSAM.attribute)"')
    return 0
