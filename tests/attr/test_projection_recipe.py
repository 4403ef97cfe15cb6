"""Each step of a recipe equals its literal formula and does to the axioms what its documentation says."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from conftest import images, random_tensor, seeded
from torch import nn

import captum_pairwise as cp
from captum_pairwise.attr.projection_recipe import PLAIN, prepare_attention, scale_photos, smooth_over_superpixels

CONTRAST = cp.ProjectionRecipe(contrast=True)
MASK = torch.rand(2, 12, 12, generator=seeded(3), dtype=torch.float64)
OBJECT = (MASK > 0.7).double()


def divide_by_largest(maps):
    return maps / maps.abs().flatten(1).amax(1)[:, None, None]


def enlarge(maps, size):
    return F.interpolate(maps[:, None], size, mode="bilinear")[:, 0]


def mean_by_loop(maps, photos, number):
    """The mean of each superpixel, one after the other."""
    ids, smooth = cp.superpixels(photos, number)[:, 0], torch.zeros_like(maps)
    for example in range(len(maps)):
        for part in ids[example].unique():
            inside = ids[example] == part
            smooth[example, inside] = maps[example, inside].mean()
    return smooth


@pytest.mark.parametrize("direction", ["query->retrieved", "retrieved->query"])
def test_contrast_takes_off_what_the_mean_of_the_attention_projects_to(direction, model):
    layer, pair = model.query_encoder[4], images(2)
    matrix = cp.LayerIntegratedHessians(model, layer, weight="taylor").interactions(pair, n_steps=6)
    of_mask, of_all = (matrix.project(signal, direction).reshape(2, 3, 3) for signal in (MASK, torch.ones_like(MASK)))
    expected = divide_by_largest(enlarge(of_mask - MASK.mean((1, 2))[:, None, None] * of_all, (12, 12)))
    found = cp.project_attention_through(model, [layer], pair, MASK, direction=direction, recipe=CONTRAST)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_contrast_is_linear_and_a_constant_becomes_zero():
    there, back = random_tensor(2, 5, 4), random_tensor(2, 5, 4, seed=1)
    sums = 2 * prepare_attention(there, CONTRAST) - 3 * prepare_attention(back, CONTRAST)
    torch.testing.assert_close(prepare_attention(2 * there - 3 * back, CONTRAST), sums, rtol=0, atol=1e-14)
    assert (prepare_attention(torch.full((1, 7, 9), 0.3), CONTRAST) == 0).all()
    assert prepare_attention(torch.ones(1, 2, 2, dtype=torch.bool), CONTRAST).is_floating_point()


def blur_narrowly(photos):
    return cp.blur_baseline(photos, 5)


@pytest.mark.parametrize(
    "start", [None, 0.2, blur_narrowly, images(2)[1].flip(0), cp.Backgrounds(images(2)[1].flip(0))], ids=lambda start: type(start).__name__
)
def test_every_layer_is_explained_at_every_scale(start, model):
    layers, scales, pair = [model.query_encoder[4], model.query_encoder[2]], (1.0, 1.5, 0.75), images(2)
    found = cp.project_attention_through(model, layers, pair, MASK, (start, start), recipe=cp.ProjectionRecipe(scales=scales))
    expected = torch.zeros(2, 12, 12).double()
    for side in (12, 18, 9):
        resize = partial(F.interpolate, size=(side, side), mode="bilinear", antialias=True)
        resized = {torch.Tensor: resize, cp.Backgrounds: lambda start, resize=resize: cp.Backgrounds(resize(start.images))}
        begin = resized.get(type(start), lambda start: start)(start)
        for layer in layers:
            heat_map = cp.project_attention(model, layer, tuple(map(resize, pair)), MASK, (begin, begin))
            expected += divide_by_largest(enlarge(heat_map, (12, 12)))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_backgrounds_for_each_example_are_resized_too():
    baselines = cp.Backgrounds(torch.rand(4, 2, 3, 6, 8)), None
    _, (scaled, other) = scale_photos((torch.rand(2, 3, 6, 8), torch.rand(2, 3, 6, 8)), baselines, 1.5)
    assert scaled.images.shape == (4, 2, 3, 9, 12)
    assert other is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_photos_in_half_precision_are_resized_like_others(dtype):
    photos = torch.rand(1, 3, 8, 8, generator=seeded(2)).to(dtype)
    (resized, _), _ = scale_photos((photos, photos), None, 2.0)
    expected = F.interpolate(photos.float(), (16, 16), mode="bilinear")
    assert resized.dtype == dtype
    torch.testing.assert_close(resized, expected.to(dtype))


def test_superpixels_share_their_credit_and_keep_its_sum():
    photos, maps = torch.rand(2, 3, 24, 20, generator=seeded(1)), random_tensor(2, 24, 20)
    found = smooth_over_superpixels(maps, photos, (4, 15))
    expected = (mean_by_loop(maps, photos, 4) + mean_by_loop(maps, photos, 15)) / 2
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)
    torch.testing.assert_close(found.sum((1, 2)), maps.sum((1, 2)), rtol=0, atol=1e-11)
    assert torch.equal(smooth_over_superpixels(maps, photos, ()), maps)


@pytest.mark.parametrize("direction", ["query->retrieved", "retrieved->query"])
def test_the_preset_is_its_steps_one_after_the_other(direction, model):
    layers, pair = [model.query_encoder[4], model.query_encoder[2]], (images(2)[0], F.interpolate(images(2)[1], (16, 14), mode="bilinear"))
    recipe, other = cp.OBJECT_RECIPE, pair[direction == "query->retrieved"]
    found = cp.project_attention_through(model, layers, pair, OBJECT, direction=direction, recipe=recipe)
    signal, total = OBJECT - OBJECT.mean((1, 2), keepdim=True), 0
    for scale in recipe.scales:
        photos = tuple(F.interpolate(side, scale_factor=scale, mode="bilinear") for side in pair)
        for layer in layers:
            heat_map = cp.project_attention(model, layer, photos, signal, direction=direction)
            total = total + divide_by_largest(enlarge(heat_map, other.shape[2:]))
    expected = torch.stack([mean_by_loop(total, other, number) for number in recipe.n_segments]).mean(0)
    assert found.shape == (2, *other.shape[2:])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_without_a_recipe_nothing_is_changed(model):
    arguments = model, [model.query_encoder[4], None], images(2), MASK
    assert torch.equal(cp.project_attention_through(*arguments, recipe=PLAIN), cp.project_attention_through(*arguments))


def test_zero_baselines_of_a_dot_product_are_sam():
    encoder = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3, stride=4), nn.ReLU()).double()
    sam = cp.LayerPairwiseSAM(cp.SimilarityWrapper(encoder), encoder).interactions(images(2))
    model = cp.SimilarityWrapper(encoder, similarity="dot")
    found = cp.project_attention_through(model, [encoder], images(2), MASK, layer_baselines=(0, 0))
    expected = divide_by_largest(enlarge(sam.project(MASK).reshape(2, 3, 3), (12, 12)))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scales": ()}, "Expected scales to be a tuple of positive factors"),
        ({"scales": (1.0, 0.0)}, "Expected scales to be a tuple of positive factors"),
        ({"scales": (float("nan"),)}, "Expected scales to be a tuple of positive factors"),
        ({"scales": 2.0}, "Expected scales to be a tuple of positive factors"),
        ({"scales": ("2",)}, "Expected scales to be a tuple of positive factors"),
        ({"n_segments": 50}, "Expected n_segments to be a tuple"),
        ({"n_segments": (50, 0)}, "Expected n_segments to be a whole number of at least 1"),
    ],
)
@pytest.mark.usefixtures("without_type_checks")
def test_bad_recipes_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        cp.ProjectionRecipe(**arguments)


@pytest.mark.usefixtures("without_type_checks")
def test_attention_of_another_shape_is_refused_before_its_mean_is_taken(model):
    with pytest.raises(ValueError, match="Expected attention to be a mask"):
        cp.project_attention_through(model, [None], images(1), torch.ones(1, 1, 12, 12), recipe=CONTRAST)


@pytest.mark.usefixtures("without_type_checks")
def test_a_recipe_by_name_is_refused(model):
    with pytest.raises(ValueError, match="Expected recipe to be a ProjectionRecipe, got 'object'"):
        cp.project_attention_through(model, [None], images(1), torch.ones(1, 12, 12), recipe="object")
