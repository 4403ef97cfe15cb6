"""Functions and bound methods as encoders, and the modules that they run."""

import copy
import inspect
from collections.abc import Callable, Container
from functools import partial
from itertools import count
from types import FunctionType, MethodType, ModuleType
from typing import Any, final

from torch import Tensor, nn

RUNS = (nn.Module, FunctionType, MethodType)  # members of an object that it may run


@final
class FunctionEncoder(nn.Module):
    """A function of one batch as an encoder; the modules that it runs are submodules, under the names that the function uses.

    So `eval()`, the check of the mode, devices and layers work as for a module.

    Args:
        function: maps a batch to embeddings or to a map: a function, a bound method, or a `functools.partial` of these.

    >>> net = nn.Linear(2, 3)
    >>> [name for name, _ in FunctionEncoder(lambda images: net(images).relu()).named_children()]
    ['net']
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function
        for name, module in find_modules(function).items():
            self.add_module(f"{name}_" if hasattr(self, name) else name, module)
        self.training = any(module.training for module in self.children())

    def forward(self, images: Tensor) -> Tensor:
        """Encode a batch."""
        return self.function(images)

    def __deepcopy__(self, memo: dict[int, Any]) -> "FunctionEncoder":
        """A copy with modules of its own.

        Raises:
            ValueError: the function is no method, so a copy would run the same modules.
        """
        if not isinstance(_unwrap_partial(self.function), MethodType):
            raise ValueError("a function runs the same modules after a copy; pass the module, or a method of it")
        return FunctionEncoder(copy.deepcopy(self.function, memo))


def wrap_function(encoder: Any) -> nn.Module:
    """A module as it is; the module of its own `forward`; any other function as a `FunctionEncoder`.

    Raises:
        ValueError: the encoder is neither a module nor a function.
    """
    if isinstance(encoder, MethodType) and isinstance(encoder.__self__, nn.Module) and encoder.__name__ in ("forward", "__call__"):
        return encoder.__self__
    if isinstance(encoder, nn.Module):
        return encoder
    if callable(encoder) and not isinstance(encoder, type):
        return FunctionEncoder(encoder)
    kind = f"the class {encoder.__name__}" if isinstance(encoder, type) else type(encoder).__name__
    raise ValueError(f"Expected an encoder, an nn.Module or a function from a batch to embeddings [B, C], got {kind}. Pass one of these.")


def find_modules(function: object) -> dict[str, nn.Module]:
    """The modules that a function runs, by name: itself, its owner, arguments in a `partial`, and what its code refers to.

    Functions of the user that it refers to are searched too, the attributes of other objects, and the members of lists, tuples and
    dictionaries.
    """
    modules: dict[str, nn.Module] = {}
    seen: set[int] = set()
    pending: list[tuple[str, object]] = [("model", function)]
    while pending:
        name, value = pending.pop(0)
        if isinstance(value, nn.Module):
            if value not in modules.values():
                modules[_make_free_name(name, modules)] = value
        elif id(value) not in seen:
            seen.add(id(value))
            pending.extend(_list_references(value))
    parts = {part for module in modules.values() for part in module.modules() if part is not module}
    return {name: module for name, module in modules.items() if module not in parts}


def _make_free_name(name: str, names: Container[str]) -> str:
    """The name, with a number if there is one already: two objects may both have a `net`."""
    numbered = (f"{name}_{number}" for number in count(2))
    return name if name not in names else next(other for other in numbered if other not in names)


def _list_references(value: object) -> list[tuple[str, object]]:
    """The objects that a function uses, by name; the attributes of another object; nothing for libraries and classes."""
    if isinstance(value, partial):
        arguments = [(f"argument{place}", argument) for place, argument in enumerate(value.args)]
        return [("model", value.func), *arguments, *value.keywords.items()]
    if isinstance(value, MethodType):
        return [("model", value.__self__), *([] if isinstance(value.__self__, nn.Module) else [("function", value.__func__)])]
    if isinstance(value, FunctionType):
        references = inspect.getclosurevars(value)
        return [] if _is_of_library(value) else [*references.nonlocals.items(), *references.globals.items()]
    if isinstance(value, (list, tuple)):
        return [(f"item{place}", member) for place, member in enumerate(value) if isinstance(member, RUNS)]
    if isinstance(value, dict):
        return [(str(key).replace(".", "_"), member) for key, member in value.items() if isinstance(member, RUNS)]
    if isinstance(value, (type, ModuleType)) or _is_of_library(type(value)):
        return []
    attributes = vars(value) if hasattr(value, "__dict__") else {}
    return [(name, member) for name, member in attributes.items() if isinstance(member, (*RUNS, list, tuple, dict))]


def _is_of_library(definition: type | FunctionType) -> bool:
    """True for a function or a class of Python, PyTorch or NumPy."""
    return (definition.__module__ or "").partition(".")[0] in ("builtins", "torch", "torchvision", "numpy")


def _unwrap_partial(function: object) -> object:
    """The function inside a `functools.partial`."""
    return _unwrap_partial(function.func) if isinstance(function, partial) else function
