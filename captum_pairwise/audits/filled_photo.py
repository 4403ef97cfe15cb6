"""Photos without some of their parts, which are filled by the colours around them."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from captum_pairwise.explanations.contents import Box


def fill_parts(photo: Image.Image, chosen: Bool[Tensor, "rows columns"], view: Box | None) -> Image.Image:
    """The photo with the chosen parts filled by a blur of the pixels around them.

    A plain blur would leave a border of one colour as it is. So only other pixels are averaged (pull-push, Gortler et al. 1996).

    Args:
        photo: the photo.
        chosen: the parts, a grid over what the network sees.
        view: the part of the photo that the network sees, in shares of its sides; None for all of it.
    """
    pixels = torch.from_numpy(np.array(photo, dtype=np.float32)).permute(2, 0, 1)[None]
    mask = torch.zeros(1, 1, *pixels.shape[2:], dtype=torch.float32, device="cpu")
    left, top, right, bottom = (0.0, 0.0, 1.0, 1.0) if view is None else view
    rows = slice(round(top * photo.height), round(bottom * photo.height))
    columns = slice(round(left * photo.width), round(right * photo.width))
    seen = mask[:, :, rows, columns]
    mask[:, :, rows, columns] = interpolate(chosen[None, None].float(), seen.shape[2:], mode="nearest-exact")
    filled = _average_others(pixels, 1 - mask)
    array = torch.where(mask > 0, filled, pixels)[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8)
    return Image.fromarray(array.numpy())


def _average_others(pixels: Float[Tensor, "1 3 height width"], others: Float[Tensor, "1 1 height width"]) -> Tensor:
    """The pixels, and where `others` is 0 the mean of the nearest ones: of the smallest square of a pyramid that has some."""
    if min(pixels.shape[2:]) < 2 or others.min() > 0:
        return pixels
    weights = avg_pool2d(others, 2, ceil_mode=True)
    means = avg_pool2d(pixels * others, 2, ceil_mode=True) / weights.clamp(min=torch.finfo(torch.float32).tiny)
    coarse = interpolate(_average_others(means, weights), pixels.shape[2:], mode="bilinear")
    return torch.where(others > 0, pixels, coarse)
