"""Inputs of several kinds with planted patterns, and encoders that see nothing else, so that maps and matches are known."""

from itertools import product

import numpy as np
import torch
from torch import Tensor, nn

import captum_pairwise as cp

CELL = 4  # elements of a side of a pattern
CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
POOLS = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}


def make_patterns(n_axes: int) -> Tensor:
    """Three patterns `[3, *sides]` of 1 and -1 that are orthogonal: all bright, stripes, and wider stripes, both along the last axis."""
    rows = torch.tensor([[1, 1, 1, 1], [1, -1, 1, -1], [1, -1, -1, 1]]).float()
    return rows.reshape(3, *(1,) * (n_axes - 1), CELL).expand(3, *(CELL,) * n_axes)


def make_pattern_encoder(n_axes: int, n_channels: int = 1) -> nn.Sequential:
    """An encoder whose embedding is the share of the cells that hold each pattern."""
    layer = CONVOLUTIONS[n_axes](n_channels, 3, CELL, CELL)
    patterns = make_patterns(n_axes)
    with torch.no_grad():
        layer.weight.copy_(patterns[:, None].expand_as(layer.weight) / patterns[0].numel() / n_channels)
        layer.bias.fill_(-0.5)
    return nn.Sequential(layer, nn.ReLU(), POOLS[n_axes](1), nn.Flatten()).eval()


def plant(counts: tuple[int, ...], places: dict[int, tuple[int, ...]], n_channels: int = 1) -> Tensor:
    """An input `[C, *sizes]` of so many cells, 0 but for patterns at some cells: by number of the pattern, its cell."""
    values = torch.zeros([CELL * count for count in counts])
    for number, place in places.items():
        values[tuple(slice(CELL * start, CELL * (start + 1)) for start in place)] = make_patterns(len(counts))[number]
    return values.expand(n_channels, *values.shape).clone()


def number_cell(counts: tuple[int, ...], place: tuple[int, ...]) -> int:
    """The number of a cell in reading order."""
    return list(product(*map(range, counts))).index(place)


def explain_planted(counts: tuple[int, ...], wrap, n_channels: int = 1) -> tuple[cp.Explanation, int, int]:
    """The explanation of two inputs that share one pattern, and the numbers of its cells in both.

    Args:
        counts: the cells along each axis.
        wrap: makes the items of `explain` from inputs `[C, *sizes]`.
        n_channels: of the inputs.
    """
    first, last = tuple(0 for _ in counts), tuple(count - 1 for count in counts)
    middle = tuple(count // 2 for count in counts)
    query, retrieved = plant(counts, {0: first, 1: middle}, n_channels), plant(counts, {0: last, 2: middle}, n_channels)
    encoder = make_pattern_encoder(len(counts), n_channels)
    model = cp.SimilarityWrapper(encoder, similarity="dot")
    baselines = (0.0, 0.0)
    explanation = cp.explain(model, wrap(query), wrap(retrieved), baselines=baselines)
    return explanation, number_cell(counts, first), number_cell(counts, last)


def find_owners(parts, player: int) -> np.ndarray:
    """Rows and columns of the pixels of a player in a drawn input."""
    return np.argwhere(parts.mask(player))
