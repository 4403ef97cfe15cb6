"""The state of a network that may change what it computes, apart from its weights."""

from collections.abc import Callable

from torch import nn

SIMPLE = (bool, int, float, str, type(None))


def describe_state(network: nn.Module, is_temporary: Callable[[object], bool] = lambda _: False) -> int:
    """A number that changes with the modules, their modes and other simple attributes, their hooks and replaced forwards.

    Args:
        network: a module.
        is_temporary: True for hooks that do not count.
    """
    return hash(tuple(_describe_module(module, is_temporary) for module in network.modules()))


def _describe_module(module: nn.Module, is_temporary: Callable[[object], bool]) -> tuple[object, ...]:
    fields = vars(module).copy()  # in one step: another thread may change them during the loop
    settings = tuple((name, value) for name, value in fields.items() if type(value) in SIMPLE)
    hooks = [*fields["_forward_hooks"].items(), *fields["_forward_pre_hooks"].items()]
    return id(module), type(module), "forward" in fields, settings, *(handle for handle, hook in hooks if not is_temporary(hook))
