"""Names and sentences as cells of tables show them: as text, whatever is in them."""

MARKDOWN = r"\`*_{}[]<>|~&$"
TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"\textbar{}"}
TEX |= {"<": r"\textless{}", ">": r"\textgreater{}"} | {sign: f"\\{sign}" for sign in "&%$#_{}"}


def in_markdown(text: str) -> str:
    r"""A cell of a Markdown table.

    >>> print(in_markdown("a|b <i>"))
    a\|b \<i\>
    """
    return "".join(f"\\{sign}" if sign in MARKDOWN else sign for sign in one_line(text))


def in_latex(text: str) -> str:
    r"""A cell of a LaTeX table.

    >>> print(in_latex("a_b & 5 %"))
    a\_b \& 5 \%
    """
    return "".join(TEX.get(sign, sign) for sign in one_line(text))


def one_line(text: str) -> str:
    """Without line breaks, and without what steers a terminal or turns the direction of a text."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in " ".join(text.split()))
