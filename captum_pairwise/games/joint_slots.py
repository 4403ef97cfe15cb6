"""Proofs about a function `f(query, retrieved)`, and the calls of its layers that belong to each image."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

import torch
from torch import Tensor, nn

from captum_pairwise.games.checks import check_values
from captum_pairwise.games.context import ForwardContext, ForwardFunc
from captum_pairwise.games.joint_rows import run_example
from captum_pairwise.network.agreement import is_close
from captum_pairwise.network.autocast import disable_autocast
from captum_pairwise.network.batching import Chunk
from captum_pairwise.network.channel_axis import ChannelTracker
from captum_pairwise.network.layers import get_single_output, record_calls
from captum_pairwise.network.output_axis import find_axis
from captum_pairwise.network.proofs import describe_kind, make_two_examples, prove_once, refuse_dependence

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


@dataclass(frozen=True)
class _Pass:
    """A forward pass: the outputs of all calls of each layer, and the values of the function."""

    calls: Calls
    values: object

    def name_outputs(self, slots: Sequence[Slot]) -> dict[str, object]:
        """The values, and the output of each slot, by a name for error messages."""
        outputs: dict[str, object] = {
            f"the {k + 1}. layer ({type(slot.layer).__name__})": slot.select(self.calls[k]) for k, slot in enumerate(slots)
        }
        return {"the forward function": self.values, **outputs}


@dataclass(frozen=True)
class _Recorder:
    """Runs the forward function on rows of the first example."""

    forward_func: ForwardFunc
    layers: Sequence[nn.Module]
    context: ForwardContext

    def run(self, rows: Images) -> _Pass:
        """The pass of all rows, or of parts of them if memory runs out."""
        parts = list(Chunk(len(rows[0]), self.context.notice).map_slices(partial(self._run_part, rows), len(rows[0])))
        if len(parts) == 1:
            return parts[0]
        calls_of_layers = zip(*(part.calls for part in parts), strict=True)
        calls: Calls = [[_join(outputs) for outputs in zip(*layer, strict=True)] for layer in calls_of_layers]
        return _Pass(calls, _join([part.values for part in parts]))

    def _run_part(self, rows: Images, part: slice) -> _Pass:
        with record_calls(self.layers, copies=False) as calls:
            values = run_example(self.forward_func, self.context, *(batch[part] for batch in rows), example=0)
        return _Pass(calls, values)


def _join(outputs: Sequence[object]) -> Tensor:
    return torch.cat([output for output in outputs if isinstance(output, Tensor)])


def prove_joint(forward_func: ForwardFunc, layers: list[nn.Module], images: Images, context: ForwardContext) -> list[Slot]:
    """The slot of each image. A network is proven once in each of its states, any other function in each call.

    Args:
        forward_func: the function.
        layers: a layer for each image, one for all, or none.
        images: the batches of images.
        context: the target and the other arguments of the function. With other arguments, it is proven in each call.

    Raises:
        ValueError: the function draws at random or mixes the pairs of a batch, or a layer does not return one output for each image, which
            depends on this image alone.
    """
    find = partial(_find_slots, forward_func, layers, images, context)
    if context.additional_forward_args is not None:
        return find()
    return prove_once(forward_func, (*map(id, layers), *map(describe_kind, images)), find)


@torch.no_grad()
def _find_slots(forward_func: ForwardFunc, layers: list[nn.Module], images: Images, context: ForwardContext) -> list[Slot]:
    """The slots, from a pass of the first example alone, and a pass together with its variants."""
    single, layer_of_image = [batch[:1] for batch in images], layers * (len(images) // len(layers)) if layers else []
    recorder = _Recorder(forward_func, layer_of_image, context)
    with ChannelTracker() as tracker:
        alone = recorder.run(single)
    if not isinstance(alone.values, Tensor) or alone.values.dim() == 0:  # one number for the whole batch
        check_values(alone.values, 1)
    if len(layers) == 1 < len(images) and len(alone.calls[0]) == 1:
        raise ValueError(
            "Expected a pair (query layer, retrieved layer), because the forward function is no SimilarityWrapper, got one layer that runs "
            "once. If one encoder embeds both images, pass `SimilarityWrapper(encoder)` instead."
        )
    variants = recorder.run(_make_variants(images))
    slots = _order_slots(_assign_calls(layer_of_image, alone.calls), variants.calls)
    _refuse_row_per_image(slots, variants.calls, len(images) + 1)
    outputs = alone.name_outputs(slots)
    refuse_dependence(outputs, variants.name_outputs(slots), lambda: recorder.run(single).name_outputs(slots))
    _refuse_common_pass(slots, variants.calls)  # after randomness, which looks like a dependence on the other image

    def run_slot(k: int, rows: Tensor) -> Tensor:
        return slots[k].select(recorder.run([*single[:k], rows, *single[k + 1 :]]).calls[k])

    axes = [find_axis(tracker, slot.select(alone.calls[k]), partial(run_slot, k), single[k]) for k, slot in enumerate(slots)]
    return [replace(slot, channel_axis=axis) for slot, axis in zip(slots, axes, strict=True)]


@disable_autocast()
def _make_variants(images: Images) -> list[Tensor]:
    """The first example, and its variants: in row `k + 1`, image `k` is another one."""
    pairs, rows = map(make_two_examples, images), range(len(images) + 1)
    return [torch.cat([pair[1:] if row == k + 1 else pair[:1] for row in rows]) for k, pair in enumerate(pairs)]


def _assign_calls(layers: Sequence[nn.Module], calls: Calls) -> list[Slot]:
    """The call of each layer that belongs to each image; a layer that is named for both has to run twice."""
    if len(layers) == 2 and layers[0] is layers[1] and len(calls[0]) != 1:
        slots = [Slot(layers[0], 0, 2), Slot(layers[0], 1, 2)]
    else:
        slots = [Slot(layer) for layer in layers]
    for slot, outputs in zip(slots, calls, strict=True):
        slot.select(outputs)
    return slots


def _order_slots(slots: list[Slot], calls: Calls) -> list[Slot]:
    """The slots in the order of the images: the second call of a layer may belong to the query."""
    if len(slots) == 2 and slots[0].n_calls == 2 and _depends(slots[1].select(calls[1]), 0):
        return slots[::-1]
    return slots


def _depends(output: Tensor, image: int) -> bool:
    """True if the output for the variants depends on an image."""
    return len(output) > image + 1 and not is_close(output[0], output[image + 1])


def _refuse_row_per_image(slots: Sequence[Slot], calls: Calls, n_rows: int) -> None:
    """Refuse an output with another number of rows than pairs."""
    for slot, outputs in zip(slots, calls, strict=True):
        output = slot.select(outputs)
        if len(output) != n_rows:
            raise ValueError(
                f"Expected the layer ({type(slot.layer).__name__}) to return one row per pair, got shape {tuple(output.shape)} for "
                f"{n_rows} pairs. If it gets both images as one batch, pass `SimilarityWrapper(encoder)` instead."
            )


def _refuse_common_pass(slots: Sequence[Slot], calls: Calls) -> None:
    """Refuse an output that depends on both images."""
    for (k, slot), other in product(enumerate(slots), range(len(slots))):
        if other != k and _depends(slot.select(calls[k]), other):
            raise ValueError(
                f"Expected a layer that sees one image, but both run through the layer ({type(slot.layer).__name__}) in one call. Name "
                "layers before the images meet. Or explain a function of the presences of parts, `f(zq, zr)`, by a method without a layer."
            )
