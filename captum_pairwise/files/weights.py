"""Tensors in weight files: no other object in a file is loaded, and no code runs."""

import pickle
from pathlib import Path
from typing import TypeAlias

import torch
from safetensors.torch import load_file
from torch import Tensor

State: TypeAlias = dict[str, Tensor]

# modules that a checkpoint may not use; their names would not run, but they do not belong in settings or logs
FORBIDDEN_MODULES = frozenset(
    "_io _posixsubprocess code codeop commands ctypes importlib io marshal multiprocessing nt os pickle posix pty runpy shutil signal "
    "socket subprocess sys threading urllib webbrowser".split()
)
FORBIDDEN_BUILTINS = frozenset("__import__ breakpoint compile eval exec execfile input open".split())


def read_weights(file: Path) -> State:
    """The tensors in a file by `torch.save` or safetensors, or under its key `state_dict`; no code in the file is executed.

    Raises:
        ValueError: the file is damaged, needs code to run, or holds tensors that are not plain.
    """
    try:
        state = _select_state(load_file(file) if file.suffix == ".safetensors" else _load_safely(file))
    except (FileNotFoundError, MemoryError):
        raise
    except Exception as error:  # a damaged file may raise anything
        raise ValueError(f"Expected {file.name} to be a file of weights, got other or damaged content. Save only a state dict.") from error
    for key, tensor in state.items():
        if not _is_plain(tensor, file.stat().st_size):
            raise ValueError(
                f"Expected plain tensors in {file.name}, got {key}: {tensor.dtype}, {tensor.layout}, {[*tensor.shape]}. Save CPU tensors."
            )
    return state


def _select_state(content: object) -> State:
    state = content.get("state_dict", content) if isinstance(content, dict) else {}
    tensors = state.items() if isinstance(state, dict) else ()
    return {key: value for key, value in tensors if isinstance(key, str) and isinstance(value, Tensor)}


def _is_plain(tensor: Tensor, n_bytes: int) -> bool:
    """True if a file of this size can hold all numbers of a tensor; a stride of 0 may claim any number of them."""
    is_dense = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized and not tensor.is_complex()
    return is_dense and tensor.numel() * tensor.element_size() <= n_bytes


class _Placeholder:
    """Replaces objects of unknown classes in a file, and ignores their content."""

    def __init__(self, *_: object) -> None:
        pass

    __setstate__ = __init__  # `torch.load` passes the content of the object


def _load_safely(file: Path) -> object:
    """The content of a file by `torch.save`, with placeholders for settings and logs."""
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(file)  # fails on files older than torch 1.6
        if any(map(_is_forbidden, names)):
            raise
        with torch.serialization.safe_globals([(_Placeholder, name) for name in names]):
            content = torch.load(file, map_location="cpu", weights_only=True)
        if not _select_state(content):
            raise
        return content


def _is_forbidden(name: str) -> bool:
    """True if a name in a file, `module.function`, can run code."""
    module, _, function = name.rpartition(".")
    return module.partition(".")[0] in FORBIDDEN_MODULES or (module in ("builtins", "__builtin__") and function in FORBIDDEN_BUILTINS)
