"""Counts: arguments of commands and of methods."""

from argparse import ArgumentTypeError
from operator import index
from typing import Any

import numpy as np


def parse_positive(text: str) -> int:
    """An integer of the command line, at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"Expected a whole number above 0, got {text}.")
    return int(text)


def check_count(value: Any, name: str, least: int | None = None) -> int:
    """A count that a caller passed, as an int; integers of NumPy and PyTorch count as such, booleans do not.

    Raises:
        ValueError: it is no whole number, or below `least`; the message has its `name`.

    >>> check_count(5, "n_steps", least=1)
    5
    """
    try:
        count = None if isinstance(value, (bool, np.bool_)) else index(value)  # NumPy 1 takes its booleans for integers
    except TypeError:
        count = None
    if count is None or (least is not None and count < least):
        limit = "" if least is None else f" of at least {least}"
        raise ValueError(f"Expected {name} to be a whole number{limit}, got {value!r}. Pass an int.")
    return count
