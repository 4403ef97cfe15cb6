"""Read photos and sentences: the batch for the network, and the contents that a picture shows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from captum_pairwise.explanations.contents import Content, Photo, Sentence
from captum_pairwise.explanations.preprocessing import Preprocessing, Transform, find_preprocessing
from captum_pairwise.explanations.tensor_inputs import move_to_weights, read_tensor, show_photo_row
from captum_pairwise.files.images import read_rgb
from captum_pairwise.models.backbones import make_pixels
from captum_pairwise.models.words.token_encoder import TokenEncoder
from captum_pairwise.visualization.input_kinds import KINDS, Picture

LARGEST_SHOWN = 1024  # pixels of the longer side


@dataclass(frozen=True)
class Inputs:
    """The inputs of one side.

    Attributes:
        batch: the input of the network, one row for each item.
        contents: what each row shows.
        description: in words, how the items became inputs; may be empty.
    """

    batch: Tensor
    contents: tuple[Content, ...]
    description: str = ""


def read_inputs(encoder: nn.Module | None, items: Sequence[object], names: Sequence[str], transform: Transform | None) -> Inputs:
    """The inputs for an encoder.

    Args:
        encoder: the encoder, or None for a function of both inputs.
        items: photos (files, Pillow images, arrays), inputs of the network (tensors, or objects such as `cp.Volume` that name their kind),
            or sentences for an encoder of text.
        names: a name for each item that is no file.
        transform: maps a photo to the encoder's input; None takes what the encoder names.

    Raises:
        ValueError: an item cannot be read, or the inputs have different sizes.
    """
    if isinstance(encoder, TokenEncoder):
        return _read_sentences(encoder, items)
    n_tensors = sum(isinstance(item, (Tensor, *KINDS)) for item in items)
    if 0 < n_tensors < len(items):
        raise ValueError("Expected either photos or tensors on one side, got both. Pass all of them as photos, or all as tensors.")
    inputs = _take_tensors(encoder, items, names) if n_tensors else _read_photos(find_preprocessing(encoder, transform), items, names)
    return replace(inputs, batch=move_to_weights(encoder, inputs.batch))


def read_gallery(encoder: nn.Module | None, items: Sequence[object], transform: Transform | None) -> Tensor:
    """The inputs of images that no picture shows, such as those of a gallery; one photo at a time is in memory.

    Raises:
        ValueError: as for `read_inputs`.
    """
    names = [f"item {number}" for number in range(len(items))]
    if isinstance(encoder, TokenEncoder) or any(isinstance(item, (Tensor, *KINDS)) for item in items):
        return read_inputs(encoder, items, names, transform).batch
    preprocessing = find_preprocessing(encoder, transform)
    return move_to_weights(encoder, _join_rows([preprocessing.make_input(_open_photo(item)) for item in items]))


def _open_photo(item: object) -> Image.Image:
    if not isinstance(item, (str, Path, Image.Image, np.ndarray)):
        raise ValueError(
            f"Expected a photo (a file, a Pillow image, an array of bytes or a tensor), got {type(item).__name__}. Pass one of these."
        )
    return read_rgb(item)


def _read_sentences(encoder: TokenEncoder, items: Sequence[object]) -> Inputs:
    sentences = [item for item in items if isinstance(item, str)]
    if len(sentences) < len(items):
        raise ValueError(f"Expected sentences, because {type(encoder).__name__} reads text, got {_name_other_type(items)}. Pass strings.")
    contents = tuple(Sentence(tuple(tokens), text) for tokens, text in zip(encoder.spell(sentences), sentences, strict=True))
    return Inputs(encoder.ids(sentences), contents, encoder.description)


def _name_other_type(items: Sequence[object]) -> str:
    """The type of the first item that is no string."""
    return next(type(item).__name__ for item in items if not isinstance(item, str))


def _take_tensors(encoder: nn.Module | None, items: Sequence[object], names: Sequence[str]) -> Inputs:
    """Tensors as they are: they are inputs of the network."""
    tensors = [item for item in items if isinstance(item, (Tensor, *KINDS))]
    rows, contents = zip(*(read_tensor(encoder, item, name) for item, name in zip(tensors, names, strict=True)), strict=True)
    return Inputs(_join_rows(rows), contents, _describe_picture(contents[0]))


def _describe_picture(content: Content) -> str:
    """The channels that a picture shows, if these are not all."""
    if not isinstance(content, Picture) or content.shown is not None or content.tensor.shape[1] <= 3:
        return ""
    return f"pictures show the mean of {content.tensor.shape[1]} channels (cp.Picture(image, shown=image[[3, 2, 1]]) shows three of them)"


def _read_photos(preprocessing: Preprocessing, items: Sequence[object], names: Sequence[str]) -> Inputs:
    photos = list(map(_open_photo, items))
    named = [Path(item).name if isinstance(item, (str, Path)) else name for item, name in zip(items, names, strict=True)]
    rows = [preprocessing.make_input(photo) for photo in photos]
    contents = tuple(_show_photo(preprocessing, *entry) for entry in zip(photos, rows, named, strict=True))
    return Inputs(_join_rows(rows), contents, preprocessing.description)


def _show_photo(preprocessing: Preprocessing, photo: Image.Image, row: Tensor, name: str) -> Photo:
    """The photo in its own pixels, cut to what the network sees; where that is unknown, the input of the network."""
    view = preprocessing.find_view(photo)
    if view is None:
        return show_photo_row(row, name)
    left, top, right, bottom = map(round, view)
    shown = photo.crop((left, top, right, bottom))
    shown.thumbnail((LARGEST_SHOWN, LARGEST_SHOWN), Image.Resampling.LANCZOS)
    return Photo(make_pixels(shown), name, view)


def _join_rows(rows: Sequence[Tensor]) -> Tensor:
    """One batch.

    Raises:
        ValueError: the rows have different sizes.
    """
    if shapes := {tuple(row.shape) for row in rows} - {tuple(rows[0].shape)}:
        raise ValueError(f"Expected inputs of one size, got {tuple(rows[0].shape)} and {shapes.pop()}. Resize them in `transform`.")
    return torch.cat(list(rows))
