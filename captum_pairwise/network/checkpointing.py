"""Gradient checkpointing, which is off while gradients are taken.

A checkpointed part keeps no activations: backward runs it again. The output that replaced a layer's in forward would not be there.
"""

import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from types import CodeType, FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import disable_saved_tensors_hooks
from torch.utils import checkpoint
from torch.utils.hooks import RemovableHandle

# private names of `torch.utils.checkpoint`, of newer and older versions
GENERATORS = ("_checkpoint_without_reentrant_generator_impl", "_checkpoint_without_reentrant_generator")
REFUSAL = (
    "Expected gradient checkpointing to be off, because backward runs the network again without the layer's replaced output. Call "
    "`model.gradient_checkpointing_disable()`, or use a method without gradients."
)


@contextmanager
def disable_checkpointing() -> Iterator[None]:
    """Run checkpointed parts of any network as ordinary ones inside the block, in all threads.

    In other threads only the use of memory changes. Models keep `torch.utils.checkpoint.checkpoint` under names of their own, so the
    functions that it calls change. Implementations of other libraries are refused where backward runs a replaced layer again.

    Raises:
        ValueError: a network checkpoints, and it cannot be switched off.

    >>> linear, row = nn.Linear(2, 1), torch.ones(1, 2)
    >>> with disable_checkpointing():
    ...     checkpoint.checkpoint(linear, row, use_reentrant=True).grad_fn.name()
    'AddmmBackward0'
    """
    generators = _list_generators()
    refuse = nullcontext() if generators else disable_saved_tensors_hooks(REFUSAL)  # a checkpoint of an unknown version sets such hooks
    outer, _LOCAL.watched = _LOCAL.watched, {}
    try:
        with _SWITCH.turn_off(generators), refuse:
            yield
    except RuntimeError as error:
        if REFUSAL not in str(error):
            raise
        raise ValueError(REFUSAL) from error
    finally:
        for handle in _LOCAL.watched.values():
            handle.remove()
        _LOCAL.watched = outer


def watch_backward(layer: nn.Module, output: Tensor) -> None:
    """Refuse that backward runs the layer again, until the end of this thread's `disable_checkpointing`, if its `output` has gradients."""
    if _LOCAL.watched is not None and layer not in _LOCAL.watched and output.requires_grad:
        _LOCAL.watched[layer] = layer.register_forward_pre_hook(_refuse_in_backward)


def _refuse_in_backward(*_: object) -> None:
    if torch._C._current_graph_task_id() != -1:  # -1 outside backward
        raise ValueError(REFUSAL)


class _Local(threading.local):
    """The layers whose output is replaced inside this thread's block, with their hooks; None outside."""

    watched: dict[nn.Module, RemovableHandle] | None = None


def _list_generators() -> list[FunctionType]:
    """The generators of `torch.utils.checkpoint` that surround a part, between whose two steps the caller runs it."""
    functions = [getattr(checkpoint, name, None) for name in GENERATORS]
    return [function for function in functions if isinstance(function, FunctionType) and _is_replaceable(function)]


def _is_replaceable(function: FunctionType) -> bool:
    return inspect.isgeneratorfunction(function) and not function.__code__.co_freevars


def _surround_nothing(*_arguments: object, **_options: object) -> Iterator[None]:
    """A checkpoint that neither drops nor computes anything."""
    yield


def _call_once(function: Callable[..., Any], _preserve_rng_state: bool, *arguments: object) -> Any:
    return function(*arguments)


@dataclass
class _Switch:
    """Switches checkpointing off for the first of several overlapping blocks, and on again after the last.

    Attributes:
        n_blocks: the open blocks of all threads.
        codes: the code of each generator as it was.
        lock: held while either changes.
    """

    n_blocks: int = 0
    codes: dict[FunctionType, CodeType] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def turn_off(self, generators: list[FunctionType]) -> Iterator[None]:
        """Keep checkpointing off inside the block."""
        with self.lock:
            self.n_blocks += 1
            if self.n_blocks == 1:
                self._replace(generators)
        try:
            yield
        finally:
            with self.lock:
                self.n_blocks -= 1
                if self.n_blocks == 0:
                    self._restore()

    def _replace(self, generators: list[FunctionType]) -> None:
        """Change the functions themselves, because other modules import them by name."""
        checkpoint.CheckpointFunction.apply = staticmethod(_call_once)
        for function in generators:
            self.codes[function] = function.__code__
            function.__code__ = inspect.unwrap(_surround_nothing).__code__  # shape checks wrap it

    def _restore(self) -> None:
        del checkpoint.CheckpointFunction.apply  # its base class has it
        for function, code in self.codes.items():
            function.__code__ = code
        self.codes.clear()


_LOCAL, _SWITCH = _Local(), _Switch()
