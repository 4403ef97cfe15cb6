"""`PartitionShap`: the pixels of each image, beside shap's own explainer and images that were masked by hand."""

import numpy as np
import pytest
import torch
from conftest import images, seeded, tiny_encoder
from model_cases import PROOF_ROWS
from torch import nn
from torchvision.transforms.functional import gaussian_blur

import captum_pairwise as cp
from captum_pairwise.estimators.owen_values import partition_shapley
from captum_pairwise.games.game import CallableGame
from captum_pairwise.players.trees import bisection_tree

MASKS = (cp.grid(12, 12, 2, 2), cp.grid(12, 12, 2, 3))


def small_pair(height, width, channels=3):
    return tuple(torch.rand(1, channels, height, width, generator=seeded(k), dtype=torch.float64) for k in range(2))


def similarity(query, retrieved):
    """Neither additive nor symmetric in the pixels, of images of any size; larger than rounding."""
    u, w = (torch.tanh(2 * batch.cumsum(2).cumsum(3).flatten(1) / batch[0].numel() + batch.flatten(1)) for batch in (query, retrieved))
    return nn.functional.cosine_similarity(u.cumsum(1).sin(), w.cumsum(1).sin()) + (u * w).mean(1)


def explain_with_shap(forward, pair, background, k, max_evals, batch_size=64):
    """shap's credits of image `k` of a pair `[1, C, H, W]`, of each pixel the sum over its channels; and its evaluations."""
    shap = pytest.importorskip("shap", reason="an outside implementation to compare with: pip install 'captum-pairwise[oracles]'")

    def image_value(batch):
        shown = [one.expand(len(batch), *one.shape[1:]) for one in pair]
        shown[k] = torch.from_numpy(batch).permute(0, 3, 1, 2)
        return forward(*shown).numpy()

    image = pair[k][0].permute(1, 2, 0).numpy()
    masker = shap.maskers.Image(background if isinstance(background, str) else background[0].permute(1, 2, 0).numpy(), image.shape)
    explainer = shap.PartitionExplainer(image_value, masker)
    found = explainer(image[None], max_evals=max_evals, batch_size=batch_size, silent=True)
    return torch.from_numpy(found.values[0].reshape(image.shape).sum(-1)), explainer.last_eval_count


@pytest.mark.slow
@pytest.mark.parametrize("size", [(4, 4), (5, 3), (3, 6)])
@pytest.mark.parametrize("k", [0, 1])
def test_a_full_budget_equals_shap(size, k):
    pair = small_pair(*size)
    ours = cp.PartitionShap(similarity).attribute(pair)[k]
    theirs, _ = explain_with_shap(similarity, pair, cp.blur_baseline(pair[k]), k, max_evals=10**6)
    assert (ours[0] - theirs).abs().max() < 1e-15 < 1e-3 < theirs.std()


@pytest.mark.slow
def test_the_blur_is_shaps_own():
    pytest.importorskip("cv2", reason="shap blurs with it: pip install 'captum-pairwise[oracles]'")
    pair = small_pair(6, 7)
    baselines = tuple(cp.blur_baseline(image, 5) for image in pair)
    ours = cp.PartitionShap(similarity).attribute(pair, baselines, n_samples=10**6)
    for k in range(2):
        theirs, _ = explain_with_shap(similarity, pair, "blur(5,5)", k, max_evals=10**6)
        torch.testing.assert_close(ours[k][0, 0], theirs, rtol=0, atol=1e-13)


@pytest.mark.parametrize("n_samples", [2, 40, 41, 300, 1000])
@pytest.mark.parametrize("batch_size", [2, 64])
def test_small_budgets_equal_shap_on_grey_images(n_samples, batch_size):
    """For colour images shap's recursion continues into the channels of a pixel, so it uses its budget differently."""
    pair = small_pair(9, 8, channels=1)
    found = cp.PartitionShap(similarity, batch_size=batch_size).interactions(pair, n_samples=n_samples)
    theirs, count = explain_with_shap(similarity, pair, cp.blur_baseline(pair[1]), 1, n_samples + n_samples % 2, batch_size)
    ours = found[1]
    spent = n_samples + n_samples % 2  # shap goes one beyond an odd budget, this package stays below
    if n_samples % 2 == 0:
        torch.testing.assert_close(ours.marginal.reshape(9, 8), theirs, rtol=0, atol=1e-14)
    assert (ours.n_evaluations.item(), count + 2) == (n_samples - n_samples % 2, spent)


def masked_by_hand(forward, pair, baselines, k, ids):
    """The game of the parts of image `k`."""

    def value(z):
        rows = []
        for present in z:
            shown = list(pair)
            shown[k] = torch.where(present[ids], pair[k], baselines[k])
            rows.append(forward(*shown))
        return torch.cat(rows)

    return CallableGame(0, int(ids.max()) + 1, value)


BASELINES = {
    "box blur": (None, cp.blur_baseline),
    "Gaussian blur": (lambda batch, ids: gaussian_blur(batch, [5, 5]), lambda batch: gaussian_blur(batch, [5, 5])),
    "black": (0.0, torch.zeros_like),
    "mean colour": (lambda batch, ids: cp.mean_colour(batch), cp.mean_colour),
    "another image": (images(1, seed=7)[0], lambda batch: images(1, seed=7)[0]),
}


@pytest.mark.parametrize("name", BASELINES)
def test_parts_are_split_by_position_for_any_baseline(name, model):
    given, shown = BASELINES[name]
    pair, ids = images(1), torch.arange(144).reshape(12, 12) // 12 % 4 * 2 + torch.arange(12) // 6
    n_rows = {0: 4.0, 1: 5.0, 2: 6.0, 3: 7.0}  # of the three rows of each part, the mean
    places = torch.tensor([[n_rows[part // 2], 2.5 + 6 * (part % 2)] for part in range(8)])
    found = cp.PartitionShap(model).interactions(pair, (given, given), feature_mask=(ids, ids))
    for k in range(2):
        game = masked_by_hand(model, pair, [shown(pair[k])] * 2, k, ids)
        expected = partition_shapley(game, bisection_tree(places), 10**6)
        torch.testing.assert_close(found[k].marginal, expected.marginal, rtol=0, atol=1e-12)
        torch.testing.assert_close(found[k].empty, expected.empty, rtol=0, atol=1e-12)


def test_baselines_make_a_difference(model):
    maps = [cp.PartitionShap(model).attribute(images(1), (given, given), n_samples=200)[0] for given, _ in BASELINES.values()]
    for number, one in enumerate(maps):
        assert all((one - other).norm() > one.norm() / 100 for other in maps[:number])


def test_every_channel_has_the_credit_of_its_pixel(model):
    pair = images(2)
    maps, delta = cp.PartitionShap(model).attribute(pair, n_samples=300, return_convergence_delta=True)
    for k in range(2):
        assert maps[k].shape == (2, 3, 12, 12)
        assert torch.equal(maps[k], maps[k][:, :1].expand_as(maps[k]))
        whole, alone = model(*pair), model(*(batch if one != k else cp.blur_baseline(batch) for one, batch in enumerate(pair)))
        torch.testing.assert_close(maps[k][:, 0].sum((1, 2)), whole - alone, rtol=0, atol=1e-12)
    assert delta.shape == (2, 2) and delta.abs().max() < 1e-12


@pytest.mark.parametrize("n_samples", [2, 3, 10, 100, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_credits_are_efficient_at_any_budget(n_samples, dtype):
    model = cp.SimilarityWrapper(tiny_encoder().to(dtype))
    pair = tuple(nn.functional.interpolate(batch, (64, 64)).to(dtype) for batch in images(1))
    maps, delta = cp.PartitionShap(model).attribute(pair, (0.0, 0.0), n_samples=n_samples, return_convergence_delta=True)
    tolerance = 1e-6 if dtype == torch.float32 else 1e-12
    assert delta.abs().max() < tolerance
    for k in range(2):
        brought = model(*pair) - model(*(batch if one != k else 0 * batch for one, batch in enumerate(pair)))
        assert (maps[k][:, 0].double().sum() - brought.double()).abs() < tolerance < 1e-3 < brought.abs()


def test_unused_ids_have_no_leaf(model):
    ids = MASKS[0].repeat(2, 1, 1, 1)
    ids[1][ids[1] == 2] = 1
    ids[:, :, 0, 0] = -1
    pair = images(2)
    found = cp.PartitionShap(model).interactions(pair, feature_mask=(ids, MASKS[1]))[0]
    renumbered = torch.where(ids[1:] == 3, 2, ids[1:])
    alone = cp.PartitionShap(model).interactions(tuple(batch[1:] for batch in pair), feature_mask=(renumbered, MASKS[1]))[0]
    torch.testing.assert_close(found.marginal[1, [0, 1, 3]], alone.marginal[0], rtol=0, atol=1e-12)
    assert found.marginal[1, 2] == 0 and found.n_evaluations[1] == alone.n_evaluations[0] < found.n_evaluations[0]
    assert (cp.PartitionShap(model).attribute(pair, feature_mask=(ids, MASKS[1]))[0][:, :, 0, 0] == 0).all()


def test_vectors_are_split_by_index():
    towers = [nn.Linear(size, 4).double() for size in (3, 5)]
    vectors = tuple(torch.rand(2, size, generator=seeded(size), dtype=torch.float64) + 1 for size in (3, 5))
    model = cp.SimilarityWrapper(*towers)
    found = cp.PartitionShap(model).attribute(vectors)
    assert [part.shape for part in found] == [(2, 3), (2, 5)]
    game = CallableGame(0, 5, lambda z: model(vectors[0][:1].expand(len(z), 3), z * vectors[1][:1]))
    expected = partition_shapley(game, bisection_tree(torch.arange(5.0)[:, None]), 1000).marginal
    torch.testing.assert_close(found[1][:1], expected, rtol=0, atol=1e-12)


def test_each_coalition_is_one_row_of_the_network():
    encoder, rows = tiny_encoder(), []
    encoder[4].register_forward_hook(lambda module, given, output: rows.append(len(output)))
    cp.PartitionShap(cp.SimilarityWrapper(encoder)).attribute(images(1), n_samples=500)
    assert sum(rows) == 2 * 500 + PROOF_ROWS and max(rows) == 64


@pytest.mark.parametrize("arguments", [{"n_samples": 1}, {"n_samples": 0}])
def test_a_budget_without_both_ends_is_refused(arguments, model):
    with pytest.raises(ValueError, match="n_samples of at least 2"):
        cp.PartitionShap(model).attribute(images(1), **arguments)


def test_results_are_deterministic(model):
    state = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    runs = [cp.PartitionShap(model).attribute(images(1), n_samples=100, generator=seeded(seed)) for seed in (0, 1)]
    assert torch.equal(runs[0][0], runs[1][0]) and torch.equal(runs[0][1], runs[1][1])
    assert torch.equal(state[0], torch.random.get_rng_state()) and (state[1] == np.random.get_state()[1]).all()
