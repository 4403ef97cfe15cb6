"""Names and titles as a figure shows them: as text, whatever is in them."""


def plain(text: str) -> str:
    r"""The text without formulas, which matplotlib would read between dollars, and with a beginning that a legend does not leave out.

    >>> plain("$5 and $6"), plain("_net")
    ('\\$5 and \\$6', ' _net')
    """
    return (" " if text.startswith("_") else "") + text.replace("$", r"\$")
