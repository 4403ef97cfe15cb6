"""A twin of an encoder, for Captum's own classes: other module objects over the same parameters and buffers.

Captum stores one output per module object, so its layer methods are wrong if one module object runs for both images. The methods of this
package embed one image after the other with the encoder itself, and need no twin.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from captum_pairwise.network.agreement import is_roughly_close

HOOKS = [name for name in vars(nn.Module()) if "hooks" in name]
MODULE_FIELDS = {*vars(nn.Module())} - {"training"}  # the fields that every module has, which `make_twin` shares or copies


def make_twin(encoder: nn.Module) -> nn.Module:
    """Copy the module objects of `encoder` and share its parameter and buffer dictionaries.

    The twin shares the dictionaries, not only the tensors in them, so it follows an encoder whose tensors are replaced.

    Raises:
        ValueError: the encoder cannot be copied.
    """
    if any(isinstance(module, torch.jit.ScriptModule) or hasattr(module, "_orig_mod") for module in encoder.modules()):
        raise ValueError(_cannot_copy(encoder, "a part is TorchScript or compiled, and keeps its parameters or its code elsewhere"))
    memo = {id(tensor): tensor for tensor in (*encoder.parameters(), *encoder.buffers())}
    try:
        twin = copy.deepcopy(encoder, memo)
    except Exception as error:  # locks, generators, tensors with a graph: each raises an error of its own
        raise ValueError(_cannot_copy(encoder, str(error).rstrip("."))) from error
    for original, mirror in zip(encoder.modules(), twin.modules(), strict=True):
        mirror._parameters, mirror._buffers = original._parameters, original._buffers
        for hooks in HOOKS:  # hooks of the encoder's own, such as weight normalisation, stay
            for handle in [handle for handle, hook in (vars(mirror)[hooks] or {}).items() if _is_captum_hook(hook)]:
                del vars(mirror)[hooks][handle]
    return twin


def _cannot_copy(encoder: nn.Module, reason: str) -> str:
    return (
        f"Expected an encoder that can be copied, because Captum's layer classes need other modules for each image, but for "
        f"{type(encoder).__name__}: {reason}. Use the methods of this package, or Captum's classes on `given_query(query)`."
    )


def is_twin(encoder: nn.Module, twin: nn.Module) -> bool:
    """True if the modules of both share their parameters one by one; False after the structure of the encoder changed."""
    originals, mirrors = list(encoder.modules()), list(twin.modules())
    return len(originals) == len(mirrors) and all(a._parameters is b._parameters for a, b in zip(originals, mirrors, strict=True))


def renew_twin(encoder: nn.Module, former: nn.Module) -> nn.Module:
    """A new twin with the hooks of the former twin, not the hooks that the encoder has now."""
    twin, former_modules = make_twin(encoder), dict(former.named_modules())
    for name, module in twin.named_modules():
        if name in former_modules:
            vars(module).update({hooks: vars(former_modules[name])[hooks] for hooks in HOOKS})
    return twin


def copy_settings(encoder: nn.Module, twin: nn.Module) -> None:
    """Copy the flags, numbers, names, and lists and dictionaries of these: training mode, strides, the active adapter, and so on.

    Tensors that are no buffers, and functions, are shared.
    """
    for original, mirror in zip(encoder.modules(), twin.modules(), strict=True):
        attributes = vars(original).copy()  # in one step: another thread may change them during the loop
        own = {name: value for name, value in attributes.items() if name not in MODULE_FIELDS}
        vars(mirror).update(copy.deepcopy({name: value for name, value in own.items() if _is_setting(value)}))
        vars(mirror).update((name, value) for name, value in own.items() if isinstance(value, Tensor) or _is_function(value))


def _is_function(value: object) -> bool:
    """True for a function that belongs to no module."""
    return callable(value) and not isinstance(value, (nn.Module, type)) and not isinstance(getattr(value, "__self__", None), nn.Module)


def _is_setting(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(_is_setting, (*value, *value.values())))
    if isinstance(value, (tuple, list, set)):
        return all(map(_is_setting, value))
    return value is None or isinstance(value, (bool, int, float, str, torch.dtype, torch.device))


def list_hook_ids(encoder: nn.Module) -> set[int]:
    """The ids of the hooks of all modules."""
    return {handle for module in encoder.modules() for name in HOOKS for handle in vars(module)[name] or {}}


def has_captum_hooks(encoder: nn.Module) -> bool:
    """True if a class of Captum runs now that reads the modules of the encoder."""
    return any(_is_captum_hook(hook) for module in encoder.modules() for name in HOOKS for hook in (vars(module)[name] or {}).values())


def _is_captum_hook(hook: object) -> bool:
    return _get_package(hook) == "captum"


def is_reading_hook(hook: object) -> bool:
    """True for a hook of Captum or of this package, which records or replaces outputs for a call."""
    return _get_package(hook) in ("captum", "captum_pairwise")


def _get_package(hook: object) -> str:
    function = getattr(hook, "func", hook)  # of a partial
    return str(getattr(function, "__module__", "")).split(".")[0]


@contextmanager
def _pause_hooks(encoder: nn.Module, is_paused: Callable[[int, object], bool]) -> Iterator[None]:
    """Run the modules without some of their hooks."""
    hooks = [(vars(module), name, vars(module)[name]) for module in encoder.modules() for name in HOOKS if vars(module)[name]]
    try:
        for fields, name, former in hooks:
            fields[name] = OrderedDict((handle, hook) for handle, hook in former.items() if not is_paused(handle, hook))
        yield
    finally:
        for fields, name, former in hooks:
            fields[name] = former


@torch.no_grad()
def refuse_other_twin(encoder: nn.Module, twin: nn.Module, own_hooks: set[int], images: Tensor) -> None:
    """Compare the twin with the encoder on images, with the same draws of both.

    Hooks that were added to the twin later do not run, and neither do hooks of Captum and of this package.

    Raises:
        ValueError: they differ.
    """
    with (
        _pause_hooks(encoder, lambda _, hook: is_reading_hook(hook)),
        _pause_hooks(twin, lambda handle, _: handle not in own_hooks),
        torch.random.fork_rng(),
    ):
        outputs = []
        for tower in (encoder, twin):
            torch.manual_seed(0)
            outputs.append(tower(images))
    is_equal = is_roughly_close(*outputs)
    if not is_equal:
        raise ValueError(
            f"Expected the copy of {type(encoder).__name__} for Captum's layer classes to embed as the encoder does, got another output: "
            "it draws at random, or has a state that a copy does not follow. Use the methods of this package, or `given_query(query)`."
        )
