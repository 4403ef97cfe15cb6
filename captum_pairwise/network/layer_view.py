"""An encoder seen from one of its layers: the layer's output, and the cheapest way to run what comes after it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captum_pairwise.network.agreement import is_close
from captum_pairwise.network.autocast import disable_autocast
from captum_pairwise.network.batching import Chunk, MemoryNotice, is_out_of_memory
from captum_pairwise.network.layer_outputs import get_first_tensor, make_packer, read_version
from captum_pairwise.network.layers import get_single_output, record_calls, replace_output
from captum_pairwise.network.prefix_cache import Prefix, record_prefix, skip_prefix
from captum_pairwise.network.proofs import Proof, prove_encoder
from captum_pairwise.network.tails import Tail, is_affine, trace_tail
from captum_pairwise.network.thread_hooks import this_thread_only


class SplitEncoder(nn.Module):
    """An encoder made of two parts, `tail(features(images))`.

    Layer methods for `encoder.features` run only `tail` for each coalition, also if the parts cannot be traced.

    Args:
        features: maps images to the layer's output.
        tail: maps the layer's output to embeddings or to a map.

    >>> encoder = SplitEncoder(nn.Conv2d(3, 8, 3, stride=2), nn.Flatten())
    >>> encoder.features(torch.rand(1, 3, 9, 9)).shape, encoder(torch.rand(1, 3, 9, 9)).shape
    (torch.Size([1, 8, 4, 4]), torch.Size([1, 128]))
    """

    def __init__(self, features: nn.Module, tail: nn.Module) -> None:
        super().__init__()
        self.features, self.tail = features, tail

    def forward(self, images: Tensor) -> Tensor:
        """Encode a batch."""
        return self.tail(self.features(images))


@dataclass(frozen=True)
class LayerView:
    """An encoder seen from one layer, for a batch of images: the layer's output `[batch, ...]`, the tail after it, and their proof."""

    output: Tensor
    tail: Tail
    proof: Proof


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


def view_layer(
    encoder: nn.Module,
    layer: nn.Module,
    images: Tensor,
    notice: MemoryNotice | None = None,
    is_stochastic: bool = False,
    needs_norm: bool = True,
) -> LayerView:
    """The layer's output and the cheapest tail that reproduces the encoder; arguments and errors as for `record_output`, `prove_encoder`.

    The choices in order: no tail, if the encoder returns the layer's output; the tail of a `SplitEncoder`; the nodes after the layer in
    the encoder's `torch.fx` graph; the whole encoder with the layer's output replaced, without the modules that ran before the layer.
    If only the direction of an embedding counts, as under cosine similarity, a last normalisation is left out where the rest is affine.
    """
    proof = prove_encoder(encoder, layer, images, is_stochastic)
    chunk = Chunk(max(1, len(images)), notice or MemoryNotice())
    views = list(chunk.map_slices(lambda part: _view_part(encoder, layer, images[part], proof, needs_norm), len(images)))
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
    return LayerView(torch.cat([view.output for view in views]), tail, views[0].proof)


def _view_part(encoder: nn.Module, layer: nn.Module, images: Tensor, proof: Proof, needs_norm: bool) -> LayerView:
    """The view of a batch that fits into memory."""
    with_grad = torch.is_grad_enabled()
    with torch.inference_mode(False), torch.set_grad_enabled(with_grad):  # inference tensors do not count their in-place changes
        record = _record(encoder, layer, images)
        tail = _choose_tail(record, proof)
        proof.has_exact_tail = True
        if not needs_norm and not tail.is_affine:
            tail = _drop_normalisation(record, tail) or tail
        if tail.is_affine and proof.acts_affine is None:
            proof.acts_affine = _acts_affine(tail, record.output)
        tail = replace(tail, is_affine=tail.is_affine and bool(proof.acts_affine))
    return LayerView(record.output, tail, proof)


def _choose_tail(record: _Record, proof: Proof) -> Tail:
    if record.final_is_output:
        return Tail(lambda outputs, _: outputs, is_affine=True)
    encoder, has_tensor = record.encoder, isinstance(record.returned, Tensor)
    if isinstance(encoder, SplitEncoder) and record.layer is encoder.features and has_tensor:
        tail = Tail(lambda outputs, _: encoder.tail(outputs.clone()), is_affine(encoder.tail))
        traced = None if tail.is_affine else _trace_record(record)
        return tail if traced is None else replace(tail, shorter=traced.shorter)
    tail = _make_traced_tail(record, proof) or _make_rerun_tail(record, proof)
    if not has_tensor and not _depends_on_output(tail, record.output):
        raise ValueError(
            f"Expected the encoder to use the first tensor that the layer ({type(record.layer).__name__}) returns, but its output does not "
            "depend on it. Pick a layer that returns one tensor."
        )
    return tail


def _make_traced_tail(record: _Record, proof: Proof) -> Tail | None:
    """The traced tail, if it reproduces the encoder for a batch of another size: a graph may hold the size as a constant.

    Once a model it is also compared with the whole encoder on other outputs of the layer.
    """
    tail = _trace_record(record)
    if tail is None or not _agree(lambda rows: tail.run(record.output[rows], 0), lambda rows: record.final[rows], 0, len(record.images)):
        return None
    return tail if proof.has_exact_tail or _agree_on_coalitions(record, tail.run, _make_rerun(record, {})) else None


def _trace_record(record: _Record) -> Tail | None:
    """The traced tail, or None if there is none."""
    pack = make_packer(record.returned, len(record.images)) if isinstance(record.final, Tensor) else None
    return None if pack is None else trace_tail(record.encoder, record.layer, record.images, pack)


def _drop_normalisation(record: _Record, tail: Tail) -> Tail | None:
    """The affine tail whose results have the directions of another tail's results; None if there is none.

    The last steps of the graph that scale their input are left out, as many as possible.
    """
    if not isinstance(record.final, Tensor) or record.final.dim() != 2:
        return None  # the norms of the positions of a map are weights of their mean
    affine = [cut for cut in reversed(tail.shorter) if cut.is_affine]
    return next((cut for cut in affine if _agree_on_coalitions(record, _normalise_result(cut), _normalise_result(tail))), None)


def _normalise_result(tail: Tail) -> Callable[[Tensor, int], object]:
    """The directions of the results of a tail."""

    def run_tail(outputs: Tensor, example: int) -> object:
        result = tail.run(outputs, example)
        return F.normalize(result, dim=1) if isinstance(result, Tensor) else result

    return run_tail


def _make_rerun_tail(record: _Record, proof: Proof) -> Tail:
    """The tail that runs the encoder again, and skips the modules before the layer if that changes nothing."""
    prefix = record_prefix(record.encoder, record.layer, record.images)
    if not _agree_on_coalitions(record, _make_rerun(record, prefix), _make_rerun(record, {})):
        prefix = {}
    return Tail(_make_rerun(record, prefix), reruns=True, reruns_prefix=not prefix)


def _make_rerun(record: _Record, prefix: Prefix) -> Callable[[Tensor, int], object]:
    """The function that runs the encoder on copies of one image, with the layer's output replaced and the prefix skipped."""
    encoder, layer, images = record.encoder, record.layer, record.images  # the tail does not keep the outputs of the record

    def run_tail(outputs: Tensor, example: int) -> object:
        with skip_prefix(prefix, example, len(outputs)), replace_output(layer, outputs):
            return encoder(images[example : example + 1].expand(len(outputs), *images.shape[1:]))

    return run_tail


def _agree_on_coalitions(record: _Record, first: Callable[[Tensor, int], object], second: Callable[[Tensor, int], object]) -> bool:
    """True if two tails agree on the last example, half present, and with every second number of the layer's output absent."""
    last, n_rows = len(record.images) - 1, len(record.images)

    def run_changed(tail: Callable[[Tensor, int], object]) -> Callable[[list[int]], object]:
        return lambda rows: tail(_take_away(record.output[rows]), last)

    return _agree(run_changed(first), run_changed(second), last, n_rows)


@disable_autocast()
def _take_away(rows: Tensor) -> Tensor:
    """Equal rows, by turns halved, and with every second number set to 0."""
    alternating = (torch.arange(rows[0].numel(), device=rows.device) % 2).reshape(rows.shape[1:]).to(rows)
    return torch.stack([row * (alternating if k % 2 else 0.5) for k, row in enumerate(rows)])


def _acts_affine(tail: Tail, output: Tensor) -> bool:
    """True if the tail's result between two outputs of the layer lies between its results: the types of modules are no evidence."""
    with disable_autocast():
        ends = torch.cat([output[:1], _draw_other(output)[:1]])
        rows = torch.cat([ends, torch.lerp(ends[:1], ends[1:], 0.25)])
    with torch.no_grad():
        result = tail.run(rows, 0)
    return isinstance(result, Tensor) and is_close(result[2], torch.lerp(result[0], result[1], 0.25))


def _draw_other(output: Tensor) -> Tensor:
    """Another output of the layer, of the same size and with both signs."""
    generator, size = torch.Generator().manual_seed(0), output.abs().amax()
    noise = torch.empty(output.shape, dtype=torch.float64, device="cpu").uniform_(-2, 2, generator=generator).to(output)
    return output + noise * torch.where(size > 0, size, 1)


def _agree(first: Callable[[list[int]], object], second: Callable[[list[int]], object], example: int, n_rows: int) -> bool:
    """True if two functions of rows agree up to rounding, for copies of one example in a batch of another size.

    If memory is too small for that batch, one row is compared. False if a function fails.
    """
    try:
        rows = [example] * (n_rows + 1)
        return is_close(first(rows), second(rows))
    except Exception as error:  # the network's own code, on a batch of another size
        if not is_out_of_memory(error):
            return False
        if n_rows > 1:
            raise
    return is_close(first([example]), second([example]))


def _depends_on_output(tail: Tail, output: Tensor) -> bool:
    """True if the encoder's output for any example changes with the layer's output; a dead ReLU after it hides one change, not both."""
    changes = torch.zeros_like(output), _draw_other(output)
    with torch.no_grad():
        pairs = product(range(len(output)), changes)
        return any(not _is_equal(*(tail.run(rows[k : k + 1], k) for rows in (output, changed))) for k, changed in pairs)


def _is_equal(first: object, second: object) -> bool:
    return isinstance(first, Tensor) and isinstance(second, Tensor) and torch.equal(first, second)
