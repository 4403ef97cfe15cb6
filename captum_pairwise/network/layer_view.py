"""An encoder seen from one of its layers: the layer's output, and the cheapest way to run what comes after it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from captum_pairwise.network.batching import Chunk, MemoryNotice, is_out_of_memory
from captum_pairwise.network.layer_outputs import get_first_tensor, make_packer, read_version
from captum_pairwise.network.layers import get_single_output, record_calls, replace_output
from captum_pairwise.network.prefix_cache import Prefix, record_prefix, skip_prefix
from captum_pairwise.network.tails import Tail, is_affine, trace_tail
from captum_pairwise.network.thread_hooks import this_thread_only


class SplitEncoder(nn.Module):
    """An encoder made of two parts, `tail(features(images))`.

    Layer methods for `encoder.features` run only `tail` for each coalition, also if the parts cannot be traced.

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
    """An encoder seen from one layer, for a batch of images: the layer's output `[batch, ...]`, and the tail after it."""

    output: Tensor
    tail: Tail


def record_output(encoder: nn.Module, layer: nn.Module, images: Tensor, notice: MemoryNotice | None = None) -> Tensor:
    """The layer's output for a batch, from one run of the encoder; from a run for each part of the batch if memory is too small.

    Args:
        encoder: the network.
        layer: a module of it.
        images: a batch.
        notice: the warning that memory ran out, which the chunks of one call share.

    Raises:
        ValueError: the layer did not run exactly once, or returned no tensor.
    """
    chunk = Chunk(max(1, len(images)), notice or MemoryNotice())
    return torch.cat(list(chunk.map_slices(lambda part: _record(encoder, layer, images[part]).output, len(images))))


@dataclass(frozen=True)
class _Record:
    """One forward pass of a batch.

    Attributes:
        encoder: the network.
        layer: a module of it.
        images: the batch.
        output: the first tensor that the layer returned.
        returned: everything that the layer returned.
        final: the output of the encoder.
        final_is_output: True if the encoder returns the layer's first tensor unchanged.
    """

    encoder: nn.Module
    layer: nn.Module
    images: Tensor
    output: Tensor
    returned: object
    final: Any
    final_is_output: bool


def _record(encoder: nn.Module, layer: nn.Module, images: Tensor) -> _Record:
    """Run the encoder once and record the output of the layer."""
    returns: list[tuple[object, int]] = []

    def hook(_module: nn.Module, _inputs: object, returned: object) -> None:
        returns.append((returned, read_version(get_first_tensor(returned))))

    with layer.register_forward_hook(this_thread_only(hook)), record_calls([layer]) as calls:
        final = encoder(images)
    output, (returned, version) = get_single_output(calls[0], layer), returns[0]
    final_is_output = final is get_first_tensor(returned) and read_version(final) == version
    return _Record(encoder, layer, images, output, returned, final, final_is_output)


def view_layer(encoder: nn.Module, layer: nn.Module, images: Tensor, notice: MemoryNotice | None = None) -> LayerView:
    """The layer's output and the cheapest tail that reproduces the encoder; arguments and errors as for `record_output`.

    The choices in order: no tail, if the encoder returns the layer's output; the tail of a `SplitEncoder`; the nodes after the layer in
    the encoder's `torch.fx` graph; the whole encoder with the layer's output replaced, without the modules that ran before the layer.
    """
    chunk = Chunk(max(1, len(images)), notice or MemoryNotice())
    views = list(chunk.map_slices(lambda part: _view_part(encoder, layer, images[part]), len(images)))
    return views[0] if len(views) == 1 else _join_views(views)


def _join_views(views: Sequence[LayerView]) -> LayerView:
    """The view of a batch, from the views of its parts in order."""
    places = [(view, example) for view in views for example in range(len(view.output))]
    tails = [view.tail for view in views]

    def run_tail(outputs: Tensor, example: int) -> object:
        view, place = places[example]
        return view.tail.run(outputs, place)

    is_affine, reruns = all(tail.is_affine for tail in tails), any(tail.reruns for tail in tails)
    tail = Tail(run_tail, is_affine, reruns, any(tail.reruns_prefix for tail in tails))
    return LayerView(torch.cat([view.output for view in views]), tail)


def _view_part(encoder: nn.Module, layer: nn.Module, images: Tensor) -> LayerView:
    """The view of a batch that fits into memory."""
    with_grad = torch.is_grad_enabled()
    with torch.inference_mode(False), torch.set_grad_enabled(with_grad):  # inference tensors do not count their in-place changes
        record = _record(encoder, layer, images)
    return LayerView(record.output, _choose_tail(record))


def _choose_tail(record: _Record) -> Tail:
    if record.final_is_output:
        return Tail(lambda outputs, _: outputs, is_affine=True)
    encoder, has_tensor = record.encoder, isinstance(record.returned, Tensor)
    if isinstance(encoder, SplitEncoder) and record.layer is encoder.features and has_tensor:
        return Tail(lambda outputs, _: encoder.tail(outputs.clone()), is_affine(encoder.tail))
    tail = _make_traced_tail(record) or _make_rerun_tail(record)
    if not has_tensor and not _depends_on_output(tail, record.output):
        raise ValueError(
            f"Expected the encoder to use the first tensor that the layer ({type(record.layer).__name__}) returns, but its output does not "
            "depend on it. Pick a layer that returns one tensor."
        )
    return tail


def _make_traced_tail(record: _Record) -> Tail | None:
    """The traced tail, if it reproduces the encoder for a batch of another size: a graph may hold the size as a constant."""
    pack = make_packer(record.returned, len(record.images)) if isinstance(record.final, Tensor) else None
    tail = None if pack is None else trace_tail(record.encoder, record.layer, record.images, pack)
    if tail is None or not _agree(lambda rows: tail.run(record.output[rows], 0), lambda rows: record.final[rows], 0, len(record.images)):
        return None
    return tail


def _make_rerun_tail(record: _Record) -> Tail:
    """The tail that runs the encoder again, and skips the modules before the layer if that changes nothing."""
    prefix, last = record_prefix(record.encoder, record.layer, record.images), len(record.images) - 1

    def run_halved(prefix: Prefix) -> Callable[[list[int]], object]:
        run = _make_rerun(record, prefix)
        return lambda rows: run(record.output[rows] / 2, last)  # another output than the layer's own

    if not _agree(run_halved(prefix), run_halved({}), last, len(record.images)):
        prefix = {}
    return Tail(_make_rerun(record, prefix), reruns=True, reruns_prefix=not prefix)


def _make_rerun(record: _Record, prefix: Prefix) -> Callable[[Tensor, int], object]:
    """The function that runs the encoder on copies of one image, with the layer's output replaced and the prefix skipped."""
    encoder, layer, images = record.encoder, record.layer, record.images  # the tail does not keep the outputs of the record

    def run_tail(outputs: Tensor, example: int) -> object:
        with skip_prefix(prefix, example, len(outputs)), replace_output(layer, outputs):
            return encoder(images[example : example + 1].expand(len(outputs), *images.shape[1:]))

    return run_tail


def _agree(first: Callable[[list[int]], object], second: Callable[[list[int]], object], example: int, n_rows: int) -> bool:
    """True if two functions of rows agree up to rounding, for copies of one example in a batch of another size.

    If memory is too small for that batch, one row is compared. False if a function fails.
    """
    try:
        return _is_close(*(run([example] * (n_rows + 1)) for run in (first, second)))
    except Exception as error:  # the network's own code, on a batch of another size
        if not is_out_of_memory(error):
            return False
        if n_rows > 1:
            raise
    return _is_close(first([example]), second([example]))


def _depends_on_output(tail: Tail, output: Tensor) -> bool:
    """True if the encoder's output for any example changes with the layer's output; a dead ReLU after it hides one change, not both."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.empty(output.shape, dtype=torch.float64, device="cpu").uniform_(-2, 2, generator=generator).to(output)
    size = output.abs().amax()
    changes = torch.zeros_like(output), output + noise * torch.where(size > 0, size, 1)
    with torch.no_grad():
        pairs = product(range(len(output)), changes)
        return any(not _is_equal(*(tail.run(rows[k : k + 1], k) for rows in (output, changed))) for k, changed in pairs)


def _is_equal(first: object, second: object) -> bool:
    return isinstance(first, Tensor) and isinstance(second, Tensor) and torch.equal(first, second)


def _is_close(actual: object, expected: object) -> bool:
    """True if two outputs of a network differ by rounding only."""
    if not isinstance(actual, Tensor) or not isinstance(expected, Tensor) or actual.shape != expected.shape:
        return False
    return bool((actual - expected).abs().max() <= torch.finfo(expected.dtype).eps ** 0.5 * expected.abs().max())
