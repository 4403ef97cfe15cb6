"""From the numbers of a network's input to pixels in [0, 1]."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.models.backbones import IMAGENET_MEAN, IMAGENET_STD

DARKEST, BRIGHTEST = 0.5, 99.5  # percentiles that become black and white
MOST_MEASURED = 1_000_000  # numbers that tell the percentiles
TOLERANCE = 0.05  # beyond [0, 1], of colours whose normalisation is undone


def fit_colours(pixels: Float[Tensor, "... 3 height width"]) -> Float[Tensor, "... 3 height width"]:
    """Colours in [0, 1]: unchanged if they are, without the normalisation of ImageNet if that fits, else from the least to the largest."""
    values = pixels.detach().cpu().float()
    if values.min() >= 0 and values.max() <= 1:
        return values
    mean, std = (torch.tensor(numbers, device="cpu", dtype=torch.float32)[:, None, None] for numbers in (IMAGENET_MEAN, IMAGENET_STD))
    colours = values * std + mean
    is_imagenet = colours.min() > -TOLERANCE and colours.max() < 1 + TOLERANCE
    return colours.clamp(0, 1) if is_imagenet else (values - values.min()) / (values.max() - values.min()).clamp(min=1e-30)


def fit_grey(pixels: Float[Tensor, "... height width"]) -> Float[Tensor, "... height width"]:
    """Grey values in [0, 1]: unchanged if they are, else stretched."""
    values = pixels.detach().cpu().float()
    return values if values.min() >= 0 and values.max() <= 1 else stretch(values)


def stretch(values: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Numbers in [0, 1]: all but the 0.5 % smallest and largest keep their order. Equal numbers become 0."""
    measured = values.flatten()[:: -(-values.numel() // MOST_MEASURED)].float().numpy()
    low, high = np.percentile(measured, (DARKEST, BRIGHTEST)).tolist()
    if high <= low:  # nearly all numbers are equal
        low, high = values.min().item(), values.max().item()
    return ((values - low) / (high - low if high > low else 1.0)).clamp(0, 1)
