"""Record or replace the output of layers, and check the layers that a user names."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import Tensor, nn

from captum_pairwise.network.layer_outputs import get_first_tensor, replace_first_tensor
from captum_pairwise.network.thread_hooks import this_thread_only

Layers: TypeAlias = nn.Module | Sequence[nn.Module]


def check_layers(layer: Layers) -> list[nn.Module]:
    """The one layer, or the two (query's, retrieved's), that a user named.

    Raises:
        ValueError: there are more, or none, or one is of TorchScript.
    """
    layers: list = list(layer) if isinstance(layer, (tuple, list)) else [layer]
    if len(layers) not in (1, 2) or not all(isinstance(one, nn.Module) for one in layers):
        names = [type(one).__name__ for one in layers]
        raise ValueError(
            f"Expected one layer, or a pair (query layer, retrieved layer), modules of the encoder, got {len(layers)} of them: {names}."
        )
    if any(isinstance(one, torch.jit.ScriptModule) for one in layers):
        raise ValueError(
            "Expected a layer that takes hooks, got a module of TorchScript. Use the module that it was made of; of an encoder whose first "
            "half is TorchScript, make `SplitEncoder(nn.Sequential(half), tail)` and use its `features`."
        )
    return layers


@contextmanager
def record_calls(layers: Sequence[nn.Module]) -> Iterator[list[list[object]]]:
    """Yield a list per layer, to which every call of that layer adds a copy of its output: of the first tensor of a tuple."""
    calls: list[list[object]] = [[] for _ in layers]
    hooks: list[torch.utils.hooks.RemovableHandle] = []

    def add_to(outputs: list[object]) -> Callable[..., None]:
        def add(_module: nn.Module, _inputs: object, returned: object) -> None:
            output = get_first_tensor(returned)
            outputs.append(returned if output is None else output.clone())  # a copy, because an in-place ReLU may follow

        return add

    try:
        for layer, outputs in zip(layers, calls, strict=True):
            hooks.append(layer.register_forward_hook(this_thread_only(add_to(outputs))))
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def replace_output(layer: nn.Module, output: Tensor) -> Iterator[None]:
    """Make `layer` return `output`, whatever comes in; where it returns a tuple, the first tensor in it."""
    hook = layer.register_forward_hook(this_thread_only(lambda _module, _inputs, returned: replace_first_tensor(returned, output.clone())))
    try:
        yield
    finally:
        hook.remove()


def get_single_output(calls: list[object], layer: nn.Module) -> Tensor:
    """The output of a layer that ran once and returned a tensor, as `recorded`.

    Raises:
        ValueError: the layer did not run, ran more than once, or returned something else.
    """
    name = type(layer).__name__
    if not calls:
        raise ValueError(
            f"Expected the layer ({name}) to run in the forward pass, but it never did. Pass a layer that the encoder calls; hooks on "
            "parts of a compiled or scripted model do not run."
        )
    if len(calls) > 1:
        raise ValueError(
            f"Expected the layer ({name}) to run once in a forward pass, but it ran {len(calls)} times. If one encoder embeds both "
            "images, pass `SimilarityWrapper(encoder)` as the forward function; if the network reuses a module, pick a layer "
            "that it does not reuse."
        )
    output = calls[0]
    if not isinstance(output, Tensor) or output.dim() not in (2, 3, 4):
        came = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(
            f"Expected the layer ({name}) to return a tensor [B, C], [B, T, C] or [B, C, H, W], or a tuple whose first tensor is one, "
            f"got {came}. Pick a layer that does."
        )
    return output


def refuse_compiled(model: object) -> None:
    """Refuse a model that `torch.compile` took over: it ignores hooks added later.

    Raises:
        ValueError: the model, or a part of it, is compiled.
    """
    modules = model.modules() if isinstance(model, nn.Module) else ()
    if any(hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None for module in modules):
        raise ValueError(
            "Expected a model that is not compiled, because a compiled one ignores the hooks of a layer method. Pass the original "
            "module (`compiled._orig_mod`), which has the same weights."
        )
