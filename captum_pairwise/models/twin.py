"""A twin of an encoder, for Captum's own classes: other module objects over the same parameters and buffers.

Captum stores one output per module object, so its layer methods are wrong if one module object runs for both images. The methods of this
package embed one image after the other with the encoder itself, and need no twin.
"""

import copy

import torch
from torch import Tensor, nn

from captum_pairwise.network.agreement import is_roughly_close
from captum_pairwise.network.module_hooks import HOOKS, is_captum_hook, is_temporary_hook, pause_hooks

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
            for handle in [handle for handle, hook in (vars(mirror)[hooks] or {}).items() if is_captum_hook(hook)]:
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


@torch.no_grad()
def refuse_other_twin(encoder: nn.Module, twin: nn.Module, own_hooks: set[int], images: Tensor) -> None:
    """Compare the twin with the encoder on images, with the same random numbers for both.

    Hooks that were added to the twin later do not run. Hooks of Captum and of this package do not run either.

    Raises:
        ValueError: they differ.
    """
    with (
        pause_hooks(encoder, lambda _, hook: is_temporary_hook(hook)),
        pause_hooks(twin, lambda handle, _: handle not in own_hooks),
        torch.random.fork_rng(),
    ):
        outputs = []
        for tower in (encoder, twin):
            torch.manual_seed(0)
            outputs.append(tower(images))
    if not is_roughly_close(*outputs):
        raise ValueError(
            f"Expected the copy of {type(encoder).__name__} for Captum's layer classes to embed as the encoder does, got another output: "
            "it has a state that a copy does not follow. Make a new SimilarityWrapper, or use the methods of this package."
        )
