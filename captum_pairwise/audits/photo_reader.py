"""Photos of a search as inputs of the network."""

from dataclasses import dataclass
from functools import cached_property
from math import ceil, sqrt
from pathlib import Path
from typing import final

from PIL import Image
from torch import Tensor, nn

from captum_pairwise.explanations.contents import Box
from captum_pairwise.explanations.preprocessing import Preprocessing, Transform, find_preprocessing
from captum_pairwise.explanations.tensor_inputs import move_to_weights
from captum_pairwise.files.images import read_rgb

SMALLEST_SIDE = 8  # pixels: fewer show nothing
MOST_PIXELS = 2**24  # of a photo: a transform in floats takes 40 bytes for each


@final
@dataclass(frozen=True)
class PhotoReader:
    """Reads photos for an encoder.

    Attributes:
        encoder: the encoder of photos; None for a function of two images.
        transform: maps a photo to its input, or None for what the encoder names.
    """

    encoder: nn.Module | None
    transform: Transform | None = None

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """The steps from a photo to the input."""
        return find_preprocessing(self.encoder, self.transform)

    @cached_property
    def _views(self) -> dict[tuple[int, int], Box | None]:
        return {}

    @cached_property
    def _checked(self) -> set[bool]:
        return set()

    def open(self, file: str | Path) -> Image.Image:
        """An upright photo; means of squares of pixels if it has very many.

        Raises:
            ValueError: the file is no image, or the image is too small or too large.
        """
        photo = read_rgb(file)
        if min(photo.size) < SMALLEST_SIDE:
            size = f"{photo.width} × {photo.height}"
            raise ValueError(f"Expected {file} to have at least {SMALLEST_SIDE} pixels on each side, got {size}. Leave it out.")
        return photo.reduce(ceil(sqrt(photo.width * photo.height / MOST_PIXELS)))

    def make_input(self, photo: Image.Image) -> Tensor:
        """The input `[1, 3, H, W]` of a photo.

        Raises:
            ValueError: the transform does not return one, or draws at random.
        """
        if not self._checked:  # the first photo tells if the transform draws at random
            self._checked.add(True)
            return move_to_weights(self.encoder, self.preprocessing.make_input(photo))
        pixels = self.preprocessing.transform(photo)
        return move_to_weights(self.encoder, pixels.reshape(1, *pixels.shape[-3:]))

    def find_view(self, photo: Image.Image) -> Box | None:
        """The part of a photo that the encoder sees, in shares of its sides; None for all of it, or if that is unknown."""
        if self.preprocessing.sees_all:
            return None
        if photo.size not in self._views:
            self._views[photo.size] = self.preprocessing.find_view(photo)
        view = self._views[photo.size]
        if view is None:
            return None
        return view[0] / photo.width, view[1] / photo.height, view[2] / photo.width, view[3] / photo.height
