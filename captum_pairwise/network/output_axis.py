"""The axis of the channels in an output of a network: by the operations that made it, or by a second size of the images."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from captum_pairwise.network.channel_axis import ChannelTracker, compare_sizes


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
