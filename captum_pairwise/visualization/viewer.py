"""A page that a reader explores: move over a part of one image, and see on the other what it corresponds to."""

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib import resources
from pathlib import Path
from typing import final

from jinja2 import DictLoader, Environment, StrictUndefined, Template

from captum_pairwise.files.atomic import write_atomically
from captum_pairwise.results.interactions import Interactions
from captum_pairwise.visualization.page_data import Side, of_both, page_data

PAGE = "page"  # the folder beside this file
SCRIPTS = ("numbers.js", "parts.js", "panels.js", "state.js", "drawing.js", "events.js")  # in the order that they need each other
FRAME_HEIGHT = 900  # pixels in a notebook, until the page has said how tall it is


@final
@dataclass(frozen=True, repr=False)
class Viewer:
    """A page for a browser, which loads nothing: photos, numbers, style and script are all in it.

    Attributes:
        html: the whole page.
    """

    html: str

    def save(self, path: str | Path) -> Path:
        """Write the page to a file, which is whole or not there, and return its path."""
        file = Path(path)
        with write_atomically(file) as draft:
            draft.write_text(self.html, encoding="utf-8")
        return file

    def _repr_html_(self) -> str:
        """The page in a frame of its own, so that several in one notebook do not know each other."""
        return (
            f'<iframe srcdoc="{escape(self.html)}" title="captum_pairwise viewer" '
            f'style="width: 100%; height: {FRAME_HEIGHT}px; border: 0"></iframe>'
        )

    def __repr__(self) -> str:
        return f"Viewer({len(self.html) / 1e6:.2f} MB of HTML; `.save(path)` writes it to a file)"


Found = Interactions | tuple[Interactions, Interactions]  # of pairs of parts, or by a first-order method of each image alone


def viewer(interactions: Found | Mapping[str, Found], images: tuple[Side, Side], example: int = 0, title: str = "") -> Viewer:
    """Make a page on which a part of either image shows what it corresponds to on the other.

    One scale holds for all that is on the page at a time: the full colour is the largest credit of either sign, of any part of both
    images, or of any pair of parts. Photos are shown with at most 1024 pixels a side, masks with 512. A pair of parts takes 5.3 bytes,
    and as much again for its standard error: 98 parts on each side make a page of less than 1 MB, 392 of up to 6.

    >>> import torch
    >>> from captum_pairwise.players.regions import cells
    >>> parts = cells(torch.zeros(1, 1, 2, 2))
    >>> same = Interactions(
    ...     n_query=4,
    ...     empty=torch.zeros(1),
    ...     full=torch.ones(1),
    ...     n_evaluations=torch.ones(1).long(),
    ...     between=torch.eye(4)[None] / 4,
    ...     query_players=parts,
    ...     retrieved_players=parts,
    ... )
    >>> page = viewer(same, (torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8)), title="Four matches")
    >>> "://" in page.html, "<title>Four matches</title>" in page.html
    (False, True)

    Args:
        interactions: what a method's `interactions(...)` returns, or several of the same pairs by name; parts may differ from method to
            method. Without `between`, as of first-order methods, only the credit of each part is shown, without `marginal` only pairs.
        images: query and retrieved photos, RGB `[B, 3, H, W]` in [0, 1]; in place of either the tokens of one sentence, strings. The
            photos may be larger than what the network saw, if they show the same.
        example: which pair of the batch.
        title: the page's.

    Raises:
        ValueError: something does not fit together, the players have no place, or numbers are not finite.
    """
    methods = {"": interactions} if isinstance(interactions, (Interactions, tuple)) else interactions
    if not isinstance(images, tuple) or len(images) != 2:
        raise ValueError(f"Expected images to be a pair (query, retrieved), got {type(images).__name__}. Give both in a tuple.")
    if not isinstance(methods, Mapping):
        raise ValueError(
            f"Expected Interactions, or a mapping from names to them, got {type(interactions).__name__}. Call a method's "
            "`.interactions(...)`."
        )
    return Viewer(
        _template().render(
            data=page_data({name: of_both(found) for name, found in methods.items()}, images, example), title=title, **_page()
        )
    )


@cache
def _template() -> Template:
    texts = DictLoader({"viewer.html": _file("viewer.html")})
    return Environment(loader=texts, autoescape=True, undefined=StrictUndefined, trim_blocks=True).get_template("viewer.html")


@cache
def _page() -> dict[str, object]:
    """Style and scripts, with the digests by which the page allows these and no others."""
    style, scripts = _file("viewer.css"), [_file(name) for name in SCRIPTS]
    return {
        "style": style,
        "scripts": scripts,
        "style_digest": _digest(style),
        "script_digests": " ".join(map(_digest, scripts)),
    }


def _file(name: str) -> str:
    return (resources.files("captum_pairwise.visualization") / PAGE / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
