"""Games of an opaque forward function whose players are parts of layers' outputs: the whole function runs with the outputs replaced."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

import torch
from torch import Tensor, nn

from captum_pairwise._compat import run_forward
from captum_pairwise.games.context import ForwardContext, ForwardFunc
from captum_pairwise.games.joint_rows import run_example, slice_arguments
from captum_pairwise.games.joint_slots import Images, Slot, prove_joint
from captum_pairwise.games.sides import LayerOptions, Side
from captum_pairwise.network.batching import Chunk
from captum_pairwise.network.layers import record_calls, replace_output


def replace_outputs(
    forward_func: ForwardFunc, layers: list[nn.Module], images: Images, options: Sequence[LayerOptions], context: ForwardContext
) -> tuple[list[Side], Callable[..., object]]:
    """The sides whose values are the layers' outputs, and the function that runs the whole forward function with outputs replaced.

    Raises:
        ValueError: as for `prove_joint`.
    """
    slots = prove_joint(forward_func, layers, images, context)
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
