"""Text for cells of Markdown and LaTeX tables: every character is shown as it is."""

from collections.abc import Iterable, Sequence

MARKDOWN = str.maketrans({sign: f"\\{sign}" for sign in r"\`*_{}[]<>|~&$"})
LATEX_NAMES = {"\\": "backslash", "~": "asciitilde", "^": "asciicircum", "|": "bar", "<": "less", ">": "greater"}
LATEX = str.maketrans(
    {sign: rf"\text{name}{{}}" for sign, name in LATEX_NAMES.items()} | {sign: f"\\{sign}" for sign in "&%$#_{}"} | {"²": "$^2$"}
)


def escape_markdown(text: str) -> str:
    r"""The text for a cell of a Markdown table.

    >>> print(escape_markdown("a|b <i>"))
    a\|b \<i\>
    """
    return join_lines(text).translate(MARKDOWN)


def escape_latex(text: str) -> str:
    r"""The text for a cell of a LaTeX table.

    >>> print(escape_latex("a_b & 5 %"))
    a\_b \& 5 \%
    """
    return join_lines(text).translate(LATEX)


def join_lines(text: str) -> str:
    """The text on one line, without characters that control a terminal or the direction of text."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in " ".join(text.split()))


def format_markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of cells that are escaped already."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows))
