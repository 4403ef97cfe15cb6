"""Autocast for the network, as the caller has it, and none for sums of differences of what the network returns."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def _devices() -> list[str]:
    return ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@contextmanager
def disable_autocast() -> Iterator[None]:
    """Let arithmetic keep the precision of its numbers.

    >>> with torch.autocast("cpu", torch.bfloat16), disable_autocast():
    ...     (torch.ones(1, 1) @ torch.ones(1, 1)).dtype
    torch.float32
    """
    with ExitStack() as stack:
        for device in _devices():
            stack.enter_context(torch.autocast(device, enabled=False))
        yield


def bind_autocast(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """The function as it would run here and now, in the autocast of this place, wherever it is called.

    >>> with torch.autocast("cpu", torch.bfloat16):
    ...     product = bind_autocast(torch.matmul)
    >>> product(torch.ones(1, 1), torch.ones(1, 1)).dtype
    torch.bfloat16
    """
    states = [(device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device)) for device in _devices()]

    @wraps(function)
    def call(*arguments: Arguments.args, **more: Arguments.kwargs) -> Result:
        with ExitStack() as stack:
            for device, dtype, enabled in states:
                stack.enter_context(torch.autocast(device, dtype, enabled))
            return function(*arguments, **more)

    return call
