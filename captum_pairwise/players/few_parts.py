"""Few players, for methods whose cost grows fast with their number."""

from math import prod

from torch import Tensor

from captum_pairwise.players.regions import Players, cells, grid, parse_mask, scalars
from captum_pairwise.players.volumes import boxes, default_players, divide_input

FEW = 8  # 2¹⁶ coalitions of two images
MOST = 16  # 2¹⁶ embeddings of one image
FEW_SEGMENTS = 20  # 780 pairs of parts of two images


def divide_into_few(inputs: Tensor) -> Players:
    """A 2 × 4 grid of images; of other inputs every scalar, or 8 runs of neighbouring scalars if there are more than 16."""
    height, width = inputs.shape[-2:] if inputs.dim() == 4 else (0, 0)
    if height >= 2 and width >= FEW // 2:
        return parse_mask(grid(height, width, 2, FEW // 2).to(inputs.device), inputs, "feature_mask")
    n_elements = prod(inputs.shape[1:])
    if n_elements <= MOST:
        return scalars(inputs)
    runs = boxes([n_elements], [FEW]).reshape(1, *inputs.shape[1:])
    return parse_mask(runs.to(inputs.device), inputs, "feature_mask")


def divide_cells(output: Tensor, channel_axis: int) -> Players:
    """The cells of a layer's output; if there are more than 16, 8 runs of neighbouring cells in reading order."""
    players = cells(output, channel_axis)
    if players.n_players <= MOST:
        return players
    return Players(players.ids * FEW // players.n_players, (FEW,))


def divide_into_segments(inputs: Tensor) -> Players:
    """The default players, but about 20 superpixels or supervoxels in place of 50."""
    ids = divide_input(inputs, FEW_SEGMENTS)
    return default_players(inputs) if ids is None else parse_mask(ids, inputs, "feature_mask")
