"""A second device without any hardware: its tensors hold tensors on the CPU, and refuse what those of a GPU refuse.

It is torch's accelerator in the process that registers it. Register it before the first backward pass, in a process of its own.
"""

from functools import cache, partial
from typing import Any

import torch
from device_cases import list_calls, list_tensors
from own_methods import check_own_class
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._pytree import tree_leaves, tree_map

from captum_pairwise.testing import Report

NAME = "second"
IS_AVAILABLE = hasattr(backend_registration, "_setup_privateuseone_for_python_backend")  # torch 2.10 or so
CPU = torch.device("cpu")
MAY_MIX = {"_to_copy", "_copy_from", "copy_", "index", "index_put", "index_put_", "_index_put_impl_"}  # of the tensors of two devices
# they make tensors; all other factories of torch call one of them
FACTORIES = ["arange", "arange.start", "arange.start_step", "empty.memory_format", "empty_strided", "eye", "eye.m", "linspace", "randperm"]


class SecondTensor(Tensor):
    """A tensor of the second device."""

    content: Tensor  # on the CPU
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, content: Tensor):
        layout = {"strides": content.stride(), "storage_offset": content.storage_offset(), "dtype": content.dtype}
        tensor = Tensor._make_wrapper_subclass(cls, content.shape, **layout, device=f"{NAME}:0")
        tensor.content = content
        return tensor

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return run_on_contents(func, *args, **(kwargs or {}))

    def tolist(self):
        return self.content.tolist()


def run_on_contents(func: Any, *args: Any, **kwargs: Any) -> Any:
    """The result of an operation, on the second device if it does not move a tensor to the CPU."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    on_cpu = [tuple(tensor.shape) for tensor in tensors if tensor.dim() and not isinstance(tensor, SecondTensor)]
    if on_cpu and func._schema.name.removeprefix("aten::") not in MAY_MIX:
        raise RuntimeError(f"Expected all tensors on the same device, got {func} with tensors {on_cpu} on the CPU.")
    contents, options = tree_map(_get_content, (args, kwargs))
    result = func(*contents, **options)
    if kwargs.get("device") == CPU:
        return result
    wrappers = {id(_get_content(tensor)): tensor for tensor in tensors}  # an operation in place returns its own tensor
    return tree_map(lambda leaf: wrappers[id(leaf)] if id(leaf) in wrappers else _wrap(leaf), result)


def _wrap(value: Any) -> Any:
    return SecondTensor(value) if isinstance(value, Tensor) else value


def _get_content(value: Any) -> Any:
    if isinstance(value, torch.device):
        return CPU
    return value.content if isinstance(value, SecondTensor) else value


@cache
def register() -> torch.library.Library:
    """Make the second device torch's accelerator in this process."""

    class Guard(torch._C._acc.DeviceGuard):  # older torch has no such class
        def type_(self):
            return torch._C._autograd.DeviceType.PrivateUse1

        def device_count(self):  # the backward pass needs a queue for each device
            return 1

    backend_registration._setup_privateuseone_for_python_backend(NAME, device_guard=Guard())
    torch.__future__.set_swap_module_params_on_conversion(True)  # `module.to` makes other parameters, of another class
    library = torch.library.Library("aten", "IMPL")
    for name in FACTORIES:
        packet, _, overload = name.partition(".")
        library.impl(name, partial(_make, getattr(getattr(torch.ops.aten, packet), overload or "default")), "PrivateUse1")
    copy = torch.ops.aten.copy_.default
    library.impl("_copy_from", lambda source, target, non_blocking=False: run_on_contents(copy, target, source), "PrivateUse1")
    return library


def _make(func: Any, *sizes: Any, device: torch.device | None = None, **options: Any) -> SecondTensor:
    return SecondTensor(func(*sizes, device=CPU, **options))


def check_on_second_device(cls: type) -> Report:
    """The report of the battery's check of another device."""
    register()
    return check_own_class(cls, checks=["other device"])


def call_on_second_device(name: str) -> tuple[list[Tensor], list[str]]:
    """The tensors in the result of a call of `list_calls`, moved to the CPU, and the type of the device of each."""
    register()
    tensors = list_tensors(list_calls(torch.device(NAME))[name]())
    return [tensor.detach().cpu() for tensor in tensors], [tensor.device.type for tensor in tensors]


def multiply_with_the_cpu() -> Tensor:
    """A product of tensors on two devices."""
    register()
    return torch.ones(2, device=NAME) * torch.ones(2)
