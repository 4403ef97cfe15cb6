"""An encoder seen from one of its layers: the layer's output, and the cheapest way to run what comes after it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from captum_pairwise.network.batching import Chunk, MemoryNotice, is_out_of_memory
from captum_pairwise.network.layer_outputs import get_first_tensor, make_packer
from captum_pairwise.network.layers import get_single_output, record_calls, replace_output
from captum_pairwise.network.prefix_cache import Prefix, record_prefix, skip_prefix
from captum_pairwise.network.tails import Tail, is_affine, traced_tail
from captum_pairwise.network.thread_hooks import this_thread_only


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


def record_output(encoder: nn.Module, layer: nn.Module, images: Tensor, notice: MemoryNotice | None = None) -> Tensor:
    """Run the encoder once for the layer's output; for parts of the batch, where memory is for no more.

    Args:
        encoder: the network.
        layer: a module of it.
        images: a batch.
        notice: the warning that memory ran out, which the chunks of one call share.

    Raises:
        ValueError: the layer did not run exactly once, or returned no tensor.
    """
    parts = _whole_batch(images, notice).map_slices(lambda part: _record(encoder, layer, images[part]).output, len(images))
    return torch.cat(list(parts))


def _whole_batch(images: Tensor, notice: MemoryNotice | None) -> Chunk:
    return Chunk(max(1, len(images)), notice or MemoryNotice())


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
        calls_seen.append((returned, _version(get_first_tensor(returned))))

    watch = layer.register_forward_hook(this_thread_only(see))
    try:
        with record_calls([layer]) as calls:
            final = encoder(images)
    finally:
        watch.remove()
    output, (returned, version) = get_single_output(calls[0], layer), calls_seen[0]
    return _Record(output, returned, final, final is get_first_tensor(returned) and _version(final) == version)


def _version(output: object) -> int:
    """How often a tensor was changed in place; -1 where nobody counts."""
    return output._version if isinstance(output, Tensor) and not output.is_inference() else -1


def view_layer(encoder: nn.Module, layer: nn.Module, images: Tensor, notice: MemoryNotice | None = None) -> LayerView:
    """See the encoder from `layer`, with the cheapest tail that reproduces it; arguments as for `record`.

    In this order: nothing at all, when the layer's output is the encoder's; the tail of a `SplitEncoder`; the nodes after the layer
    in the encoder's `torch.fx` graph; the encoder with the layer's output replaced, and without the modules that ran before it.
    """
    views = list(_whole_batch(images, notice).map_slices(lambda part: _look_inside(encoder, layer, images[part]), len(images)))
    return views[0] if len(views) == 1 else _joined(views)


def _joined(views: Sequence[LayerView]) -> LayerView:
    """The view of a batch from those of its parts, in order."""
    places = [(view, example) for view in views for example in range(len(view.output))]

    def run_tail(outputs: Tensor, example: int) -> object:
        view, place = places[example]
        return view.tail.run(outputs, place)

    def has(name: str) -> list[bool]:
        return [getattr(view.tail, name) for view in views]

    tail = Tail(run_tail, is_affine=all(has("is_affine")), reruns=any(has("reruns")), reruns_prefix=any(has("reruns_prefix")))
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
    returns = make_packer(found.returned, len(images))
    traced = traced_tail(encoder, layer, images, returns) if returns is not None else None
    if traced is not None and _reproduces(traced, found.output, found.final):
        return traced
    prefix = record_prefix(encoder, layer, images)
    if not _agree(_rerun(encoder, layer, images, prefix), _rerun(encoder, layer, images, {}), found.output):
        prefix = {}
    return Tail(_rerun(encoder, layer, images, prefix), reruns=True, reruns_prefix=not prefix)


def _rerun(encoder: nn.Module, layer: nn.Module, images: Tensor, prefix: Prefix) -> Callable[[Tensor, int], object]:
    """Run the encoder on one image of the batch, with the layer's output replaced, and what came before it where that is remembered."""

    def run_tail(outputs: Tensor, example: int) -> object:
        with skip_prefix(prefix, example, len(outputs)), replace_output(layer, outputs):
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
