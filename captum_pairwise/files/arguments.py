"""Types of command-line arguments."""

from argparse import ArgumentTypeError


def parse_positive(text: str) -> int:
    """An integer of the command line, at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"Expected a whole number above 0, got {text}.")
    return int(text)
