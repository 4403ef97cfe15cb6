"""Interactive page: point at a part of one image, and see its matches in the other image."""

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any, final

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template

from captum_pairwise.files.atomic import write_atomically
from captum_pairwise.results.interactions import Interactions
from captum_pairwise.results.verdict import SENTENCES, Trust, Verdict
from captum_pairwise.visualization.headline import TRUST_COLOURS, ask_question
from captum_pairwise.visualization.page_data import build_page_data, merge_sides
from captum_pairwise.visualization.sheets import Side

PAGE = "page"  # the folder beside this file
SCRIPTS = ("numbers.js", "elements.js", "parts.js", "panels.js", "state.js", "drawing.js", "events.js")  # each needs the scripts before it
FRAME_HEIGHT = 900  # pixels in a notebook, until the script of the page sets it


@final
@dataclass(frozen=True, repr=False)
class Viewer:
    """Page for a browser. It loads no other file: photos, numbers, style and scripts are part of it.

    Attributes:
        html: the whole page.

    >>> Viewer("<!doctype html>" + 2_000_000 * "a")
    Viewer(2.00 MB of HTML; `.save(path)` writes it to a file)

    See also `viewer` and `cp.visualization.ranking_viewer`, which make one.
    """

    html: str

    def save(self, path: str | Path) -> Path:
        """Write the page to a file and return its path. If writing fails, an older file stays as it is."""
        file = Path(path)
        with write_atomically(file) as draft:
            draft.write_text(self.html, encoding="utf-8")
        return file

    def _repr_html_(self) -> str:
        """The page in its own frame, so that several pages in one notebook are independent.

        Letters beyond ASCII are character references: the digests of the scripts fit also in a notebook with another encoding.
        """
        style = f"width: 100%; height: {FRAME_HEIGHT}px; border: 0"
        page = escape(self.html).encode("ascii", "xmlcharrefreplace").decode("ascii")
        return f'<iframe srcdoc="{page}" title="captum_pairwise viewer" style="{style}"></iframe>'

    def __repr__(self) -> str:
        return f"Viewer({len(self.html) / 1e6:.2f} MB of HTML; `.save(path)` writes it to a file)"


Result = Interactions | tuple[Interactions, Interactions]  # of pairs of parts, or a first-order result for each image


def viewer(
    interactions: Result | Mapping[str, Result],
    images: tuple[Side, Side],
    example: int = 0,
    title: str = "",
    *,
    verdict: Verdict | None = None,
    choices: str = "",
) -> Viewer:
    """Page that shows the map of each image, and for a part of either image, its matches in the other image.

    A map holds what each part adds while the other image is whole. If the verdict says that the two are not similar, the page opens with
    the parts that lower the similarity. Both images share one colour scale. Its ends are the largest absolute value of all parts, or of all
    pairs of parts. Photos are reduced to at most 1024 pixels a side, masks to 512. A pair of parts takes 5.3 bytes, and its standard error
    as much again: 98 parts on each side make a page of less than 1 MB, 392 parts of up to 6 MB.

    >>> import torch
    >>> from captum_pairwise.players.regions import cells
    >>> parts = cells(torch.zeros(1, 1, 2, 2), channel_axis=1)
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
        interactions: the result of a method's `interactions(...)`, or the results of several methods for the same pairs, by name. Methods
            may have different parts. Results without `between`, as of first-order methods, show the maps only; results without maps
            (`given_other`) show pairs only.
        images: query and retrieved photos, RGB `[B, 3, H, W]` or grey `[B, 1, H, W]` in [0, 1], or one photo for all pairs. They may be
            larger than the network's inputs, if they show the same content. Either side may also be the tokens of one sentence, a list of
            strings, or another input: `cp.Picture`, `cp.Volume`, `cp.Video`, `cp.Spectrogram` or `cp.Signal`.
        example: the number of the pair in the batch.
        title: the title of the page; "" for the verdict's question.
        verdict: words above the images. Its warnings are a banner. A click on its trust shows the numbers behind it. If the numbers are
            not to be read, the maps are grey.
        choices: one line in small print: which layer, players, method and budget the explanation uses.

    Raises:
        ValueError: the arguments do not fit together, the places of the players are unknown, or numbers are not finite.

    See also `cp.visualization.pair_figure`, and `explain`, whose result shows the same page.
    """
    methods = {"": interactions} if isinstance(interactions, (Interactions, tuple)) else interactions
    if not isinstance(images, tuple) or len(images) != 2:
        raise ValueError(f"Expected images to be a pair (query, retrieved), got {type(images).__name__}. Give both in a tuple.")
    if not isinstance(methods, Mapping):
        raise ValueError(f"Expected Interactions or a mapping from names to them, got {type(interactions).__name__}. Explain a pair first.")
    data = build_page_data({name: merge_sides(result) for name, result in methods.items()}, images, example, verdict)
    query, retrieved = (side["noun"] for side in data["sides"])
    words = describe_verdict(verdict, ask_question((query, retrieved))) | {"choices": choices}
    return Viewer(load_template("viewer.html", SCRIPTS).render(data=data, **words | ({"title": title} if title else {})))


def describe_verdict(verdict: Verdict | None, question: str) -> dict[str, Any]:
    """The words at the top of a page, for its template. Without a verdict: the question, and a name for the numbers."""
    if verdict is None:
        no_words = Verdict(question, (), Trust("", ()))
        return {"verdict": no_words, "title": question, "trust": "The numbers", "trust_class": ""}
    label = verdict.trust.label
    trust_class = label if label in TRUST_COLOURS else "unreadable"
    return {"verdict": verdict, "title": verdict.question, "trust": SENTENCES[label], "trust_class": trust_class}


@cache
def load_template(page: str, script_names: tuple[str, ...], style_names: tuple[str, ...] = ("viewer.css",)) -> Template:
    """Template of a page with its style, scripts and their digests. The page's content security policy allows only these."""
    style, scripts = "\n".join(map(_read_asset, style_names)), [_read_asset(name) for name in script_names]
    digests = {"style_digest": _hash(style), "script_digests": " ".join(map(_hash, scripts))}
    environment = Environment(loader=FunctionLoader(_read_asset), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.get_template(page, globals={"style": style, "scripts": scripts, **digests})


def _read_asset(name: str) -> str:
    return (resources.files("captum_pairwise.visualization") / PAGE / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
