"""Metrics that run the model: faithfulness of both orders, deletion and insertion curves."""

from itertools import product

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients, LayerGradCam, Occlusion
from conftest import images, pair_of_sizes, random_tensor, seeded, state_of, tiny_encoder
from test_metrics import random_mask, slow_important, slow_pixels, tied_maps
from torch import nn
from torch.testing import assert_close

import captum_pairwise as cp
from captum_pairwise import metrics

MODEL = cp.SimilarityWrapper(tiny_encoder())
QUERY, RETRIEVED = pair_of_sizes(3)
OTHERS = tuple(torch.rand(2, 3, *x.shape[2:], generator=seeded(9 + k), dtype=torch.float64) for k, x in enumerate((QUERY, RETRIEVED)))
BASELINES = {
    "blur": (None, tuple([cp.blur_baseline(image)] for image in (QUERY, RETRIEVED))),
    "numbers": ((0, 0.5), ([torch.zeros_like(QUERY)], [torch.full_like(RETRIEVED, 0.5)])),
    "tensors": ((OTHERS[0][:1], RETRIEVED.flip(0)), ([OTHERS[0][[0, 0, 0]]], [RETRIEVED.flip(0)])),
    "functions": ((cp.mean_colour, cp.mean_colour), ([cp.mean_colour(QUERY)], [cp.mean_colour(RETRIEVED)])),
    "backgrounds": (
        (cp.Backgrounds(OTHERS[0]), cp.Backgrounds(OTHERS[1])),
        tuple([members[[k, k, k]] for k in range(2)] for members in OTHERS),
    ),
}


def function(query, retrieved):
    """The same similarity as a plain function."""
    return MODEL(query, retrieved)


def slow_censor(image, gone, background):
    """One image, censored pixel by pixel."""
    shown = image.clone()
    for i, row in enumerate(gone.tolist()):
        for j, is_gone in enumerate(row):
            if is_gone:
                shown[:, i, j] = background[:, i, j]
    return shown


def slow_similarity(query, retrieved):
    return MODEL(query[None], retrieved[None]).item()


def slow_value(side, b, gone, members):
    """The mean similarity of a pair without some pixels of one image."""
    values = []
    for member in members:
        shown = slow_censor((QUERY, RETRIEVED)[side][b], gone, member[b])
        values.append(slow_similarity(*((shown, RETRIEVED[b]) if side == 0 else (QUERY[b], shown))))
    return sum(values) / len(values)


@pytest.mark.parametrize("kind", BASELINES)
@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("forward", [MODEL, function, MODEL.forward], ids=["wrapper", "function", "method"])
def test_faithfulness_matches_its_formula(kind, side, forward):
    baselines, members = BASELINES[kind]
    height, width = (QUERY, RETRIEVED)[side].shape[2:]
    heat = tied_maps(3, height, width, side)
    image = ("query", "retrieved")[side]
    result = metrics.faithfulness(forward, (QUERY, RETRIEVED), heat, image=image, baselines=baselines)
    for b in range(3):
        gone = slow_important(heat[b], round(0.3 * height * width))
        expected = slow_similarity(QUERY[b], RETRIEVED[b]) - slow_value(side, b, gone, members[side])
        assert result[b].item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("attributions", [random_tensor(3, 1, 4, 5), random_tensor(3, 3, 11, 13), random_tensor(3, 4, 5)])
def test_attributions_of_any_size_are_resized(attributions):
    heat = slow_pixels(attributions, 11, 13)
    expected = metrics.faithfulness(MODEL, (QUERY, RETRIEVED), heat)
    assert_close(metrics.faithfulness(MODEL, (QUERY, RETRIEVED), attributions), expected)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 1.0])
def test_a_share_of_the_pixels_is_replaced(share):
    ones, zeros = torch.ones(1, 1, 224, 224), torch.zeros(1, 1, 224, 224)
    count = metrics.faithfulness(lambda q, r: r.sum((1, 2, 3)), (zeros, ones), torch.zeros(1, 224, 224), share=share, baselines=(0, 0))
    assert count.item() == round(share * 224 * 224)
    assert share != 0.3 or count.item() == 15053


def test_a_share_of_1_shows_only_the_background():
    whole = metrics.faithfulness(MODEL, (QUERY, RETRIEVED), torch.ones(3, 11, 13), share=1.0)
    assert_close(whole, (MODEL(QUERY, RETRIEVED) - MODEL(QUERY, cp.blur_baseline(RETRIEVED))).detach())


@pytest.mark.parametrize("kind", ["blur", "backgrounds"])
@pytest.mark.parametrize("censor_query", [True, False])
@pytest.mark.parametrize("with_void", [True, False])
def test_second_order_faithfulness_matches_its_formula(kind, censor_query, with_void):
    baselines, members = BASELINES[kind]
    projected = tied_maps(3, 11, 13, 5)
    masks = random_mask(3, 12, 10, 6), random_mask(3, 11, 13, 7)
    void = random_mask(3, 11, 13, 8, 0.2) if with_void else torch.zeros(3, 11, 13, dtype=torch.bool)
    arguments = {"void": void if with_void else None, "baselines": baselines, "censor_query": censor_query}
    result = metrics.second_order_faithfulness(MODEL, (QUERY, RETRIEVED), projected, masks, **arguments)
    for b in range(3):
        pixels = slow_important(projected[b], int((masks[1][b] & ~void[b]).sum()), void[b])
        retrieved = [slow_censor(RETRIEVED[b], ~pixels, member[b]) for member in members[1]]
        query = [slow_censor(QUERY[b], ~masks[0][b], member[b]) for member in members[0]] if censor_query else [QUERY[b]]
        values = [slow_similarity(*pair) for pair in product(query, retrieved)]
        assert result[b].item() == pytest.approx(sum(values) / len(values), abs=1e-12)


def test_a_perfect_projection_shows_both_objects():
    masks = random_mask(3, 12, 10, 6), random_mask(3, 11, 13, 7)
    objects = [torch.where(mask[:, None], image, 0) for mask, image in zip(masks, (QUERY, RETRIEVED), strict=True)]
    result = metrics.second_order_faithfulness(MODEL, (QUERY, RETRIEVED), masks[1].double(), masks, baselines=(0, 0))
    assert_close(result, MODEL(*objects).detach())


def test_objects_that_fill_their_images_are_not_censored():
    masks = tuple(torch.ones_like(image[:, 0], dtype=torch.bool) for image in (QUERY, RETRIEVED))
    result = metrics.second_order_faithfulness(MODEL, (QUERY, RETRIEVED), random_tensor(3, 11, 13), masks)
    assert_close(result, MODEL(QUERY, RETRIEVED).detach())


@pytest.mark.parametrize("kind", ["blur", "backgrounds"])
@pytest.mark.parametrize("curve", [metrics.deletion_curve, metrics.insertion_curve])
@pytest.mark.parametrize("side", [0, 1])
def test_curves_match_their_formula(kind, curve, side):
    baselines, members = BASELINES[kind]
    height, width = (QUERY, RETRIEVED)[side].shape[2:]
    heat = tied_maps(3, height, width, side)
    result = curve(MODEL, (QUERY, RETRIEVED), heat, image=("query", "retrieved")[side], n_steps=7, baselines=baselines)
    assert_close(result.fractions, torch.arange(8, dtype=torch.float64) / 7)
    for b in range(3):
        expected = []
        for step in range(8):
            first = slow_important(heat[b], round(step / 7 * height * width))
            expected.append(slow_value(side, b, first if curve is metrics.deletion_curve else ~first, members[side]))
        assert result.values[b].tolist() == pytest.approx(expected, abs=1e-12)
        area = sum((expected[k] + expected[k + 1]) / 2 / 7 for k in range(7))
        assert result.area[b].item() == pytest.approx(area, abs=1e-12)


def test_the_deletion_curve_contains_faithfulness():
    heat = tied_maps(3, 11, 13, 0)
    curve = metrics.deletion_curve(MODEL, (QUERY, RETRIEVED), heat)
    for step in range(21):
        drop = metrics.faithfulness(MODEL, (QUERY, RETRIEVED), heat, share=step / 20)
        assert torch.equal(curve.values[:, 0] - curve.values[:, step], drop)
    assert curve.fractions[6].item() == 0.3
    assert torch.equal(curve.values[:, 0] - curve.values[:, 6], metrics.faithfulness(MODEL, (QUERY, RETRIEVED), heat))


def test_insertion_is_reversed_deletion_of_the_negative_map():
    heat = random_tensor(3, 11, 13)
    inserted = metrics.insertion_curve(MODEL, (QUERY, RETRIEVED), heat, n_steps=11)
    deleted = metrics.deletion_curve(MODEL, (QUERY, RETRIEVED), -heat, n_steps=11)
    assert_close(inserted.values, deleted.values.flip(1), rtol=0, atol=0)
    assert_close(inserted.area, deleted.area)


def all_metrics(forward, query, retrieved, heat, masks, void):
    curves = [curve(forward, (query, retrieved), heat, n_steps=5) for curve in (metrics.deletion_curve, metrics.insertion_curve)]
    return {
        "faithfulness": metrics.faithfulness(forward, (query, retrieved), heat),
        "second order": metrics.second_order_faithfulness(forward, (query, retrieved), heat, masks, void=void),
        **{f"values {k}": curve.values for k, curve in enumerate(curves)},
        **{f"area {k}": curve.area for k, curve in enumerate(curves)},
    }


def test_pairs_of_a_batch_are_independent():
    heat, masks, void = tied_maps(3, 11, 13, 0), (random_mask(3, 12, 10, 6), random_mask(3, 11, 13, 7)), random_mask(3, 11, 13, 8, 0.2)
    whole = all_metrics(MODEL, QUERY, RETRIEVED, heat, masks, void)
    for b in range(3):
        part = slice(b, b + 1)
        single = all_metrics(MODEL, QUERY[part], RETRIEVED[part], heat[part], (masks[0][part], masks[1][part]), void[part])
        assert_close({name: values[part] for name, values in whole.items()}, single)


def test_every_step_is_one_forward_pass_over_the_batch():
    sizes = []

    def counting(query, retrieved):
        sizes.append(len(query))
        return function(query, retrieved)

    def passes(metric, *arguments, **more):
        sizes.clear()
        metric(counting, (QUERY, RETRIEVED), *arguments, **more)
        assert set(sizes) == {3}
        return len(sizes)

    heat, masks = random_tensor(3, 11, 13), (random_mask(3, 12, 10, 6), random_mask(3, 11, 13, 7))
    several = {"baselines": BASELINES["backgrounds"][0]}
    assert passes(metrics.faithfulness, heat) == 2
    assert passes(metrics.faithfulness, heat, **several) == 1 + 2
    assert passes(metrics.second_order_faithfulness, heat, masks) == 1
    assert passes(metrics.second_order_faithfulness, heat, masks, **several) == 2 * 2
    assert passes(metrics.deletion_curve, heat, n_steps=5) == passes(metrics.insertion_curve, heat, n_steps=5) == 6
    assert passes(metrics.deletion_curve, heat, n_steps=5, **several) == 1 + 5 * 2


def test_models_and_inputs_stay_as_they_were():
    model = cp.SimilarityWrapper(nn.Sequential(tiny_encoder(), nn.Dropout(0.0)).train())
    inputs = QUERY.clone().requires_grad_(), RETRIEVED.clone().requires_grad_()
    heat, masks = random_tensor(3, 11, 13).requires_grad_(), (random_mask(3, 12, 10, 6), random_mask(3, 11, 13, 7))
    before = state_of(model)
    result = all_metrics(model, *inputs, heat, masks, random_mask(3, 11, 13, 8))
    assert state_of(model) == before and all(tensor.grad is None for tensor in (*inputs, heat))
    assert torch.equal(inputs[0], QUERY) and torch.equal(inputs[1], RETRIEVED) and torch.is_grad_enabled()
    assert not any(values.requires_grad for values in result.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_half_precision_stays_inside_the_network(dtype):
    model = cp.SimilarityWrapper(tiny_encoder().to(dtype))
    query, retrieved = QUERY.to(dtype), RETRIEVED.to(dtype)
    heat = random_tensor(3, 11, 13).to(dtype)
    gone = torch.stack([slow_important(values, 43) for values in heat])
    censored = torch.where(gone[:, None], torch.full_like(retrieved, 0.5), retrieved)
    with torch.no_grad():
        expected = model(query, retrieved).float() - model(query, censored).float()
    result = metrics.faithfulness(model, (query, retrieved), heat, baselines=(None, 0.5))
    assert result.dtype == torch.float32 and torch.equal(result, expected)


def test_the_other_input_may_be_a_sentence():
    words, table = torch.randint(0, 5, (3, 4), generator=seeded(0)), random_tensor(5, 6)

    def forward(ids, pictures):
        return nn.functional.cosine_similarity(table[ids].mean(1), MODEL.embed_retrieved(pictures))

    heat, masks = random_tensor(3, 11, 13), (None, random_mask(3, 11, 13, 7))
    drop = metrics.faithfulness(forward, (words, RETRIEVED), heat, share=1.0)
    assert_close(drop, (forward(words, RETRIEVED) - forward(words, cp.blur_baseline(RETRIEVED))).detach())
    left = metrics.second_order_faithfulness(forward, (words, RETRIEVED), masks[1].double(), masks, baselines=(None, 0), censor_query=False)
    assert_close(left, forward(words, torch.where(masks[1][:, None], RETRIEVED, 0)).detach())


def maps_of_methods():
    query, retrieved = images(2)
    forward, encoder = MODEL.given_query(query), MODEL.query_encoder
    yield "LayerSAM", cp.LayerSAM(MODEL, encoder[4]).attribute((query, retrieved))[1]
    yield "SBSM", cp.SBSM(MODEL).attribute((query, retrieved), sliding_window_shapes=5, strides=3)[1]
    yield "KernelShapley", cp.KernelShapley(MODEL).attribute((query, retrieved), feature_mask=(cp.grid(12, 12, 2, 2),) * 2)[1]
    yield "LayerGradCam", LayerGradCam(forward, encoder[4]).attribute(retrieved)
    yield "IntegratedGradients", IntegratedGradients(forward).attribute(retrieved, n_steps=4)
    yield "Occlusion", Occlusion(forward).attribute(retrieved, sliding_window_shapes=(3, 4, 4))
    projected = cp.LayerFactorisedShapleyTaylor(MODEL, encoder[4]).interactions((query, retrieved)).project(random_mask(2, 12, 12, 0))
    yield "a projection", projected.unflatten(1, (1, 3, 3))


@pytest.mark.parametrize(("name", "attributions"), list(maps_of_methods()), ids=lambda value: value if isinstance(value, str) else "")
def test_maps_of_every_kind_of_method_are_accepted(name, attributions):
    query, retrieved = images(2)
    heat = metrics.to_pixels(attributions.detach(), (12, 12))  # equal pixels of a magnified map differ by rounding: rank the same numbers
    torch.testing.assert_close(heat.double(), slow_pixels(attributions.detach(), 12, 12).double(), rtol=0, atol=1e-12)
    for b in range(2):
        gone = metrics.faithfulness(MODEL, (query, retrieved), attributions)[b]
        shown = slow_censor(retrieved[b], slow_important(heat[b], 43), cp.blur_baseline(retrieved)[b])
        assert gone.item() == pytest.approx(slow_similarity(query[b], retrieved[b]) - slow_similarity(query[b], shown), abs=1e-12)


class Single(nn.Module):
    """A classifier of one class for quantus, which passes images in float32."""

    def __init__(self, query):
        super().__init__()
        self.model = MODEL.given_query(query)

    def forward(self, retrieved):
        return self.model(retrieved.double())[:, None]


def test_quantus_replaces_the_same_pixels():
    """Its features are channels of pixels, so every third step has replaced whole pixels: 1024, 2048, 3072 and all 4096."""
    quantus = pytest.importorskip("quantus", reason="an outside implementation: pip install 'captum-pairwise[oracles]'")
    query, retrieved = (torch.rand(2, 3, 64, 64, generator=seeded(k)).double() for k in range(2))
    background = cp.blur_baseline(retrieved).float().double()
    heat = random_tensor(2, 1, 64, 64)

    def blurred(arr, indices, **_):
        flipped = arr.copy()
        np.put_along_axis(flipped, indices, np.take_along_axis(background.flatten(1).numpy(), indices, 1), 1)
        return flipped

    flipping = quantus.PixelFlipping(features_in_step=1024, perturb_func=blurred, abs=False, normalise=False, disable_warnings=True)
    arrays = {"x_batch": retrieved.numpy(), "y_batch": np.zeros(2, dtype=int), "a_batch": heat.numpy()}
    values = torch.tensor(
        flipping(model=Single(query).eval(), **arrays, channel_first=True, softmax=False, device="cpu"), dtype=torch.float64
    )
    whole = MODEL(query, retrieved).detach()
    arguments = {"attributions": heat, "baselines": (None, background)}
    assert_close(metrics.faithfulness(MODEL, (query, retrieved), share=0.25, **arguments), whole - values[:, 2], rtol=0, atol=1e-10)
    curve = metrics.deletion_curve(MODEL, (query, retrieved), n_steps=4, **arguments)
    assert_close(curve.values[:, 1:], values[:, 2::3], rtol=0, atol=1e-10)
