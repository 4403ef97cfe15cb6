"""Weighted pairs of windows inside a caller's autocast."""

import torch
from conftest import random_tensor

import captum_pairwise as cp

MASKS = (cp.grid(12, 12, 2, 2), cp.grid(12, 12, 2, 3))
ARGUMENTS = {"feature_mask": MASKS, "sliding_window_shapes": 4, "strides": 4}


def similarity(query, retrieved):
    """Sums, which autocast leaves in float32."""
    return -(query - retrieved).abs().sum((1, 2, 3))


def test_autocast_does_not_change_the_sums_over_windows():
    pair = random_tensor(2, 3, 12, 12).float(), random_tensor(2, 3, 12, 12, seed=1).float()
    method, signal = cp.PairwiseSBSM(similarity), random_tensor(2, 12, 12, seed=2).float()
    windows = method.window_pairs(pair, **ARGUMENTS)
    calls = (
        lambda: method.attribute(pair, **ARGUMENTS),
        lambda: windows.interactions().between,
        lambda: windows.project(signal),
        lambda: windows.project(signal, "retrieved->query"),
    )
    for call in calls:
        expected = call()
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(call(), expected, rtol=0, atol=0)
