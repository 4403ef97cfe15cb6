"""The state of a network, apart from its weights, that may change its results."""

from torch import nn

from captum_pairwise.network.module_hooks import is_temporary_hook

SIMPLE = (bool, int, float, str, type(None))


def describe_state(network: nn.Module) -> int:
    """A number that changes with the modules, their modes and other simple attributes, their hooks and replaced forwards.

    Hooks that last for one call do not count.
    """
    return hash(tuple(map(_describe_module, network.modules())))


def _describe_module(module: nn.Module) -> tuple[object, ...]:
    fields = vars(module).copy()  # in one step: another thread may change them during the loop
    settings = tuple((name, value) for name, value in fields.items() if type(value) in SIMPLE)
    hooks = [*fields["_forward_hooks"].items(), *fields["_forward_pre_hooks"].items()]
    return id(module), type(module), "forward" in fields, settings, *(handle for handle, hook in hooks if not is_temporary_hook(hook))
