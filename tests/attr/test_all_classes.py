"""Properties of all attribution classes that the battery of `captum_pairwise.testing` does not check."""

import pytest
import torch
from conftest import (
    INPUT,
    INPUT_FIRST_ORDER,
    LAYER,
    LAYER_FIRST_ORDER,
    MASKS,
    PAIRWISE_LAYER,
    flat,
    images,
    make,
    seeded,
    state_of,
    tiny_encoder,
)
from torch import nn

import captum_pairwise as cp
from captum_pairwise.estimators.regression.local_surrogate import cosine_kernel, uniform_coalitions

BY_VALUES = [  # see similarities only, and the pairwise ones draw coalitions of all players together
    cp.KernelShapley,
    cp.PartitionShap,
    cp.LayerKernelSAM,
    cp.SBSM,
    cp.KernelShapleyTaylor,
    cp.LayerKernelShapleyTaylor,
    cp.PairwiseLime,
    cp.GaussianProcessShapleyTaylor,
    cp.LayerGaussianProcessShapleyTaylor,
    cp.ShapleyTaylorSampling,
    cp.LayerShapleyTaylorSampling,
]
every_class = pytest.mark.parametrize("cls", [*INPUT, cp.PairwiseSBSM, *INPUT_FIRST_ORDER, cp.SBSM, *LAYER, cp.LayerVESM])
sampled = pytest.mark.parametrize(
    "cls",
    [
        cp.FactorisedShapleyTaylor,
        cp.JaggedShapleyTaylor,
        cp.LayerFactorisedShapleyTaylor,
        cp.LayerJaggedShapleyTaylor,
        cp.PairwiseLime,
        cp.PairwiseSBSM,
    ],
)


@every_class
def test_shapes(cls, model):
    method, arguments = make(cls, model)
    found = method.attribute(images(2), **arguments)
    shapes = [part.shape for part in found] if isinstance(found, tuple) else found.shape
    expected = {cls: [(2, 3, 12, 12)] * 2 for cls in [*INPUT_FIRST_ORDER, cp.SBSM]} | {
        cls: [(2, 1, 4), (2, 1, 6)] for cls in LAYER_FIRST_ORDER
    }
    expected[cp.LayerVESM] = [(2, 1, 3, 3)] * 2  # takes no mask
    assert shapes == expected.get(cls, (2, 4, 6))


@pytest.mark.parametrize("cls", LAYER)
def test_maps_without_a_mask_keep_their_shape(cls, model):
    method, _ = make(cls, model)
    arguments = {"n_samples": 2**9} if cls is cp.LayerExactShapleyTaylor else {}
    found = method.attribute(images(2), **arguments)
    shapes = [part.shape for part in found] if isinstance(found, tuple) else found.shape
    assert shapes == ([(2, 1, 3, 3)] * 2 if cls in LAYER_FIRST_ORDER else (2, 3, 3, 3, 3))


GRADIENT = [cp.IntegratedHessians, cp.LayerIntegratedHessians, cp.LayerIGSAM]  # Captum's family, with its word for a chunk


@pytest.mark.parametrize("cls", INPUT + PAIRWISE_LAYER)
def test_attribute_returns_the_pairs_and_the_delta_of_interactions(cls, model):
    method, arguments = make(cls, model)
    found, delta = method.attribute(images(2), **arguments, return_convergence_delta=True)
    interactions = method.interactions(images(2), **arguments)
    assert torch.equal(found, interactions.between)
    torch.testing.assert_close(delta, -interactions.completeness_gap, equal_nan=True)
    torch.testing.assert_close(interactions.full, model(*images(2)), rtol=0, atol=1e-12)
    assert interactions.query_players.n_players == 4 and interactions.retrieved_players.n_players == 6


@pytest.mark.parametrize("cls", GRADIENT)
def test_internal_batch_size_bounds_the_rows_of_a_pass(cls):
    encoder, rows = tiny_encoder(), []
    encoder[4].register_forward_hook(lambda _module, _inputs, output: rows.append(len(output)))
    layers = [encoder[2]] if cls in LAYER else []
    method = cls(cp.SimilarityWrapper(encoder), *layers)
    for size, is_bounded in ((None, False), (3, True)):
        rows.clear()
        method.attribute(images(1), n_steps=9, internal_batch_size=size)
        assert (max(rows) <= 3) is is_bounded


@pytest.mark.parametrize("cls", [cp.KernelShapley, cp.LayerKernelSAM, cp.SBSM, cp.PairwiseSBSM])
def test_perturbations_per_eval_bounds_the_rows_of_a_pass(cls):
    """One class for each place that takes the argument."""
    encoder, rows = tiny_encoder(), []
    encoder[4].register_forward_hook(lambda _module, _inputs, output: rows.append(len(output)))
    model = cp.SimilarityWrapper(encoder)
    method, arguments = make(cls, model)
    if cls in LAYER:
        method, arguments = cls(model, encoder[2]), {"layer_mask": (cp.grid(5, 5, 2, 2), cp.grid(5, 5, 3, 2))}
    for size, is_bounded in ((None, False), (3, True)):
        rows.clear()
        method.attribute(images(1), perturbations_per_eval=size, **arguments)
        assert (max(rows) <= 3) is is_bounded


def test_pairwise_sbsm_returns_the_pairs_of_interactions(model):
    method, arguments = make(cp.PairwiseSBSM, model)
    interactions = method.interactions(images(2), **arguments)
    assert torch.equal(method.attribute(images(2), **arguments), interactions.between)
    torch.testing.assert_close(interactions.full, model(*images(2)), rtol=0, atol=1e-12)
    assert interactions.query_players.n_players == 4 and interactions.retrieved_players.n_players == 6


@pytest.mark.parametrize("cls", [cls for cls in INPUT if cls is not cp.PairwiseLime])
def test_the_empty_coalition_is_two_blurred_images(cls, model):
    method, arguments = make(cls, model)
    blurred = model(*(cp.blur_baseline(batch) for batch in images(2)))
    torch.testing.assert_close(method.interactions(images(2), **arguments).empty, blurred, rtol=0, atol=1e-12)


@pytest.mark.parametrize("cls", INPUT)
def test_without_a_mask_images_get_superpixels_and_other_inputs_scalars(cls, model):
    torch.manual_seed(0)
    photos = tuple(nn.functional.interpolate(batch.float(), (48, 48), mode="bilinear").double() for batch in images(2))
    n_players = [int(cp.superpixels(batch).max()) + 1 for batch in photos]
    if cls is cp.FactorisedShapleyTaylor:
        assert cls(model).attribute(photos, n_samples=200).shape == (2, *n_players)
    vectors = tuple(torch.rand(2, size, generator=seeded(size), dtype=torch.float64) + 1 for size in (3, 5))
    towers = [nn.Linear(size, 4).double() for size in (3, 5)]
    assert cls(cp.SimilarityWrapper(*towers)).attribute(vectors).shape == (2, 3, 5)


@pytest.mark.parametrize("cls", INPUT)
def test_images_of_a_batch_may_have_different_players(cls, model):
    """An id that an image does not use is a dummy there, and what has id -1 never leaves."""
    ids = cp.grid(12, 12, 2, 2).repeat(2, 1, 1, 1)
    ids[1][ids[1] == 2] = 1
    ids[1, 0, 0, 0] = -1
    found = cls(model).interactions(images(2), feature_mask=(ids, MASKS[1]))
    for example in range(2):
        used = ids[example].unique()
        used = used[used >= 0]
        renumbered = torch.where(ids[example] < 0, -1, torch.searchsorted(used, ids[example].clamp(min=0)))
        one = tuple(batch[example : example + 1] for batch in images(2))
        alone = cls(model).interactions(one, feature_mask=(renumbered, MASKS[1]))
        torch.testing.assert_close(found.between[example, used], alone.between[0], rtol=0, atol=1e-12)
    assert (found.between[1, 2] == 0).all() and found.marginal[1, 2] == 0


@sampled
def test_the_generator_determines_the_draws(cls, model):
    method, arguments = make(cls, model)
    arguments["n_samples"] = 10
    runs = [method.attribute(images(1), **arguments, generator=seeded(seed)) for seed in (0, 0, 1)]
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])
    assert torch.equal(runs[0], method.attribute(images(1), **arguments))


def lime_gain(n_players, n_samples):
    """The largest sum of absolute weights with which a coefficient of LIME's ridge regression adds the similarities."""
    coalitions = uniform_coalitions(n_players, n_samples, seeded(0))
    weights, z = cosine_kernel(coalitions), coalitions.double()
    z = z - (weights[:, None] * z).sum(0) / weights.sum()  # the intercept is free
    return torch.linalg.solve(z.T @ (weights[:, None] * z) + torch.eye(n_players), z.T * weights).abs().sum(1).max().item()


@every_class
def test_bfloat16_is_near_float64(cls, model):
    method, arguments = make(cls, model)
    exact = flat(method.attribute(images(2), **arguments))
    dtype, low = torch.bfloat16, cp.SimilarityWrapper(tiny_encoder().bfloat16())
    method, arguments = make(cls, low)
    found = flat(method.attribute(tuple(batch.to(dtype) for batch in images(2)), **arguments)).double()
    # differences of embeddings are as precise as they are large; those of four similarities as the similarities, which are at most 1
    scale = 30 * exact.abs().max().item() + (4 if cls in BY_VALUES else 0)
    if cls is cp.SuperpixelLime:  # a linear map of similarities, whose largest row sum is the gain of their rounding
        scale += 4 * max(lime_gain(players, arguments["n_samples"]) for players in (4, 6))
    if cls is cp.PairwiseSBSM:  # and shares of rises of the similarity as that is to the rises
        scale += 4 / method.window_pairs(tuple(batch.to(dtype) for batch in images(2)), **arguments).weights.max().item()
    torch.testing.assert_close(found, exact, rtol=0, atol=min(torch.finfo(dtype).eps * scale, 0.1))


# LayerSAM and LayerPairwiseSAM draw nothing: they have a closed form
SAMPLING = [*INPUT, cp.PairwiseSBSM, cp.SBSM, *INPUT_FIRST_ORDER, *(cls for cls in LAYER if cls not in (cp.LayerSAM, cp.LayerPairwiseSAM))]


# Captum's gradient methods show no progress
@pytest.mark.parametrize("cls", [cls for cls in SAMPLING if cls not in GRADIENT])
def test_progress_is_shown_on_request(cls, model, capsys):
    method, arguments = make(cls, model)
    method.attribute(images(1), **arguments)
    assert capsys.readouterr().err == ""
    method.attribute(images(1), **arguments, show_progress=True)
    assert cls.__name__ in capsys.readouterr().err


@pytest.mark.parametrize("cls", SAMPLING)
def test_an_interrupt_stops_at_once_and_leaves_the_model_unchanged(cls):
    """Ctrl-C at the third chunk of the network: no further chunk runs, and no hook remains."""
    encoder, calls = tiny_encoder(), []
    model = cp.SimilarityWrapper(encoder)
    model(*images(1))

    def interrupt(*_):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt

    method, arguments = make(cls, model)
    last = [one[4] for one in (model.query_encoder, model.retrieved_encoder)]
    if "layer_mask" in arguments:  # the tail after a layer in the middle, which is run for every coalition
        method = cls(model, model.query_encoder[2])
        arguments = {"layer_mask": (cp.grid(5, 5, 2, 2), cp.grid(5, 5, 3, 2))}
    handles = [layer.register_forward_hook(interrupt) for layer in last]
    before = state_of(model)
    with pytest.raises(KeyboardInterrupt):
        method.attribute(images(1), **arguments, **{"internal_batch_size" if cls in GRADIENT else "perturbations_per_eval": 2})
    assert len(calls) == 3 and state_of(model) == before
    for handle in handles:
        handle.remove()
    whole = method.attribute(images(1), **arguments)
    assert all(part.isfinite().all() for part in (whole if isinstance(whole, tuple) else (whole,)))
