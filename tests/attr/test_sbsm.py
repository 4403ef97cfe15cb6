"""First-order SBSM against its formula on images occluded by hand, its axioms, and another package."""

import warnings

import numpy as np
import pytest
import torch
from conftest import SIZES, WINDOWS, boxes, images, pair_of_sizes, random_game, tiny_encoder
from formulas import value_function
from model_cases import PROOF_ROWS

import captum_pairwise as cp
from captum_pairwise.estimators.occlusion import sbsm
from captum_pairwise.games.game import CallableGame
from captum_pairwise.players import regions
from captum_pairwise.players.windows import sliding_windows

FORWARDS = ["towers", "two encoders", "opaque", "callable head"]


def make_forward(kind):
    if kind == "two encoders":
        return cp.SimilarityWrapper(tiny_encoder(0), tiny_encoder(1), similarity="dot")
    if kind == "callable head":
        return cp.SimilarityWrapper(tiny_encoder(), similarity=lambda u, w: (u - w).abs().sum(1).neg().exp())
    model = cp.SimilarityWrapper(tiny_encoder())
    return model if kind == "towers" else lambda query, retrieved: model(query, retrieved)


def one_of(batches, example):
    return tuple(batch[example : example + 1] for batch in batches)


def slow_map(similarity, pair, k, shape=WINDOWS["sliding_window_shapes"], strides=WINDOWS["strides"], fill=0.0):
    """Eq. 10 and the weighted average of the windows over each pixel of image `k` of one pair, a window at a time."""
    whole = similarity(*pair).item()
    total = torch.zeros(pair[k].shape[2:], dtype=torch.float64)
    covered = torch.zeros_like(total)
    for box in boxes(*total.shape, shape, strides):
        shown = list(pair)
        shown[k] = torch.where(box == 1, fill, pair[k])
        total += max(whole - similarity(*shown).item(), 0.0) * box
        covered += box
    return torch.where(covered > 0, total / covered, 0.0)


@pytest.mark.parametrize("kind", FORWARDS)
def test_maps_equal_eq_10(kind):
    forward, pair = make_forward(kind), pair_of_sizes()
    found = cp.SBSM(forward).attribute(pair, **WINDOWS)
    for k in range(2):
        assert found[k].shape == pair[k].shape and found[k].is_contiguous() and (found[k] > 0).any()
        for example in range(2):
            expected = slow_map(forward, one_of(pair, example), k).expand(3, -1, -1)
            torch.testing.assert_close(found[k][example], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("shape", "strides"), [((20, 20), (3, 3)), ((2, 30), (5, 4)), ((1, 2), (4, 5)), ((1, 1), (1, 1))])
def test_windows_of_any_size(shape, strides, model):
    """Windows larger than the image, and windows with gaps: pixels in the gaps get 0."""
    pair = pair_of_sizes(1)
    found = cp.SBSM(model).attribute(pair, sliding_window_shapes=shape, strides=strides)
    for k in range(2):
        torch.testing.assert_close(found[k][0, 0], slow_map(model, pair, k, shape, strides), rtol=0, atol=1e-12)
        assert (found[k][0, 0][boxes(*SIZES[k], shape, strides).sum(0) == 0] == 0).all()


def test_an_int_is_a_square_and_the_defaults_equal_the_paper(model):
    pair = pair_of_sizes(1)
    given = cp.SBSM(model).attribute(pair, sliding_window_shapes=(20, 20), strides=(3, 3))
    for arguments in ({}, {"sliding_window_shapes": 20, "strides": 3}):
        assert all(map(torch.equal, cp.SBSM(model).attribute(pair, **arguments), given))


@pytest.mark.parametrize("fill", [(0.3, 0.9), "mean"])
def test_the_fill_is_the_baseline(model, fill):
    pair = pair_of_sizes(1)
    shown = tuple(cp.mean_colour(batch) for batch in pair) if fill == "mean" else fill
    baselines = (shown[0], cp.mean_colour) if fill == "mean" else fill
    found = cp.SBSM(model).attribute(pair, baselines, **WINDOWS)
    for k in range(2):
        torch.testing.assert_close(found[k][0, 0], slow_map(model, pair, k, fill=shown[k]), rtol=0, atol=1e-12)


def test_several_fills_average_the_similarity(model):
    pair, several = pair_of_sizes(1), torch.rand(3, 3, *SIZES[0], dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    found = cp.SBSM(model).attribute(pair, (cp.Backgrounds(several), None), **WINDOWS)[0][0, 0]
    shape, strides = WINDOWS.values()
    masks, whole = boxes(*SIZES[0], shape, strides), model(*pair).item()
    values = [np.mean([model(torch.where(box == 1, fill, pair[0]), pair[1]).item() for fill in several]) for box in masks]
    weights = torch.tensor([max(whole - value, 0.0) for value in values], dtype=torch.float64)
    torch.testing.assert_close(found, torch.einsum("k,khw->hw", weights, masks) / masks.sum(0), rtol=0, atol=1e-12)


def test_a_target_and_arguments_reach_an_opaque_function():
    model, pair, factors = cp.SimilarityWrapper(tiny_encoder()), pair_of_sizes(), torch.tensor([1.0, 3.0], dtype=torch.float64)

    def forward(query, retrieved, factor):
        return torch.stack([torch.zeros(len(query)).double(), model(query, retrieved) * factor], 1)

    found = cp.SBSM(forward).attribute(pair, target=1, additional_forward_args=factors, **WINDOWS)
    for one, plain in zip(found, cp.SBSM(model).attribute(pair, **WINDOWS), strict=True):
        torch.testing.assert_close(one, plain * factors[:, None, None, None], rtol=0, atol=1e-12)
    with pytest.raises(AssertionError):
        cp.SBSM(model).attribute(pair, target=0, **WINDOWS)


@pytest.mark.parametrize("seed", range(3))
def test_any_game_over_bands_follows_the_formula(seed):
    windows, game = sliding_windows(5, 4, (2, 3), (2, 2)), random_game(3, 2, seed)
    assert windows.n_bands == game.n_players
    value, expected = value_function(game), torch.zeros(5, 4, dtype=torch.float64)
    masks = boxes(5, 4, (2, 3), (2, 2))
    for number, box in enumerate(masks):
        present = set(range(5)) - {number // 2, 3 + number % 2}
        expected += max(value(range(5)) - value(present), 0.0) * box
    expected = torch.where(masks.sum(0) > 0, expected / masks.sum(0), 0.0)
    torch.testing.assert_close(sbsm(game, windows), expected, rtol=0, atol=1e-12)


def test_pixels_without_influence_get_zero():
    def forward(query, retrieved):
        return (query[..., :6, :] * retrieved[..., :6, :]).mean((1, 2, 3))

    found = cp.SBSM(forward).attribute(images(2), sliding_window_shapes=3, strides=3)
    for one in found:
        assert (one[..., :6, :] > 0).all() and (one[..., 6:, :] == 0).all()


def test_parts_that_lower_the_similarity_get_zero():
    """Nothing is negative: a part whose occlusion raises the similarity is as good as one that changes nothing."""
    query = torch.full((1, 3, 12, 12), 0.5, dtype=torch.float64)
    query[..., 8:, 8:] = 0.9
    retrieved = query.clone()
    retrieved[..., :4, :4] = 1.0
    maps = cp.SBSM(lambda q, r: -(q - r).square().sum((1, 2, 3))).attribute(
        (query, retrieved), (0.5, 0.5), sliding_window_shapes=4, strides=4
    )
    common = torch.zeros_like(query)
    common[..., 8:, 8:] = 3 * 16 * 0.4**2  # what a window of 4 × 4 pixels takes away
    torch.testing.assert_close(maps, (common, common), rtol=0, atol=1e-12)


def test_two_equal_images_get_equal_maps(model):
    query = images(2)[0]
    found = cp.SBSM(model).attribute((query, query), **WINDOWS)
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_images_that_show_the_fill_get_zeros_and_a_warning(dtype):
    model = cp.SimilarityWrapper(tiny_encoder().to(dtype))
    black, photo = torch.zeros(1, 3, 12, 12, dtype=dtype), images(1)[0].to(dtype)
    with pytest.warns(UserWarning, match="No window lowers the similarity") as warned:
        found = cp.SBSM(model).attribute((black, photo), **WINDOWS)
    assert len(warned) == 1
    assert (found[0] == 0).all() and (found[1] >= 0).all() and (found[1] > 0).any()


def test_rounding_does_not_count_as_a_fall():
    noise = torch.finfo(torch.float64).eps * torch.tensor([0.0, 1.0, -1.0, 2.0, 1.0], dtype=torch.float64)
    windows = sliding_windows(2, 2, (1, 1), (1, 1))
    with pytest.warns(UserWarning, match="No window"):
        assert (sbsm(CallableGame(4, 0, lambda z: 1 + noise[: len(z)]), windows) == 0).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = sbsm(CallableGame(4, 0, lambda z: 1 + 1e6 * noise[: len(z)]), windows)
    assert found.argmax().item() == 1 and (found > 0).sum().item() == 1


def test_each_window_is_embedded_once_without_superpixels(monkeypatch):
    monkeypatch.setattr(regions, "superpixels", None)  # a call would fail
    encoder, rows = tiny_encoder(), []
    encoder[0].register_forward_hook(lambda module, inputs, output: rows.append(len(output)))
    cp.SBSM(cp.SimilarityWrapper(encoder)).attribute(pair_of_sizes(1), **WINDOWS)
    assert sum(rows) == sum(len(boxes(*size, *WINDOWS.values())) for size in SIZES) + 2 + PROOF_ROWS  # and each whole image


def test_half_precision_under_autocast_returns_float32():
    model, pair = cp.SimilarityWrapper(tiny_encoder()), pair_of_sizes()
    exact = cp.SBSM(model).attribute(pair, (-1, -1), **WINDOWS)
    with torch.autocast("cpu", torch.bfloat16):
        found = cp.SBSM(cp.SimilarityWrapper(tiny_encoder().float())).attribute(tuple(batch.half() for batch in pair), (-1, -1), **WINDOWS)
    for one, truth in zip(found, exact, strict=True):
        assert one.dtype == torch.float32 and (one - truth).norm() < 0.05 * truth.norm()


@pytest.mark.parametrize(("shape", "strides"), [((5, 4), (2, 3)), ((20, 20), (3, 3))])
@pytest.mark.parametrize("k", [0, 1], ids=["query", "retrieved"])
def test_xaitk_saliency_agrees(k, shape, strides):
    """It scales a map by its largest value, and calls the image that it explains the reference."""
    reason = "an outside implementation to compare with: pip install 'captum-pairwise[oracles]'"
    stack = pytest.importorskip("xaitk_saliency.impls.gen_image_similarity_blackbox_sal.sbsm", reason=reason).SBSMStack
    descriptors = pytest.importorskip("smqtk_descriptors.interfaces.image_descriptor_generator", reason=reason)
    encoder, pair = tiny_encoder(), pair_of_sizes(1)

    class Embed(descriptors.ImageDescriptorGenerator):
        def get_config(self):
            return {}

        def generate_arrays_from_images(self, img_mat_iter):
            return (encoder(torch.from_numpy(image).permute(2, 0, 1)[None]).mean((2, 3))[0].detach().numpy() for image in img_mat_iter)

    explained, other = (pair[one][0].permute(1, 2, 0).numpy() for one in (k, 1 - k))
    expected = stack(shape, strides, proximity_metric="cosine", fill=[0, 0, 0]).generate(explained, [other], Embed())[0]
    found = cp.SBSM(cp.SimilarityWrapper(encoder)).attribute(pair, sliding_window_shapes=shape, strides=strides)[k][0, 0]
    torch.testing.assert_close(found / found.max(), torch.from_numpy(expected), rtol=0, atol=5e-14)
