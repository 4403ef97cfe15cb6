"""A twin of an encoder: other module objects over the same parameters and buffers.

Captum stores one output per module object, so its layer methods are wrong if one module object runs for both images.
"""

import copy

import torch
from torch import nn


def can_twin(encoder: nn.Module) -> bool:
    """True unless a part is TorchScript or compiled: these keep parameters or code elsewhere, where a twin cannot share them."""
    return not any(isinstance(module, torch.jit.ScriptModule) or hasattr(module, "_orig_mod") for module in encoder.modules())


def make_twin(encoder: nn.Module) -> nn.Module:
    """Copy the module objects of `encoder` and share its parameter and buffer dictionaries.

    The twin shares the dictionaries, not only the tensors in them, so it follows an encoder whose tensors are replaced.
    """
    memo = {id(tensor): tensor for tensor in (*encoder.parameters(), *encoder.buffers())}
    twin = copy.deepcopy(encoder, memo)
    for original, mirror in zip(encoder.modules(), twin.modules(), strict=True):
        mirror._parameters, mirror._buffers = original._parameters, original._buffers
    return twin


def is_twin(encoder: nn.Module, twin: nn.Module) -> bool:
    """True if the modules of both share their parameters one by one; False after the structure of the encoder changed."""
    originals, mirrors = list(encoder.modules()), list(twin.modules())
    return len(originals) == len(mirrors) and all(a._parameters is b._parameters for a, b in zip(originals, mirrors, strict=True))


def renew_twin(encoder: nn.Module, former: nn.Module) -> nn.Module:
    """A new twin with the hooks of the former twin, not the hooks that the encoder has now."""
    twin, former_modules = make_twin(encoder), dict(former.named_modules())
    hooks = [name for name in vars(nn.Module()) if "hooks" in name]
    for name, module in twin.named_modules():
        if name in former_modules:
            vars(module).update({hook: vars(former_modules[name])[hook] for hook in hooks})
    return twin


def copy_settings(encoder: nn.Module, twin: nn.Module) -> None:
    """Copy the flags and numbers of each module: training mode, dropout rates, strides, and so on."""
    for original, mirror in zip(encoder.modules(), twin.modules(), strict=True):
        attributes = vars(original).copy()  # in one step: another thread may change them during the loop
        vars(mirror).update((name, value) for name, value in attributes.items() if _is_setting(value) and not name.startswith("_"))


def _is_setting(value: object) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_setting, value))
    return value is None or isinstance(value, (bool, int, float, str))


def refuse_common_modules(query_encoder: nn.Module, retrieved_encoder: nn.Module) -> None:
    """Refuse two encoders that share a module.

    Raises:
        ValueError: they share one.
    """
    modules = set(query_encoder.modules())
    common = [name for name, module in retrieved_encoder.named_modules() if module in modules]
    if common:
        copied = "copy.deepcopy(module, {id(p): p for p in module.parameters()})"  # shares the weights
        raise ValueError(f"Expected no common module, but both encoders have {common[0]!r}. Give one of them {copied}.")
