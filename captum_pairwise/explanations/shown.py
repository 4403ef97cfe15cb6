"""Answers with a picture and a page, which are saved by the ending of a name."""

import abc
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from captum_pairwise.visualization.viewer import Viewer

PICTURES = (".png", ".pdf", ".svg", ".jpg")
RESOLUTION = 110  # pixels an inch of a saved picture
FAST_PNG = {"compress_level": 3}  # of Pillow: a third of the time, and files that are a tenth larger


class Shown(abc.ABC):
    """An answer that has a picture and a page. A notebook shows the page."""

    @abc.abstractmethod
    def figure(self) -> Figure:
        """The picture."""

    @abc.abstractmethod
    def page(self) -> Viewer:
        """The page on which parts can be clicked."""

    def save(self, path: str | Path) -> Path:
        """Write the page to a file `.html`, or the picture to `.png`, `.pdf`, `.svg` or `.jpg`.

        Raises:
            ValueError: the name has another ending.
        """
        file = Path(path)
        ending = file.suffix.lower()
        if ending == ".html":
            return self.page().save(file)
        if ending not in PICTURES:
            raise ValueError(f"Expected a name that ends in .html, {', '.join(PICTURES)}, got {file.name!r}. Choose one of these.")
        settings: dict[str, Any] = {"pil_kwargs": FAST_PNG} if ending == ".png" else {}
        self.figure().savefig(file, dpi=RESOLUTION, **settings)
        return file

    def _repr_html_(self) -> str:
        return self.page()._repr_html_()
