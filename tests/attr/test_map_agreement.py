"""The heat maps of all second-order classes, compared with the classes of first order."""

import pytest
import torch
from conftest import images, tiny_encoder

import captum_pairwise as cp

MASKS = cp.grid(12, 12, 2, 2), cp.grid(12, 12, 2, 3)  # 4 and 6 players
ENUMERATED = {"feature_mask": MASKS, "n_samples": 2**10}
SHAPLEY = {
    "factorised": cp.FactorisedShapleyTaylor,
    "exact": cp.ExactShapleyTaylor,
    "jagged": cp.JaggedShapleyTaylor,
    "permutations": cp.ShapleyTaylorSampling,
    "process": cp.GaussianProcessShapleyTaylor,
    "kernel": cp.KernelShapleyTaylor,
}
PAIR = tuple(batch[:, :, :12, :12].clone() for batch in images(2))


def model_or_function(is_opaque, encoder):
    model = cp.SimilarityWrapper(encoder)
    return (lambda query, retrieved: model(query, retrieved)) if is_opaque else model


def assert_same_maps(found, expected, **tolerance):
    """The maps and their ends are the results of both images alone."""
    sides = (found.query_map, found.without_query), (found.retrieved_map, found.without_retrieved)
    for (credit, end), image in zip(sides, expected, strict=True):
        torch.testing.assert_close(credit, image.marginal, **tolerance)
        torch.testing.assert_close(end, image.empty, **tolerance)


@pytest.mark.parametrize("is_opaque", [False, True], ids=["two towers", "black box"])
@pytest.mark.parametrize("name", SHAPLEY)
def test_enumerated_maps_are_those_of_kernel_shapley(name, is_opaque):
    if name == "factorised" and is_opaque:
        pytest.skip("it needs two towers")
    forward = model_or_function(is_opaque, tiny_encoder())
    expected = cp.KernelShapley(forward).interactions(PAIR, **ENUMERATED)
    assert_same_maps(SHAPLEY[name](forward).interactions(PAIR, **ENUMERATED), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["permutations", "process", "kernel"])
def test_sampled_maps_of_a_black_box_are_near_those_of_kernel_shapley(name):
    masks = cp.grid(12, 12, 3, 3), cp.grid(12, 12, 2, 3)
    forward = model_or_function(True, tiny_encoder())
    expected = cp.KernelShapley(forward).interactions(PAIR, feature_mask=masks, n_samples=2**9)
    found = SHAPLEY[name](forward).interactions(PAIR, feature_mask=masks, n_samples=600)
    credit = torch.cat([image.marginal for image in expected], 1)
    assert (found.given_other - credit).norm() < 0.05 * credit.norm()
    assert ((found.given_other - credit).abs() <= 4 * found.standard_error.given_other + 1e-9).all()
    assert torch.cat(found.map_gaps).abs().max() < 1e-9
    assert (found.n_evaluations <= 600 + (17 if name == "kernel" else 0)).all()  # ends and single players beside the budget


def test_layer_maps_are_those_of_kernel_sam():
    encoder = tiny_encoder()
    model, cells = cp.SimilarityWrapper(encoder), cp.grid(4, 4, 2, 2)
    height, width = encoder(PAIR[0]).shape[2:]
    masks = tuple(cp.grid(height, width, 2, 2) for _ in PAIR)
    assert cells.max() == 3
    expected = cp.LayerKernelSAM(model, encoder[4]).interactions(PAIR, layer_mask=masks, n_samples=2**8)
    found = cp.LayerFactorisedShapleyTaylor(model, encoder[4]).interactions(PAIR, layer_mask=masks, n_samples=2**8)
    assert_same_maps(found, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize("is_opaque", [False, True], ids=["two towers", "black box"])
def test_maps_of_integrated_hessians_are_those_of_ig_sam(is_opaque, within):
    encoder = tiny_encoder()
    forward, layer = model_or_function(is_opaque, encoder), encoder[4]
    expected = cp.LayerIGSAM(forward, layer).interactions(PAIR, n_steps=7)
    found = cp.LayerIntegratedHessians(forward, layer, within=within).interactions(PAIR, n_steps=7)
    assert_same_maps(found, expected, rtol=0, atol=1e-12)
    drawn = cp.LayerIntegratedHessians(forward, layer, within=within).interactions(PAIR, n_steps=7, method="expected", n_samples=3)
    assert_same_maps(drawn, expected, rtol=0, atol=1e-12)
    assert drawn.standard_error.given_other is None  # nothing of the maps is drawn


def test_methods_without_maps_say_which_have_them():
    found = cp.PairwiseLime(cp.SimilarityWrapper(tiny_encoder())).interactions(PAIR, feature_mask=MASKS, n_samples=64)
    with pytest.raises(ValueError, match="LIME and SBSM have no heat maps of pairs"):
        _ = found.query_map
