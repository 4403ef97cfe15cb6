"""Objects of the user's own code, named on a command line."""

from collections.abc import Callable
from importlib import import_module
from typing import Any


def find_function(source: str) -> Callable[..., Any]:
    """The function `module:function`; the module is imported.

    Raises:
        ValueError: there is no such module or function.
    """
    module, _, function = source.partition(":")
    try:
        found = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:  # ValueError: an empty name
        raise ValueError(f"Expected module:function that can be imported, got {source!r}: {error}. Check the name.") from error
    if not callable(found):
        raise ValueError(f"Expected {source} to be a function, got {type(found).__name__}. Write a function that returns it.")
    return found


def call_factory(source: str) -> Any:
    """The object that `module:function` returns; the module is imported, and the function is called without arguments.

    Raises:
        ValueError: there is no such module or function.
    """
    return find_function(source)()
