"""Tensors as inputs of a network: their batch dimension, their kind, and the content that a picture shows."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from captum_pairwise.explanations.contents import Content, Photo
from captum_pairwise.models.backbones import ImageEncoder
from captum_pairwise.models.photo_encoder import PhotoEncoder
from captum_pairwise.network.layer_outputs import get_first_tensor
from captum_pairwise.visualization.input_kinds import KINDS, InputKind, Signal, check_input
from captum_pairwise.visualization.pixel_range import fit_colours, fit_grey
from captum_pairwise.visualization.sheets import choose_kind

COLOURS, GREY = 3, 1  # channels of photos
LARGEST_OVERSHOOT = 0.1  # of pixels in [0, 1], such as after a bicubic resize


def read_tensor(encoder: nn.Module | None, item: Tensor | InputKind, name: str) -> tuple[Tensor, Content]:
    """A batch of one for the network, and the content that it shows.

    A batch dimension is added where it is missing. Where the shape does not tell, the encoder does: the shape that it takes is right.

    Args:
        encoder: the encoder, or None for a function of both inputs.
        item: the tensor, or an object that says what it is.
        name: the name of the content, if it has none of its own.

    Raises:
        ValueError: the tensor holds no real numbers, is no single input of this network, or is normalised before an encoder that does so.
    """
    row, content = _read_kind(encoder, item, name)
    _refuse_normalised(encoder, row)
    return row, content


def _read_kind(encoder: nn.Module | None, item: Tensor | InputKind, name: str) -> tuple[Tensor, Content]:
    """As `read_tensor`, whatever the values."""
    if isinstance(item, KINDS):
        rows = _list_batches(item.tensor, item.n_axes + 2)
        accepted = _find_accepted(encoder, rows) if len(rows) > 1 else None
        row = rows[0] if accepted is None else accepted
        return row, replace(item, tensor=row, name=item.name or name)
    row = _add_batch(encoder, check_input(item))
    return row, _show_row(row, name)


def _refuse_normalised(encoder: nn.Module | None, row: Tensor) -> None:
    """Refuse pixels outside [0, 1] for an encoder that normalises them, which would be normalised twice.

    Raises:
        ValueError: there are some.
    """
    if not isinstance(encoder, (PhotoEncoder, ImageEncoder)) or not encoder.mean.any():
        return
    least, largest = (value.item() for value in row.aminmax())
    if least < -LARGEST_OVERSHOOT or largest > 1 + LARGEST_OVERSHOOT:
        raise ValueError(
            f"Expected pixels in [0, 1], because {type(encoder).__name__} normalises them itself, got values from {least:.3g} to "
            f"{largest:.3g}. Pass the photo, or its pixels before the normalisation."
        )


def _list_batches(tensor: Tensor, n_dims: int) -> list[Tensor]:
    """The batches of one that a tensor may stand for: the one with this number of dimensions first, then those with fewer."""
    rows = [row for row in (tensor[None, None], tensor[None], tensor) if len(row) == 1 and 2 <= row.dim() <= n_dims]
    return sorted(rows, key=lambda row: -row.dim())


def _find_accepted(encoder: nn.Module | None, rows: Sequence[Tensor]) -> Tensor | None:
    """The first of several batches of one that an encoder takes; None if it takes none, or if there is no encoder."""
    return next((row for row in rows if encoder is not None and _takes_row(encoder, row)), None)


@torch.no_grad()
def _takes_row(encoder: nn.Module, row: Tensor) -> bool:
    """True if an encoder maps a batch of one to one embedding."""
    try:
        output = get_first_tensor(encoder(move_to_weights(encoder, row)))
    except Exception:  # the user's own code, on a shape that it may not take
        return False
    return output is not None and output.dim() > 1 and len(output) == 1


def _add_batch(encoder: nn.Module | None, tensor: Tensor) -> Tensor:
    """A tensor of unknown kind as a batch of one.

    Raises:
        ValueError: it may be a batch of several, or a table of numbers.
    """
    shape = tuple(tensor.shape)
    if shape[:-2] in ((COLOURS,), (1, COLOURS)):
        return tensor.reshape(1, *shape[-3:])  # a photo
    usual = tensor[None] if len(shape) == 3 else tensor if len(shape) in (4, 5) and shape[0] == 1 else None
    others = [row for row in (tensor, tensor[None]) if row is not usual and len(row) == 1 and 3 <= row.dim() <= 5]
    rows = [row for row in (usual, *others) if row is not None]
    accepted = _find_accepted(encoder, rows) if len(rows) > 1 or usual is None else usual
    accepted = usual if accepted is None else accepted
    if accepted is not None:
        return accepted
    if len(shape) < 3:
        raise ValueError(
            f"Expected an image [3, H, W] or [1, H, W], got a tensor of shape {shape}. Pass a signal as "
            "cp.Signal(signal). For tables of numbers, call a method's class."
        )
    raise ValueError(
        f"Expected one image for each tensor, [3, H, W] or [1, 3, H, W], got shape {shape}. Explain pairs one by one; pass a volume as "
        "cp.Volume(volume), and a video as cp.Video(video)."
    )


def move_to_weights(encoder: nn.Module | None, batch: Tensor) -> Tensor:
    """A batch on the device and with the precision of an encoder's first weights."""
    weights = (parameter for parameter in encoder.parameters() if parameter.is_floating_point()) if encoder is not None else iter(())
    first = next(weights, None)
    return batch if first is None else batch.to(first)


def _show_row(row: Tensor, name: str) -> Content:
    """The content of a batch of one of unknown kind."""
    if row.dim() == 4 and row.shape[1] in (GREY, COLOURS):
        return show_photo_row(row, name)
    return Signal(row, name=name) if row.dim() == 3 else choose_kind(row, name)


def show_photo_row(row: Tensor, name: str) -> Photo:
    """The photo behind an input of the network: unchanged if it is in [0, 1], else its normalisation is undone."""
    pixels = fit_colours(row) if row.shape[1] == COLOURS else fit_grey(row).expand(-1, COLOURS, -1, -1)
    return Photo(pixels, name, (0, 0, row.shape[3], row.shape[2]))
