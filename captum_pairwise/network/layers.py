"""Look into a network at one layer: record its output, replace it, or run only the tail that comes after it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from captum_pairwise.network.batching import Chunk, is_out_of_memory
from captum_pairwise.network.layer_outputs import first_tensor, for_rows, with_first
from captum_pairwise.network.prefix_cache import Prefix, remembered, skipping
from captum_pairwise.network.tails import Tail, is_affine, traced_tail
from captum_pairwise.network.thread_hooks import own_hook

Layers: TypeAlias = nn.Module | Sequence[nn.Module]


def layers_of(layer: Layers) -> list[nn.Module]:
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
    """Yield a list per layer, to which every call of that layer adds a copy of its output: of the first tensor of a tuple."""
    calls: list[list[object]] = [[] for _ in layers]
    hooks: list[torch.utils.hooks.RemovableHandle] = []

    def add_to(outputs: list[object]) -> Callable[..., None]:
        def add(_module: nn.Module, _inputs: object, returned: object) -> None:
            output = first_tensor(returned)
            outputs.append(returned if output is None else output.clone())  # a copy, because an in-place ReLU may follow

        return add

    try:
        for layer, outputs in zip(layers, calls, strict=True):
            hooks.append(layer.register_forward_hook(own_hook(add_to(outputs))))
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def replaced(layer: nn.Module, output: Tensor) -> Iterator[None]:
    """Make `layer` return `output`, whatever comes in; where it returns a tuple, the first tensor in it."""
    hook = layer.register_forward_hook(own_hook(lambda _module, _inputs, returned: with_first(returned, output.clone())))
    try:
        yield
    finally:
        hook.remove()


def only_output(calls: list[object], layer: nn.Module) -> Tensor:
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


def record(encoder: nn.Module, layer: nn.Module, images: Tensor, notices: set[str] | None = None) -> Tensor:
    """Run the encoder once for the layer's output; for parts of the batch, where memory is for no more.

    Args:
        encoder: the network.
        layer: a module of it.
        images: a batch.
        notices: what the user was told in this call, see `Chunk`.

    Raises:
        ValueError: the layer did not run exactly once, or returned no tensor.
    """
    parts = _whole_batch(images, notices).parts(lambda part: _record(encoder, layer, images[part]).output, len(images))
    return torch.cat(list(parts))


def _whole_batch(images: Tensor, notices: set[str] | None) -> Chunk:
    return Chunk(max(1, len(images)), set() if notices is None else notices)


@dataclass(frozen=True)
class _Record:
    """One forward pass: the layer's output, all that the layer returned, what the encoder did, and whether that is the very output."""

    output: Tensor
    returned: object
    final: object
    final_is_output: bool


def _record(encoder: nn.Module, layer: nn.Module, images: Tensor) -> _Record:
    """Run the encoder once, and keep what its layer returned."""
    calls_seen: list[tuple[object, int]] = []

    def see(_module: nn.Module, _inputs: object, returned: object) -> None:
        calls_seen.append((returned, _version(first_tensor(returned))))

    watch = layer.register_forward_hook(own_hook(see))
    try:
        with recorded([layer]) as calls:
            final = encoder(images)
    finally:
        watch.remove()
    output, (returned, version) = only_output(calls[0], layer), calls_seen[0]
    return _Record(output, returned, final, final is first_tensor(returned) and _version(final) == version)


def _version(output: object) -> int:
    """How often a tensor was changed in place; -1 where nobody counts."""
    return output._version if isinstance(output, Tensor) and not output.is_inference() else -1


def look_inside(encoder: nn.Module, layer: nn.Module, images: Tensor, notices: set[str] | None = None) -> LayerView:
    """See the encoder from `layer`, with the cheapest tail that reproduces it; arguments as for `record`.

    In this order: nothing at all, when the layer's output is the encoder's; the tail of a `SplitEncoder`; the nodes after the layer
    in the encoder's `torch.fx` graph; the encoder with the layer's output replaced, and without the modules that ran before it.
    """
    views = list(_whole_batch(images, notices).parts(lambda part: _look_inside(encoder, layer, images[part]), len(images)))
    return views[0] if len(views) == 1 else _joined(views)


def _joined(views: Sequence[LayerView]) -> LayerView:
    """The view of a batch from those of its parts, in order."""
    places = [(view, example) for view in views for example in range(len(view.output))]

    def run_tail(outputs: Tensor, example: int) -> object:
        view, place = places[example]
        return view.tail.run(outputs, place)

    def has(name: str) -> list[bool]:
        return [getattr(view.tail, name) for view in views]

    tail = Tail(run_tail, is_affine=all(has("is_affine")), reruns=any(has("reruns")), in_vain=any(has("in_vain")))
    return LayerView(torch.cat([view.output for view in views]), tail)


def _look_inside(encoder: nn.Module, layer: nn.Module, images: Tensor) -> LayerView:
    """The same of a batch that memory is enough for."""
    # tensors of inference mode do not tell whether they were changed in place
    with_grad = torch.is_grad_enabled()
    with torch.inference_mode(False), torch.set_grad_enabled(with_grad):
        found = _record(encoder, layer, images)
    if found.final_is_output:
        return LayerView(found.output, Tail(lambda outputs, _: outputs, is_affine=True))
    return LayerView(found.output, _cheapest_tail(encoder, layer, images, found))


def _cheapest_tail(encoder: nn.Module, layer: nn.Module, images: Tensor, found: _Record) -> Tail:
    if isinstance(encoder, SplitEncoder) and layer is encoder.features and isinstance(found.returned, Tensor):
        return Tail(lambda outputs, _: encoder.tail(outputs.clone()), is_affine(encoder.tail))
    tail = _traced_or_rerun(encoder, layer, images, found)
    if not isinstance(found.returned, Tensor) and not _depends_on_output(tail, found.output):
        raise ValueError(
            f"Expected the encoder to use the first tensor that the layer ({type(layer).__name__}) returns, which is what is explained, "
            "but its output does not depend on it. Pick a layer that returns one tensor, such as one before or after."
        )
    return tail


def _traced_or_rerun(encoder: nn.Module, layer: nn.Module, images: Tensor, found: _Record) -> Tail:
    returns = for_rows(found.returned, len(images))
    traced = traced_tail(encoder, layer, images, returns) if returns is not None else None
    if traced is not None and _reproduces(traced, found.output, found.final):
        return traced
    prefix = remembered(encoder, layer, images)
    if not _agree(_rerun(encoder, layer, images, prefix), _rerun(encoder, layer, images, {}), found.output):
        prefix = {}
    return Tail(_rerun(encoder, layer, images, prefix), reruns=True, in_vain=not prefix)


def _rerun(encoder: nn.Module, layer: nn.Module, images: Tensor, prefix: Prefix) -> Callable[[Tensor, int], object]:
    """Run the encoder on one image of the batch, with the layer's output replaced, and what came before it where that is remembered."""

    def run_tail(outputs: Tensor, example: int) -> object:
        with skipping(prefix, example, len(outputs)), replaced(layer, outputs):
            return encoder(images[example : example + 1].expand(len(outputs), *images.shape[1:]))

    return run_tail


def _reproduces(tail: Tail, output: Tensor, final: object) -> bool:
    """Whether the tail gives the encoder's own output, for a batch of another size: a traced graph can hold the size as a constant."""
    if not isinstance(final, Tensor):
        return False
    again, expected = _on_another_batch(lambda rows: (tail.run(output[rows], 0), final[rows]), 0, len(final))
    return _is_same(again, expected)


def _on_another_batch(run: Callable[[list[int]], tuple[object, object]], example: int, n_rows: int) -> tuple[object, object]:
    """Two outputs for a batch of one example, of another size; of a single row where memory is for no more, nothing if it fails."""
    try:
        return run([example] * (n_rows + 1))
    except Exception as error:  # the network's own code, on a batch of another size
        if not is_out_of_memory(error):
            return None, None
        if n_rows > 1:
            raise
    return run([example])


def _depends_on_output(tail: Tail, output: Tensor) -> bool:
    """Whether the encoder's output for the first example changes with the layer's."""
    with torch.no_grad():
        whole, none = (tail.run(rows, 0) for rows in (output[:1], torch.zeros_like(output[:1])))
    return not (isinstance(whole, Tensor) and isinstance(none, Tensor) and torch.equal(whole, none))


def _agree(one: Callable[[Tensor, int], object], other: Callable[[Tensor, int], object], output: Tensor) -> bool:
    """Whether two tails give the same for the last example with another output than its own, and a batch of another size."""
    last = len(output) - 1
    return _is_same(*_on_another_batch(lambda rows: (one(output[rows] / 2, last), other(output[rows] / 2, last)), last, len(output)))


def _is_same(found: object, expected: object) -> bool:
    """Whether two outputs of a network differ by no more than rounding."""
    if not isinstance(found, Tensor) or not isinstance(expected, Tensor) or found.shape != expected.shape:
        return False
    return bool((found - expected).abs().max() <= torch.finfo(expected.dtype).eps ** 0.5 * expected.abs().max())
