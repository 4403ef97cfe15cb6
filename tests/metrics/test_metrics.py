"""Metrics without a model: maps over pixels, most important pixels, label propagation, inefficiency, means."""

import math

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients
from conftest import MASKS, images, random_tensor, seeded, tiny_encoder
from scipy import stats
from torch.testing import assert_close

import captum_pairwise as cp
from captum_pairwise import metrics

MODEL = cp.SimilarityWrapper(tiny_encoder())


def tied_maps(batch, height, width, seed, n_values=4):
    """Random maps with few different values."""
    return torch.randint(0, n_values, (batch, height, width), generator=seeded(seed)).double()


def random_mask(batch, height, width, seed, share=0.4):
    return torch.rand(batch, height, width, generator=seeded(seed)) < share


def slow_pixels(attributions, height, width):
    """The formula: channels are summed, and each pixel is interpolated from the four cells around its centre."""
    pixels = torch.zeros(len(attributions), height, width, dtype=torch.float64)
    for b, channels in enumerate(attributions):
        low = channels if channels.dim() == 2 else sum(channels)
        rows, columns = low.shape
        for i in range(height):
            for j in range(width):
                y, x = max((i + 0.5) * rows / height - 0.5, 0), max((j + 0.5) * columns / width - 0.5, 0)
                top, left = math.floor(y), math.floor(x)
                bottom, right = min(top + 1, rows - 1), min(left + 1, columns - 1)
                above = (1 - (x - left)) * low[top, left] + (x - left) * low[top, right]
                below = (1 - (x - left)) * low[bottom, left] + (x - left) * low[bottom, right]
                pixels[b, i, j] = (1 - (y - top)) * above + (y - top) * below
    return pixels


def slow_important(values, n, void=None):
    """A mask of the largest values of one map, by sorting its pixels."""
    height, width = values.shape
    pixels = [(i, j) for i in range(height) for j in range(width) if void is None or not void[i, j]]
    pixels.sort(key=lambda pixel: (-values[pixel].item(), pixel))
    mask = torch.zeros(height, width, dtype=torch.bool)
    for pixel in pixels[:n]:
        mask[pixel] = True
    return mask


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((2, 3, 3, 3), (12, 12)),
        ((2, 1, 5, 4), (7, 9)),
        ((3, 2, 6), (5, 7)),
        ((2, 3, 6, 5), (6, 5)),
        ((1, 2, 9, 9), (4, 6)),
        ((1, 1, 1), (3, 2)),
    ],
)
def test_to_pixels_sums_channels_and_interpolates(shape, size):
    attributions = random_tensor(*shape)
    assert_close(metrics.to_pixels(attributions, size), slow_pixels(attributions, *size))


def test_half_precision_maps_are_summed_in_float32():
    attributions = torch.tensor([[[[1.0]], [[2.0**-11]]]], dtype=torch.float16)  # float16 cannot hold the sum
    assert_close(metrics.to_pixels(attributions, (1, 1)), torch.tensor([[[1 + 2.0**-11]]]), rtol=0, atol=0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_most_important_pixels_are_the_first_after_sorting(seed, dtype):
    maps, void = tied_maps(3, 5, 7, seed).to(dtype), random_mask(3, 5, 7, seed + 100)
    counts = torch.tensor([0, 7, 35 - int(void[2].sum())])
    for b, (values, n) in enumerate(zip(maps, counts, strict=True)):
        assert torch.equal(metrics.most_important(maps, counts)[b], slow_important(values, int(n)))
        assert torch.equal(metrics.most_important(maps, counts, void)[b], slow_important(values, int(n), void[b]))
        assert torch.equal(metrics.most_important(maps, 6, void)[b], slow_important(values, 6, void[b]))


def test_the_papers_share_is_an_exact_number_of_pixels():
    superpixels = tied_maps(2, 224, 224, 0, n_values=50)  # a threshold would take whole superpixels
    mask = metrics.most_important(superpixels, round(0.3 * 224 * 224))
    assert mask.sum((1, 2)).tolist() == [15053, 15053]
    assert superpixels[mask].min() >= superpixels[~mask].max() - 1  # the last superpixel is taken in part
    assert torch.equal(metrics.most_important(superpixels[:1], 15053)[0], slow_important(superpixels[0], 15053))


def test_void_pixels_rank_below_minus_infinity():
    maps = torch.tensor([[[-math.inf, math.inf, 0.0]]])
    void = torch.tensor([[[False, True, False]]])
    assert metrics.most_important(maps, 2, void).tolist() == [[[True, False, True]]]
    assert metrics.most_important(maps, 1).tolist() == [[[False, True, False]]]


def slow_iou(pixels, true, counted):
    common = either = 0
    for f, t, c in zip(pixels.flatten().tolist(), true.flatten().tolist(), counted.flatten().tolist(), strict=True):
        common += c and f and t
        either += c and (f or t)
    return common / either if either else 1.0


@pytest.mark.parametrize("with_void", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_label_propagation_matches_its_formula(seed, with_void):
    projected, mask = tied_maps(3, 6, 8, seed), random_mask(3, 6, 8, seed + 10)
    void = random_mask(3, 6, 8, seed + 20, 0.2) if with_void else torch.zeros(3, 6, 8, dtype=torch.bool)
    result = metrics.label_propagation(projected, mask, void if with_void else None)
    for b in range(3):
        pixels = slow_important(projected[b], int((mask[b] & ~void[b]).sum()), void[b])
        foreground, background = slow_iou(pixels, mask[b], ~void[b]), slow_iou(~pixels, ~mask[b], ~void[b])
        assert torch.equal(result.kept[b], pixels)
        ious = [result.foreground_iou[b].item(), result.background_iou[b].item(), result.mean_iou[b].item()]
        assert ious == pytest.approx([foreground, background, (foreground + background) / 2], rel=1e-14)


def test_a_perfect_projection_has_iou_1_and_its_negative_0():
    mask = torch.zeros(1, 4, 6, dtype=torch.bool)
    mask[:, :2] = True  # half of the image, so that a map can miss all of it
    right, wrong = (metrics.label_propagation(sign * mask.double(), mask) for sign in (1, -1))
    assert right.mean_iou.tolist() == right.foreground_iou.tolist() == right.background_iou.tolist() == [1]
    assert torch.equal(right.kept, mask) and torch.equal(wrong.kept, ~mask)
    assert wrong.mean_iou.tolist() == wrong.foreground_iou.tolist() == wrong.background_iou.tolist() == [0]


def test_void_pixels_change_nothing():
    projected, mask, void = tied_maps(3, 6, 8, 0), random_mask(3, 6, 8, 1), random_mask(3, 6, 8, 2)
    expected = metrics.label_propagation(projected, mask, void)
    result = metrics.label_propagation(torch.where(void, 9.0, projected), mask ^ void, void)
    assert_close(vars(result), vars(expected), rtol=0, atol=0)
    assert not (result.kept & void).any()


def test_an_object_that_fills_the_image_has_iou_1():
    everywhere = torch.ones(1, 3, 4, dtype=torch.bool)
    assert metrics.label_propagation(random_tensor(1, 3, 4), everywhere).mean_iou.tolist() == [1]


def test_label_propagation_depends_only_on_the_order():
    projected, mask = random_tensor(3, 6, 8), random_mask(3, 6, 8, 1)
    assert_close(vars(metrics.label_propagation(projected.exp(), mask)), vars(metrics.label_propagation(projected, mask)), rtol=0, atol=0)


def test_projections_of_a_batch_are_independent():
    projected, mask, void = random_tensor(3, 1, 3, 4), random_mask(3, 6, 8, 1), random_mask(3, 6, 8, 2)
    singles = [vars(metrics.label_propagation(*(entry[None] for entry in pair))) for pair in zip(projected, mask, void, strict=True)]
    joined = {name: torch.cat([single[name] for single in singles]) for name in singles[0]}
    assert_close(vars(metrics.label_propagation(projected, mask, void)), joined, rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(3, 5), (3, 2, 4), (3, 1, 2, 2), (3,)])
def test_inefficiency_matches_its_formula(shape):
    credit, full, empty = random_tensor(*shape), random_tensor(3, seed=1), random_tensor(3, seed=2)
    expected = [abs(math.fsum(row.flatten().tolist()) - (f - e).item()) for row, f, e in zip(credit, full, empty, strict=True)]
    assert metrics.inefficiency(credit, full, empty).tolist() == pytest.approx(expected, rel=1e-13)


def test_inefficiency_is_not_normalised():
    credit, full, empty = random_tensor(3, 5), random_tensor(3, seed=1), random_tensor(3, seed=2)
    assert_close(metrics.inefficiency(4 * credit, 4 * full, 4 * empty), 4 * metrics.inefficiency(credit, full, empty))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_credits_are_summed_in_float64(dtype):
    credit = torch.tensor([[2.0**30, 1, -(2.0**30)]], dtype=dtype)  # in float32 they sum to 0
    assert metrics.inefficiency(credit, torch.ones(1, dtype=dtype), torch.zeros(1, dtype=dtype)).tolist() == [0]


def test_inefficiency_of_an_unknown_value_is_nan():
    distances = metrics.inefficiency(torch.ones(2, 3), torch.ones(2), torch.tensor([math.nan, 0.0]))
    assert distances[0].isnan() and distances[1] == 2


def test_shapley_values_are_efficient():
    query, retrieved = images(2)
    of_query, of_retrieved = cp.KernelShapley(MODEL).interactions((query, retrieved), feature_mask=MASKS)
    for interactions, credit in ((of_query, of_query.query_marginal), (of_retrieved, of_retrieved.retrieved_marginal)):
        assert metrics.inefficiency(credit, interactions.full, interactions.empty).max() < 1e-12
    pair = cp.KernelShapleyTaylor(MODEL).interactions((query, retrieved), feature_mask=MASKS)
    assert metrics.inefficiency(pair["marginal"], pair.full, pair.empty).max() < 1e-12
    empty = MODEL(cp.blur_baseline(query), cp.blur_baseline(retrieved))
    assert_close(pair.empty, empty)
    assert (metrics.inefficiency(0 * pair["marginal"], pair.full, empty) - (pair.full - empty).abs()).abs().max() < 1e-12


def test_inefficiency_of_integrated_gradients_is_their_delta():
    query, retrieved = images(1)
    blurred, forward = cp.blur_baseline(retrieved), MODEL.given_query(query)
    maps, delta = IntegratedGradients(forward).attribute(retrieved, baselines=blurred, n_steps=7, return_convergence_delta=True)
    distances = metrics.inefficiency(maps, MODEL(query, retrieved).detach(), MODEL(query, blurred).detach())
    assert_close(distances, delta.abs(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("n_pairs", [2, 3, 20])
def test_the_standard_error_is_that_of_scipy(n_pairs):
    values = random_tensor(n_pairs)
    spoilt = torch.cat([values, torch.tensor([math.nan, math.nan])])[torch.randperm(n_pairs + 2, generator=seeded(0))]
    expected = pytest.approx((np.mean(values.numpy()), stats.sem(values.numpy())), rel=1e-12)
    assert metrics.mean_and_error(values) == expected and metrics.mean_and_error(spoilt) == expected


def test_one_pair_has_no_error_and_no_pair_has_no_mean():
    mean, error = metrics.mean_and_error(torch.tensor([math.nan, 0.5]))
    assert mean == 0.5 and math.isnan(error)
    assert all(map(math.isnan, metrics.mean_and_error(torch.tensor([math.nan]))))
    assert all(map(math.isnan, metrics.mean_and_error(torch.zeros(0))))
