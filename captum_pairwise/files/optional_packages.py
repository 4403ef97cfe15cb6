"""Imports of packages that only some functions need."""

from importlib import import_module
from typing import Any


def import_optional(package: str, purpose: str, extra: str) -> Any:
    """The module of an optional package.

    Args:
        package: its name.
        purpose: the part of this package that needs it, for the message.
        extra: the extra of this package that installs it.

    Raises:
        ImportError: it is not installed.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise ImportError(f"Expected the package {package} for {purpose}, got none. Run pip install 'captum-pairwise[{extra}]'.") from error
