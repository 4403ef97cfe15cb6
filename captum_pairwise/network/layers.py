"""Record or replace the output of layers, and check the layers that a user names."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from typing import TypeAlias

import torch
from torch import Tensor, nn

from captum_pairwise.network.checkpointing import watch_backward
from captum_pairwise.network.layer_outputs import get_first_tensor, replace_first_tensor
from captum_pairwise.network.thread_hooks import this_thread_only

Layers: TypeAlias = nn.Module | Sequence[nn.Module]


def check_layers(layer: Layers) -> list[nn.Module]:
    """The layers that a user named: one layer, or a pair (query layer, retrieved layer).

    Raises:
        ValueError: there are none or more than two, or one is no module, or is TorchScript.
    """
    layers: list = list(layer) if isinstance(layer, (tuple, list)) else [layer]
    if len(layers) not in (1, 2) or not all(isinstance(module, nn.Module) for module in layers):
        names = [type(module).__name__ for module in layers]
        raise ValueError(f"Expected one module of the encoder, or a pair (query layer, retrieved layer), got {names}.")
    if any(isinstance(module, torch.jit.ScriptModule) for module in layers):
        raise ValueError(
            "Expected a layer that takes hooks, got TorchScript. Use its original, or `SplitEncoder(nn.Sequential(half), tail).features`."
        )
    return layers


@contextmanager
def record_calls(layers: Sequence[nn.Module], copies: bool = True) -> Iterator[list[list[object]]]:
    """Yield a list for each layer, which gets the output of each call; of a tuple only its first tensor.

    Args:
        layers: the layers.
        copies: True for copies of the tensors, because an in-place ReLU may follow.
    """
    calls: list[list[object]] = [[] for _ in layers]

    def record(outputs: list[object], _module: nn.Module, _inputs: object, returned: object) -> None:
        output = get_first_tensor(returned)
        outputs.append(returned if output is None else output.clone() if copies else output)

    with ExitStack() as hooks:
        for layer, outputs in zip(layers, calls, strict=True):
            hooks.enter_context(layer.register_forward_hook(this_thread_only(partial(record, outputs))))
        yield calls


@contextmanager
def replace_output(layer: nn.Module, output: Tensor, call: int | None = None) -> Iterator[None]:
    """Make `layer` return `output` for any input; if it returns a tuple, replace the first tensor.

    Args:
        layer: a module.
        output: the output.
        call: the number of the call that gets it; None replaces the outputs of all calls.
    """
    numbers = count()

    def hook(_module: nn.Module, _inputs: object, returned: object) -> object:
        return replace_first_tensor(returned, output.clone()) if call is None or next(numbers) == call else returned

    watch_backward(layer, output)
    with layer.register_forward_hook(this_thread_only(hook)):
        yield


def get_single_output(calls: list[object], layer: nn.Module) -> Tensor:
    """The output of a layer that ran once and returned a tensor, out of the calls from `record_calls`.

    Raises:
        ValueError: the layer did not run, ran more than once, or returned something else.
    """
    name = type(layer).__name__
    if len(calls) != 1:
        raise ValueError(
            f"Expected the layer ({name}) to run once in a forward pass, but it ran {len(calls)} times. Pick a layer that the encoder "
            "calls once, outside compiled or scripted parts; if one encoder embeds both images, pass `SimilarityWrapper(encoder)`."
        )
    output = calls[0]
    if isinstance(output, Tensor) and output.is_nested:
        raise ValueError(
            f"Expected the layer ({name}) to return an ordinary tensor, got a nested one, which leaves out padding. Pass "
            "`enable_nested_tensor=False` to nn.TransformerEncoder, or call `torch.backends.mha.set_fastpath_enabled(False)`."
        )
    if not isinstance(output, Tensor) or not 2 <= output.dim() <= 5:
        kind = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(
            f"Expected the layer ({name}) to return a tensor [B, C], [B, T, C], [B, C, H, W] or [B, C, D, H, W], or a tuple whose first "
            f"tensor is one, got {kind}. Pick a layer that does."
        )
    return output


def refuse_compiled(model: object) -> None:
    """Refuse a model that is compiled in whole or in part, because compiled code ignores hooks that are added later.

    Raises:
        ValueError: the model, or a part of it, is compiled.
    """
    modules = model.modules() if isinstance(model, nn.Module) else ()
    if any(hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None for module in modules):
        raise ValueError("Expected a model that is not compiled, because compiled code ignores hooks. Pass `compiled._orig_mod`.")
