"""Games of an opaque forward function whose players are parts of layers' outputs: the whole function runs with the outputs replaced."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

import torch
from torch import Tensor, nn

from captum_pairwise._compat import run_forward
from captum_pairwise.games.context import ForwardContext, ForwardFunc
from captum_pairwise.games.joint_rows import run_example, slice_arguments
from captum_pairwise.games.sides import LayerOptions, Side
from captum_pairwise.network.agreement import is_close
from captum_pairwise.network.batching import Chunk
from captum_pairwise.network.channel_axis import ChannelTracker
from captum_pairwise.network.layers import get_single_output, record_calls, replace_output
from captum_pairwise.network.output_axis import find_axis
from captum_pairwise.network.proofs import make_two_examples, prove_once, refuse_dependence

Images = Sequence[Tensor]
Calls = list[list[object]]  # the outputs of all calls of each layer


@dataclass(frozen=True)
class Slot:
    """The output of one image in a forward pass of a joint function.

    Attributes:
        layer: the layer that returns it.
        call: the number of the call of this layer: 0, or 1 for the second image of a layer that runs once for each image.
        n_calls: the number of calls of this layer in a forward pass.
        channel_axis: the axis of its channels, or None if it is unknown.
    """

    layer: nn.Module
    call: int = 0
    n_calls: int = 1
    channel_axis: int | None = None

    def select(self, calls: Sequence[object]) -> Tensor:
        """The output of this slot, from the outputs of all calls of the layer."""
        return get_single_output(list(calls) if len(calls) != self.n_calls else [calls[self.call]], self.layer)


def replace_outputs(
    forward_func: ForwardFunc, layers: list[nn.Module], images: Images, options: Sequence[LayerOptions], context: ForwardContext
) -> tuple[list[Side], Callable[..., object]]:
    """The sides whose values are the layers' outputs, and the function that runs the whole forward function with outputs replaced.

    Raises:
        ValueError: the layers do not return one output for each image, which depends on this image alone.
    """
    slots = _prove_slots(forward_func, layers, images, context)
    outputs = _record_outputs(forward_func, slots, images, context)

    def record(side: int, baseline: Tensor) -> Tensor:
        return _record_outputs(forward_func, slots, (*images[:side], baseline, *images[side + 1 :]), context)[side]

    def evaluate(*mixed: Tensor, example: int) -> object:
        rows = [image[example : example + 1].expand(len(mixed[0]), *image.shape[1:]) for image in images]
        with ExitStack() as hooks:
            for slot, output in zip(slots, mixed, strict=True):
                hooks.enter_context(replace_output(slot.layer, output, slot.call if slot.n_calls > 1 else None))
            return run_example(forward_func, context, *rows, example=example)

    sides = []
    for k, (slot, output) in enumerate(zip(slots, outputs, strict=True)):
        axis = options[k].get_channel_axis(output, slot.channel_axis)
        sides.append(options[k].make_side(output, axis, images[k], partial(record, k)))
    return sides, evaluate


def _record_outputs(forward_func: ForwardFunc, slots: Sequence[Slot], images: Images, context: ForwardContext) -> list[Tensor]:
    """The output of each slot for a batch, or for parts of it if memory runs out, one row per example."""

    def run(part: slice) -> list[Tensor]:
        target, arguments = slice_arguments(context, part)
        with record_calls([slot.layer for slot in slots]) as calls:
            run_forward(forward_func, tuple(batch[part] for batch in images), target, arguments)
        return [slot.select(outputs) for slot, outputs in zip(slots, calls, strict=True)]

    parts = Chunk(len(images[0]), context.notice).map_slices(run, len(images[0]))
    return [torch.cat(outputs) for outputs in zip(*parts, strict=True)]


def _prove_slots(forward_func: ForwardFunc, layers: list[nn.Module], images: Images, context: ForwardContext) -> list[Slot]:
    """The slot of each image, found once for a function and its layers."""
    key = (tuple(map(id, layers)), tuple((batch.dim(), batch.dtype, batch.device) for batch in images))
    find = partial(_find_slots, forward_func, layers, images, context)
    return find() if context.additional_forward_args is not None else prove_once(forward_func, key, find)


@dataclass(frozen=True)
class _Recorder:
    """Runs the forward function on rows of the first example, and records the outputs of all calls of the layers."""

    forward_func: ForwardFunc
    layers: Sequence[nn.Module]
    context: ForwardContext

    def run(self, *rows: Tensor) -> Calls:
        """The outputs for all rows, or for parts of them if memory runs out."""
        parts = list(Chunk(len(rows[0]), self.context.notice).map_slices(partial(self._run_part, rows), len(rows[0])))
        return parts[0] if len(parts) == 1 else _join_calls(parts)

    def _run_part(self, rows: Images, part: slice) -> Calls:
        with record_calls(self.layers, copies=False) as calls:
            run_example(self.forward_func, self.context, *(batch[part] for batch in rows), example=0)
        return calls


def _join_calls(parts: Sequence[Calls]) -> Calls:
    """The outputs of each call of each layer for a batch, from the outputs for its parts in order."""
    return [
        [torch.cat([output for output in outputs if isinstance(output, Tensor)]) for outputs in zip(*calls, strict=True)]
        for calls in zip(*parts, strict=True)
    ]


@torch.no_grad()
def _find_slots(forward_func: ForwardFunc, layers: list[nn.Module], images: Images, context: ForwardContext) -> list[Slot]:
    """The slots for the first example, and for this example with one image changed."""
    single, layer_of_image = [batch[:1] for batch in images], layers * (len(images) // len(layers))
    recorder = _Recorder(forward_func, layer_of_image, context)
    with ChannelTracker() as tracker:
        calls = recorder.run(*single)
    if len(layers) < len(images) and len(calls[0]) == 1:
        raise ValueError(
            "Expected a pair (query layer, retrieved layer), because the forward function is no SimilarityWrapper, got one layer that runs "
            "once. If one encoder embeds both images, pass `SimilarityWrapper(encoder)` instead."
        )
    changes = [recorder.run(*_change_image(images, k)) for k in range(len(images))]
    slots = _order_slots(_assign_calls(layer_of_image, calls), changes)
    _refuse_row_per_image(slots, changes)
    outputs, pair = _select_outputs(slots, calls), _select_outputs(slots, changes[0])
    refuse_dependence(outputs, pair, lambda: _select_outputs(slots, recorder.run(*single)))
    _refuse_common_pass(slots, changes)  # after randomness, which looks like a dependence on the other image

    def run_slot(k: int, rows: Tensor) -> Tensor:
        return slots[k].select(recorder.run(*single[:k], rows, *single[k + 1 :])[k])

    axes = [find_axis(tracker, output, partial(run_slot, k), single[k]) for k, output in enumerate(outputs.values())]
    return [replace(slot, channel_axis=axis) for slot, axis in zip(slots, axes, strict=True)]


def _assign_calls(layers: Sequence[nn.Module], calls: Calls) -> list[Slot]:
    """The call of each layer that belongs to each image; a layer that is named for both has to run twice."""
    if len(layers) == 2 and layers[0] is layers[1] and len(calls[0]) != 1:
        slots = [Slot(layers[0], 0, 2), Slot(layers[0], 1, 2)]
    else:
        slots = [Slot(layer) for layer in layers]
    for slot, outputs in zip(slots, calls, strict=True):
        slot.select(outputs)
    return slots


def _change_image(images: Images, changed: int) -> list[Tensor]:
    """A batch of the first example, and of the same example with one image changed."""
    return [make_two_examples(batch) if k == changed else batch[:1].expand(2, *batch.shape[1:]) for k, batch in enumerate(images)]


def _order_slots(slots: list[Slot], changes: Sequence[Calls]) -> list[Slot]:
    """The slots in the order of the images: the second call of a layer may be the query's."""
    if len(slots) == 2 and slots[0].layer is slots[1].layer and slots[0].n_calls == 2 and _depends(slots[1], changes[0][1]):
        return slots[::-1]
    return slots


def _depends(slot: Slot, outputs: Sequence[object]) -> bool:
    """True if the output differs between the two examples of a batch."""
    output = slot.select(outputs)
    return len(output) == 2 and not is_close(output[0], output[1])


def _refuse_row_per_image(slots: Sequence[Slot], changes: Sequence[Calls]) -> None:
    """Refuse an output with another number of rows than pairs."""
    for calls, (k, slot) in product(changes, enumerate(slots)):
        name, output = type(slot.layer).__name__, slot.select(calls[k])
        if len(output) != 2:
            raise ValueError(
                f"Expected the layer ({name}) to return one row per pair, got shape {tuple(output.shape)} for 2 pairs. If it gets both "
                "images as one batch, pass `SimilarityWrapper(encoder)` instead."
            )


def _refuse_common_pass(slots: Sequence[Slot], changes: Sequence[Calls]) -> None:
    """Refuse an output that depends on both images."""
    for changed, (k, slot) in product(range(len(slots)), enumerate(slots)):
        if changed != k and _depends(slot, changes[changed][k]):
            raise ValueError(
                f"Expected a layer that sees one image, but both run through the layer ({type(slot.layer).__name__}) in one call, so no "
                "part of its output belongs to one of them. Name layers before the images meet, or explain presences, `f(zq, zr)`, without "
                "a layer."
            )


def _select_outputs(slots: Sequence[Slot], calls: Calls) -> dict[str, object]:
    """The output of each slot by a name for error messages."""
    return {f"the {k + 1}. layer ({type(slot.layer).__name__})": slot.select(calls[k]) for k, slot in enumerate(slots)}
