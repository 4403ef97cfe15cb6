"""Tags of the parts of an image that need no label, and tags from masks: how much of each part has each tag."""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from captum_pairwise.explanations.contents import Box
from captum_pairwise.files.images import read_image

FLAT = 0.15  # standard deviation of the values in a part, relative to those of the whole image
CENTRE = 0.5  # of both sides of the image
ROWS, COLUMNS = ("top", "middle", "bottom"), ("left", "centre", "right")
Grid = tuple[int, int]
Tags = dict[str, Float[Tensor, " parts"]]


@cache
def tag_places(grid: Grid) -> Tags:
    """The tags that follow from the place of a part: the border, the centre, and which of nine fields it is in.

    >>> {name: weights.tolist() for name, weights in tag_places((1, 3)).items() if name in ("border", "centre")}
    {'border': [1.0, 1.0, 1.0], 'centre': [0.0, 1.0, 0.0]}
    """
    rows, columns = (torch.arange(size, dtype=torch.float32, device="cpu") for size in grid)
    vertical, horizontal = ((values + 0.5) / len(values) for values in (rows, columns))
    border = ((rows == 0) | (rows == grid[0] - 1))[:, None] | ((columns == 0) | (columns == grid[1] - 1))
    centre = ((vertical - 0.5).abs() < CENTRE / 2)[:, None] & ((horizontal - 0.5).abs() < CENTRE / 2)
    fields = {
        f"{ROWS[row]} {COLUMNS[column]}": ((vertical * 3).long() == row)[:, None] & ((horizontal * 3).long() == column)
        for row in range(3)
        for column in range(3)
    }
    return {name: chosen.flatten().float() for name, chosen in {"border": border, "centre": centre, **fields}.items()}


def tag_flat(pixels: Float[Tensor, "channels height width"], grid: Grid) -> Float[Tensor, " parts"]:
    """1 for each part without structure: the standard deviation of its values is below 15 % of the image's."""
    grey = pixels.detach().float().cpu().mean(0, keepdim=True)
    means, squares = adaptive_avg_pool2d(grey, grid), adaptive_avg_pool2d(grey.square(), grid)
    variances = (squares - means.square()).clamp(min=0)
    return (variances < FLAT**2 * grey.var()).float().flatten()


def tag_mask(file: Path, view: Box | None, grid: Grid) -> Float[Tensor, " parts"]:
    """The share of each part that a mask covers.

    Args:
        file: an image of the photo's proportions; all numbers except 0 belong to the tag.
        view: the part of the photo that the network sees, in shares of its sides; None for all of it.
        grid: the rows and columns of the parts.

    Raises:
        ValueError: the file cannot be read.
    """
    mask = read_image(file, "a mask")
    if view is not None:
        left, top, right, bottom = view
        mask = mask.crop((round(left * mask.width), round(top * mask.height), round(right * mask.width), round(bottom * mask.height)))
    covered = np.asarray(mask.convert("L") if mask.mode not in ("1", "L", "P") else mask) != 0
    shares = Image.fromarray(covered.astype(np.float32)).resize((grid[1], grid[0]), Image.Resampling.BOX)
    return torch.from_numpy(np.array(shares, dtype=np.float32)).flatten()
