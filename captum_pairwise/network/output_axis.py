"""The axis of the channels in an output of a network: by the operations that made it, or by a second size of the images."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captum_pairwise.network.channel_axis import ChannelTracker


def run_and_find_axis(encoder: nn.Module, images: Tensor) -> tuple[object, int | None]:
    """The output of an encoder for a batch, and the axis of its channels, or None if it is unknown."""
    with ChannelTracker() as tracker:
        output = encoder(images)
    return output, find_axis(tracker, output, encoder, images)


def find_axis(tracker: ChannelTracker, output: object, run: Callable[[Tensor], object], images: Tensor) -> int | None:
    """The axis of the channels in an output, or None if it is unknown.

    Args:
        tracker: the context in which the network ran.
        output: an output of the network.
        run: runs the network again for this output.
        images: the batch that the network ran on.
    """
    if not isinstance(output, Tensor) or output.dim() < 2:
        return None
    axis = 1 if output.dim() == 2 else tracker.get_axis(output)
    if axis is not None:
        return axis
    with torch.no_grad():
        return compare_sizes(run, images[:1])


def compare_sizes(run: Callable[[Tensor], Any], inputs: Tensor) -> int | None:
    """The only axis of an output, except the batch, that does not grow with larger inputs; None if there is none or the network fails.

    Args:
        run: maps inputs to the output.
        inputs: images `[B, C, H, W]`, signals `[B, C, T]`, volumes `[B, C, D, H, W]`, or token ids `[B, T]`.
    """
    if inputs.dim() == 2:
        larger = torch.cat([inputs, inputs], 1)
    elif inputs.is_floating_point() and 3 <= inputs.dim() <= 5:
        larger = F.interpolate(inputs, scale_factor=2)
    else:
        return None
    try:
        before, after = run(inputs).shape, run(larger).shape
    except Exception:  # a network of a fixed size raises anything
        return None
    if len(before) != len(after):
        return None
    fixed = [axis for axis in range(1, len(before)) if before[axis] == after[axis]]
    return fixed[0] if len(fixed) == 1 else None
