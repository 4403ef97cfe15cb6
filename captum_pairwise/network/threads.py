"""The number of threads of PyTorch."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, local

import torch

_LOCK, _HERE = Lock(), local()
_BEFORE: list[int] = []  # an entry for each block that runs now, in any thread: the number of threads before the first of them


@contextmanager
def use_one_thread() -> Iterator[None]:
    """Run PyTorch with one thread: the last digits of a sum change with their number, and small matrices are slower with more.

    Each thread of Python has a number of its own, but a new one starts with the last number that was set in any of them.

    Yields:
        nothing.
    """
    depth = getattr(_HERE, "depth", 0)
    with _LOCK:
        _BEFORE.append(_BEFORE[0] if _BEFORE else torch.get_num_threads())
        before = 1 if depth else _BEFORE[0]
    torch.set_num_threads(1)
    _HERE.depth = depth + 1
    try:
        yield
    finally:
        _HERE.depth = depth
        with _LOCK:
            _BEFORE.pop()
        torch.set_num_threads(before)
