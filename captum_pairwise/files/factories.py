"""Objects of the user's own code, named on a command line."""

from importlib import import_module
from typing import Any


def call_factory(source: str) -> Any:
    """The object that `module:function` returns; the module is imported, and the function is called without arguments.

    Raises:
        ValueError: there is no such module or function.
    """
    module, _, function = source.partition(":")
    try:
        make = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:  # ValueError: an empty name
        raise ValueError(f"Expected module:function that can be imported, got {source!r}: {error}. Check the name.") from error
    if not callable(make):
        raise ValueError(f"Expected {source} to be a function, got {type(make).__name__}. Write a function that returns it.")
    return make()
