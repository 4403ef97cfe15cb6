"""What one thread puts around a module, other threads that use the same module do not feel."""

from collections.abc import Callable
from threading import RLock, get_ident

from torch import nn

TRACING = RLock()  # `torch.fx` replaces methods of `nn.Module` itself while it traces: two threads must not do so at once


def make_thread_filter() -> Callable[[nn.Module | None], bool]:
    """A function that tells whether it is called from this thread, or on behalf of it by a replica of `DataParallel`."""
    owner = get_ident()
    return lambda module: get_ident() == owner or getattr(module, "_is_replica", False)


def this_thread_only(hook: Callable[..., object]) -> Callable[..., object]:
    """The hook, for the calls that come from this thread."""
    is_ours = make_thread_filter()
    return lambda module, *arguments: hook(module, *arguments) if is_ours(module) else None
