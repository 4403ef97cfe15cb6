"""Captum's logger of calls, as decorators that keep the type of a method."""

from collections.abc import Callable
from typing import Any, TypeVar

from captum_pairwise._compat import log_usage

Method = TypeVar("Method", bound=Callable[..., Any])


def log_method(method: Method) -> Method:
    """A method whose calls Captum's logger sees, with its type, which Captum's own decorator hides."""
    logged: Any = log_usage()(method)
    return logged


def log_overloaded(method: Callable[..., Any]) -> Callable[..., Any]:
    """The implementation of an overloaded method whose calls Captum's logger sees; its overloads give the type."""
    return log_usage()(method)
