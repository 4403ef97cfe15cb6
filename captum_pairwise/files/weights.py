"""Tensors in files of weights: whatever else a file holds stays empty, and nothing of it runs."""

import pickle
from pathlib import Path
from typing import TypeAlias

import torch
from safetensors.torch import load_file
from torch import Tensor

State: TypeAlias = dict[str, Tensor]

# whose names no settings and no log have; they would not run, but nobody who writes them means well
MODULES_OF_CODE = frozenset(
    "_io _posixsubprocess code codeop commands ctypes importlib io marshal multiprocessing nt os pickle posix pty runpy shutil signal "
    "socket subprocess sys threading urllib webbrowser".split()
)
BUILTINS = ("builtins", "__builtin__")
CODE = frozenset("__import__ breakpoint compile eval exec execfile input open".split())


def read_weights(file: Path) -> State:
    """The tensors in what `torch.save` or safetensors wrote, or under its `state_dict`; nothing in the file is executed.

    Raises:
        ValueError: the file is damaged, asks for code to be run, or holds other tensors than plain ones.
    """
    try:
        state = _tensors(load_file(file) if file.suffix == ".safetensors" else _load_inert(file))
    except (FileNotFoundError, MemoryError):
        raise
    except Exception as error:  # a damaged file may raise anything
        raise ValueError(
            f"Expected {file.name} to be a file of weights, got one that is damaged, or that holds more than tensors and is not executed. "
            "Save the state dict alone, with torch.save or safetensors."
        ) from error
    odd = [key for key, tensor in state.items() if not _is_plain(tensor, file.stat().st_size)]
    if odd:
        raise ValueError(
            f"Expected plain tensors of numbers in {file.name}, all of them in the file, got {odd[0]} of {state[odd[0]].dtype}, "
            f"{state[odd[0]].layout} and shape {tuple(state[odd[0]].shape)}. Save the state dict of a network on the CPU."
        )
    return state


def _tensors(content: object) -> State:
    state = content.get("state_dict", content) if isinstance(content, dict) else {}
    tensors = state.items() if isinstance(state, dict) else ()
    return {key: value for key, value in tensors if isinstance(key, str) and isinstance(value, Tensor)}


def _is_plain(tensor: Tensor, n_bytes: int) -> bool:
    """Whether all numbers of a tensor are in a file of this size: a stride of 0 may claim any number of them."""
    is_dense = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized and not tensor.is_complex()
    return is_dense and tensor.numel() * tensor.element_size() <= n_bytes


class _Inert:
    """Stands for an object in a file whose class is not to be trusted."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


def _load_inert(file: Path) -> object:
    """What `torch.save` wrote; beside tensors, settings and logs stay empty."""
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(file)  # fails on files older than torch 1.6
        if any(map(_is_code, names)):
            raise
        with torch.serialization.safe_globals([(_Inert, name) for name in names]):
            content = torch.load(file, map_location="cpu", weights_only=True)
        if not _tensors(content):
            raise
        return content


def _is_code(name: str) -> bool:
    """Whether what a file asks for runs other code."""
    module, _, what = name.rpartition(".")
    return module.partition(".")[0] in MODULES_OF_CODE or (module in BUILTINS and what in CODE)
