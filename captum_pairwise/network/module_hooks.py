"""Hooks on the modules of a network: which package they belong to, and how to run the modules without some of them."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn

HOOKS = [name for name in vars(nn.Module()) if "hooks" in name]  # the dictionaries of hooks that every module has


def list_hook_ids(network: nn.Module) -> set[int]:
    """The ids of the hooks of all modules."""
    return {handle for module in network.modules() for name in HOOKS for handle in vars(module)[name] or {}}


def has_captum_hooks(network: nn.Module) -> bool:
    """True if a class of Captum runs now that reads the modules of the network."""
    return any(is_captum_hook(hook) for module in network.modules() for name in HOOKS for hook in (vars(module)[name] or {}).values())


def is_captum_hook(hook: object) -> bool:
    """True for a hook of Captum."""
    return _get_package(hook) == "captum"


def is_temporary_hook(hook: object) -> bool:
    """True for a hook of Captum or of this package, which records or replaces outputs for the time of a call."""
    return _get_package(hook) in ("captum", "captum_pairwise")


def _get_package(hook: object) -> str:
    function = getattr(hook, "func", hook)  # of a partial
    return str(getattr(function, "__module__", "")).split(".")[0]


@contextmanager
def pause_hooks(network: nn.Module, is_paused: Callable[[int, object], bool]) -> Iterator[None]:
    """Run the modules without the hooks for which `is_paused(id, hook)` is true."""
    hooks = [(vars(module), name, vars(module)[name]) for module in network.modules() for name in HOOKS if vars(module)[name]]
    try:
        for fields, name, former in hooks:
            fields[name] = OrderedDict((handle, hook) for handle, hook in former.items() if not is_paused(handle, hook))
        yield
    finally:
        for fields, name, former in hooks:
            fields[name] = former
