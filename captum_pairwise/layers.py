"""Look into a network at one layer: record its output, replace it, or run only the tail that comes after it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from captum_pairwise.tails import Tail, is_affine, traced_tail

Layers: TypeAlias = nn.Module | Sequence[nn.Module]


def layers_of(layer: Layers) -> list[nn.Module]:
    """The one layer, or the two (query's, retrieved's), that a user named.

    Raises:
        ValueError: there are more, or none.
    """
    layers = [layer] if isinstance(layer, nn.Module) else list(layer)
    if len(layers) not in (1, 2) or not all(isinstance(one, nn.Module) for one in layers):
        names = [type(one).__name__ for one in layers]
        raise ValueError(
            f"Expected one layer, or a pair (query layer, retrieved layer), modules of the encoder, got {len(layers)} of them: {names}."
        )
    return layers


class SplitEncoder(nn.Module):
    """An encoder whose two parts are known, `tail(features(images))`.

    Layer methods given `encoder.features` run only `tail` for each coalition, whether or not the parts can be traced.

    Args:
        features: maps images to the layer's output.
        tail: maps the layer's output to embeddings or to a map.
    """

    def __init__(self, features: nn.Module, tail: nn.Module) -> None:
        super().__init__()
        self.features, self.tail = features, tail

    def forward(self, images: Tensor) -> Tensor:
        """Encode a batch."""
        return self.tail(self.features(images))


@dataclass(frozen=True)
class LayerView:
    """An encoder seen from one layer, for a batch of images: the layer's output `[batch, ...]`, and what comes after."""

    output: Tensor
    tail: Tail


@contextmanager
def recorded(layers: Sequence[nn.Module]) -> Iterator[list[list[object]]]:
    """Yield a list per layer, to which every call of that layer adds a copy of its output."""
    calls: list[list[object]] = [[] for _ in layers]
    hooks: list[torch.utils.hooks.RemovableHandle] = []

    def add_to(outputs: list[object]) -> Callable[..., None]:
        # a copy, because an in-place ReLU may follow
        return lambda _module, _inputs, output: outputs.append(output.clone() if isinstance(output, Tensor) else output)

    try:
        for layer, outputs in zip(layers, calls, strict=True):
            hooks.append(layer.register_forward_hook(add_to(outputs)))
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def replaced(layer: nn.Module, output: Tensor) -> Iterator[None]:
    """Make `layer` return `output`, whatever comes in."""
    hook = layer.register_forward_hook(lambda *_: output.clone())
    try:
        yield
    finally:
        hook.remove()


def only_output(calls: list[object], layer: nn.Module) -> Tensor:
    """The output of a layer that ran once and returned a tensor.

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
            f"Expected the layer ({name}) to return a tensor [B, C], [B, T, C] or [B, C, H, W], got {came}. Pick a layer that does."
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


def record(encoder: nn.Module, layer: nn.Module, images: Tensor) -> Tensor:
    """Run the encoder once for the layer's output.

    Raises:
        ValueError: the layer did not run exactly once, or returned no tensor.
    """
    return _record(encoder, layer, images)[0]


def _record(encoder: nn.Module, layer: nn.Module, images: Tensor) -> tuple[Tensor, object, bool]:
    """The layer's output, the encoder's, and whether the encoder returns the layer's very tensor, unchanged."""
    returned: list[tuple[object, int]] = []
    watch = layer.register_forward_hook(lambda _module, _inputs, output: returned.append((output, _version(output))))
    try:
        with recorded([layer]) as calls:
            final = encoder(images)
    finally:
        watch.remove()
    output = only_output(calls[0], layer)
    unchanged = final is returned[0][0] and isinstance(final, Tensor) and _version(final) == returned[0][1]
    return output, final, unchanged


def _version(output: object) -> int:
    """How often a tensor was changed in place; -1 where nobody counts."""
    return output._version if isinstance(output, Tensor) and not output.is_inference() else -1


def look_inside(encoder: nn.Module, layer: nn.Module, images: Tensor) -> LayerView:
    """See the encoder from `layer`, with the cheapest tail that reproduces it.

    In this order: nothing at all, when the layer's output is the encoder's; the tail of a `SplitEncoder`; the nodes after the layer
    in the encoder's `torch.fx` graph; the whole encoder, with the layer's output replaced.
    """
    # tensors of inference mode do not tell whether they were changed in place
    with_grad = torch.is_grad_enabled()
    with torch.inference_mode(False), torch.set_grad_enabled(with_grad):
        output, final, final_is_output = _record(encoder, layer, images)
    return LayerView(
        output,
        Tail(lambda outputs, _: outputs, is_affine=True) if final_is_output else _cheapest_tail(encoder, layer, images, output, final),
    )


def _cheapest_tail(encoder: nn.Module, layer: nn.Module, images: Tensor, output: Tensor, final: object) -> Tail:
    if isinstance(encoder, SplitEncoder) and layer is encoder.features:
        return Tail(lambda outputs, _: encoder.tail(outputs.clone()), is_affine(encoder.tail))
    traced = traced_tail(encoder, layer, images)
    if traced is not None and _reproduces(traced, output, final):
        return traced
    return Tail(_rerun(encoder, layer, images), reruns=True)


def _rerun(encoder: nn.Module, layer: nn.Module, images: Tensor) -> Callable[[Tensor, int], object]:
    """Run the whole encoder on one image of the batch, with the layer's output replaced."""

    def run_tail(outputs: Tensor, example: int) -> object:
        with replaced(layer, outputs):
            return encoder(images[example : example + 1].expand(len(outputs), *images.shape[1:]))

    return run_tail


def _reproduces(tail: Tail, output: Tensor, final: object) -> bool:
    """Whether the tail gives the encoder's own output, for a batch of another size: a traced graph can hold the size as a constant."""
    if not isinstance(final, Tensor):
        return False
    rows = [0] * (len(final) + 1)
    try:
        again = tail.run(output[rows], 0)
    except Exception:  # the network's own code, on a batch of another size
        return False
    tolerance = torch.finfo(final.dtype).eps ** 0.5 * final.abs().max()
    return isinstance(again, Tensor) and again.shape == final[rows].shape and bool((again - final[rows]).abs().max() <= tolerance)
