"""Autocast: the caller's setting for the network, and none for our own sums of differences of its outputs."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def _list_devices() -> list[str]:
    return ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@contextmanager
def disable_autocast() -> Iterator[None]:
    """Compute in the dtype of the tensors, also inside a caller's autocast.

    >>> with torch.autocast("cpu", torch.bfloat16), disable_autocast():
    ...     (torch.ones(1, 1) @ torch.ones(1, 1)).dtype
    torch.float32
    """
    with ExitStack() as stack:
        for device in _list_devices():
            stack.enter_context(torch.autocast(device, enabled=False))
        yield


def bind_autocast(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """The function, bound to the autocast setting of this moment: it runs in that setting wherever it is called.

    >>> with torch.autocast("cpu", torch.bfloat16):
    ...     product = bind_autocast(torch.matmul)
    >>> product(torch.ones(1, 1), torch.ones(1, 1)).dtype
    torch.bfloat16
    """
    states = [(device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device)) for device in _list_devices()]

    @wraps(function)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with ExitStack() as stack:
            for device, dtype, enabled in states:
                stack.enter_context(torch.autocast(device, dtype, enabled))
            return function(*args, **kwargs)

    return call
