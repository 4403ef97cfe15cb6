"""Draw which folder imports which: `python tests/house_picture.py` writes `tutorials/house.png`, the picture of CONTRIBUTING.md."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from test_architecture import FOLDERS, MODULES, folder_of, imported_modules

PICTURE = Path(__file__).parents[1] / "tutorials" / "house.png"
ROOMS = [folder for folder in FOLDERS if not folder.startswith("_")]


def count_imports() -> np.ndarray:
    """Modules of each folder (rows) that import from each folder (columns)."""
    counts = np.zeros((len(ROOMS), len(ROOMS)), int)
    for name in MODULES:
        folder = folder_of(name)
        for other in set(map(folder_of, imported_modules(name))) - {folder}:
            if folder in ROOMS and other in ROOMS:
                counts[ROOMS.index(folder), ROOMS.index(other)] += 1
    return counts


def draw_house(counts: np.ndarray) -> Figure:
    """A matrix of folders; all dots lie below the diagonal, because a folder imports only from those above it."""
    figure = Figure(figsize=(7.5, 5.6), layout="constrained")
    axes = figure.subplots()
    rows, columns = counts.nonzero()
    axes.scatter(columns, rows, s=12 + 8 * counts[rows, columns], color="#2166ac")
    axes.plot([-0.5, len(ROOMS) - 0.5], [-0.5, len(ROOMS) - 0.5], color="0.8", zorder=0)
    axes.set(xticks=range(len(ROOMS)), yticks=range(len(ROOMS)), xlim=(-0.5, len(ROOMS) - 0.5), ylim=(len(ROOMS) - 0.5, -0.5))
    axes.set_xticklabels(ROOMS, rotation=60, ha="right", rotation_mode="anchor")
    axes.set_yticklabels(ROOMS)
    axes.set(xlabel="is imported", ylabel="imports", title="A dot: modules of the folder on the left import from the folder below")
    axes.grid(color="0.93")
    axes.set_axisbelow(True)
    return figure


if __name__ == "__main__":
    draw_house(count_imports()).savefig(PICTURE, dpi=110)
