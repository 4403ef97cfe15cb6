"""Thread-local module hooks: other threads that use the same module do not run them."""

from collections.abc import Callable
from threading import RLock, get_ident

from torch import nn

TRACING = RLock()  # `torch.fx` replaces methods of `nn.Module` itself while it traces, so only one thread may trace at a time


def make_thread_filter() -> Callable[[nn.Module | None], bool]:
    """A function of a module: True if this thread calls it, or a replica of `DataParallel` does so for this thread."""
    owner = get_ident()
    return lambda module: get_ident() == owner or getattr(module, "_is_replica", False)


def this_thread_only(hook: Callable[..., object]) -> Callable[..., object]:
    """The hook, limited to calls from this thread."""
    is_ours = make_thread_filter()
    return lambda module, *arguments: hook(module, *arguments) if is_ours(module) else None
