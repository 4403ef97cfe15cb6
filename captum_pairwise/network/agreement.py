"""Compare two outputs of a network."""

import torch
from torch import Tensor

# of the largest value: rounding that differs with the size of the batch stays below, in full and in half precision
ROUGH, ROUGH_HALF = 0.01, 0.05


def is_close(actual: object, expected: object, tolerance: float | None = None) -> bool:
    """True if two outputs differ by rounding only; NaN is equal to NaN, because other checks report it.

    Args:
        actual: an output.
        expected: another output.
        tolerance: allowed difference, relative to the largest value; None is the square root of the precision of the dtype.
    """
    if not isinstance(actual, Tensor) or not isinstance(expected, Tensor) or actual.shape != expected.shape:
        return False
    if not expected.is_floating_point():
        return torch.equal(actual, expected)
    share = torch.finfo(expected.dtype).eps ** 0.5 if tolerance is None else tolerance
    is_equal = (actual == expected) | (actual.isnan() & expected.isnan())
    difference, size = torch.where(is_equal, 0, actual - expected).abs(), expected[expected.isfinite()].abs()
    return not difference.numel() or bool(difference.max() <= share * (size.max() if size.numel() else 1))


def is_roughly_close(actual: object, expected: object) -> bool:
    """True unless two outputs differ in their content."""
    is_full = isinstance(expected, Tensor) and expected.dtype in (torch.float32, torch.float64)
    is_mixed = torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda")
    return is_close(actual, expected, ROUGH if is_full and not is_mixed else ROUGH_HALF)
