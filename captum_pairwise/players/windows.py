"""Sliding windows over an image. Each window is the intersection of a band of rows and a band of columns."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Size = int | tuple[int, int]  # a square, or height and width


@dataclass(frozen=True)
class Windows:
    """The windows of one image, numbered in reading order.

    Sums over windows, and over the pixels of windows, are two matrix products with the bands.

    Attributes:
        rows: 1 if a row of pixels lies in a band.
        columns: 1 if a column of pixels lies in a band.
    """

    rows: Float[Tensor, "row_bands height"]
    columns: Float[Tensor, "column_bands width"]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image."""
        return self.rows.shape[1], self.columns.shape[1]

    @property
    def n_windows(self) -> int:
        """The number of windows."""
        return len(self.rows) * len(self.columns)

    @property
    def n_bands(self) -> int:
        """The number of bands, of rows and of columns together."""
        return len(self.rows) + len(self.columns)

    def occlusions(self) -> Bool[Tensor, "windows bands"]:
        """The bands that are present if a window is occluded: all except its two."""
        bands = torch.cartesian_prod(
            torch.arange(len(self.rows), device="cpu"), len(self.rows) + torch.arange(len(self.columns), device="cpu")
        )
        return torch.ones(self.n_windows, self.n_bands, dtype=torch.bool, device="cpu").scatter(1, bands, False)

    def presence(self, z: Tensor) -> Float[Tensor, "coalitions 1 height width"]:
        """The presence of each pixel. A pixel is absent if it lies in an absent band of rows and in an absent band of columns."""
        parts = zip((z[:, : len(self.rows)], z[:, len(self.rows) :]), (self.rows, self.columns), strict=True)
        row, column = (((1 - part) @ bands.to(part)).clamp(max=1) for part, bands in parts)
        return 1 - torch.einsum("kh,kw->khw", row, column)[:, None]

    def deposit(self, weights: Float[Tensor, "*batch windows"]) -> Float[Tensor, "*batch height width"]:
        """The sum of the weights of the windows over each pixel, `Σ_k w_k [p ∈ M_k]`."""
        grid = weights.unflatten(-1, (len(self.rows), len(self.columns)))
        return self.rows.to(weights).T @ grid @ self.columns.to(weights)

    def collect(self, signal: Float[Tensor, "*batch height width"]) -> Float[Tensor, "*batch windows"]:
        """The sum over the pixels of each window, `Σ_{p ∈ M_k} a_p`."""
        return (self.rows.to(signal) @ signal @ self.columns.to(signal).T).flatten(-2)


def sliding_windows(height: int, width: int, shape: tuple[int, int], strides: tuple[int, int]) -> Windows:
    """Windows one stride apart, as many as there are strides that begin in the image. Both borders share the overhang equally.

    Args:
        height: height of the image.
        width: width of the image.
        shape: height and width of a window.
        strides: distance between neighbouring windows, down and to the right.

    >>> sliding_windows(4, 1, (3, 1), (2, 1)).rows.int().tolist()
    [[1, 1, 1, 0], [0, 0, 1, 1]]
    """
    return Windows(_bands(height, shape[0], strides[0]), _bands(width, shape[1], strides[1]))


def height_and_width(value: object, name: str) -> tuple[int, int]:
    """A size in pixels as `(height, width)`; an int is a square.

    Raises:
        ValueError: the size is not one or two positive ints.
    """
    pair = (value, value) if isinstance(value, int) else value
    if not isinstance(pair, tuple) or len(pair) != 2 or not all(isinstance(side, int) and side >= 1 for side in pair):
        raise ValueError(f"Expected {name} to be a number of pixels of at least 1, or (height, width), got {value!r}.")
    return pair


def _bands(size: int, length: int, stride: int) -> Float[Tensor, "bands pixels"]:
    start = torch.arange(0, size, stride, device="cpu")
    start = start - (int(start[-1]) + length - size) // 2
    pixel = torch.arange(size, device="cpu")
    return ((pixel >= start[:, None]) & (pixel < start[:, None] + length)).float()
