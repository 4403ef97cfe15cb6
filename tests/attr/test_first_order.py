"""First-order methods: each image explained on its own, against brute force on images and maps that were masked by hand."""

import captum.attr as ca
import numpy as np
import pytest
import torch
from conftest import images, seeded, tiny_encoder
from formulas import shapley_value
from model_cases import PROOF_ROWS
from torch import nn

import captum_pairwise as cp
from captum_pairwise.players.regions import paint

MASKS = (cp.grid(12, 12, 2, 2), cp.grid(12, 12, 2, 3))
SIZES = (4, 6)


def one_of(batches, example):
    return tuple(batch[example : example + 1] for batch in batches)


def shapley_of_eq_2(similarity, pair, baselines, masks, k):
    """Shapley values of the parts of image `k` of one pair; `similarity` of the pair with that image masked by hand."""
    n_players = int(masks[k].max()) + 1

    def value(players):
        kept = torch.isin(masks[k], torch.tensor(sorted(players), dtype=torch.long)) | (masks[k] < 0)
        shown = list(pair)
        shown[k] = torch.where(kept, pair[k], baselines[k])
        return similarity(*shown).item()

    return torch.tensor([shapley_value(value, player, n_players) for player in range(n_players)], dtype=torch.float64)


def opaque_similarity(query, retrieved):
    return torch.tanh((query * retrieved).mean((1, 2, 3)) * 5) + query.mean((1, 2, 3)).square()


@pytest.mark.parametrize("kind", ["cosine", "dot", "euclidean", "two encoders", "callable head", "plain callable"])
def test_parts_of_images_get_the_shapley_values_of_eq_2(kind):
    forward = {
        "two encoders": cp.SimilarityWrapper(tiny_encoder(0), tiny_encoder(1)),
        "callable head": cp.SimilarityWrapper(tiny_encoder(), similarity=lambda u, w: (u - w).abs().sum(1).neg().exp()),
        "plain callable": opaque_similarity,
    }.get(kind) or cp.SimilarityWrapper(tiny_encoder(), similarity=kind)
    pair, baselines = images(2), tuple(cp.blur_baseline(batch) for batch in images(2))
    found = cp.KernelShapley(forward).interactions(pair, feature_mask=MASKS)
    for example in range(2):
        for k in range(2):
            expected = shapley_of_eq_2(forward, one_of(pair, example), one_of(baselines, example), MASKS, k)
            torch.testing.assert_close(found[k].marginal[example], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize("index", [2, 4])
def test_cells_of_a_layer_get_the_shapley_values_of_eq_2(similarity, index):
    encoder, pair = tiny_encoder(), images(2)
    features, tail = encoder[: index + 1], encoder[index + 1 :]
    head = {"cosine": nn.functional.cosine_similarity, "dot": lambda u, w: (u * w).sum(1)}[similarity]
    outputs, baselines = ([features(batch) for batch in batches] for batches in (pair, map(cp.blur_baseline, pair)))
    side = outputs[0].shape[-1]
    masks = cp.grid(side, side, 2, 2), cp.grid(side, side, 3, 2)
    method = cp.LayerKernelSAM(cp.SimilarityWrapper(encoder, similarity=similarity), encoder[index])
    found = method.attribute(pair, layer_mask=masks)
    for example in range(2):
        for k in range(2):
            expected = shapley_of_eq_2(
                lambda x, y: head(tail(x).mean((2, 3)), tail(y).mean((2, 3))),
                one_of(outputs, example),
                one_of(baselines, example),
                masks,
                k,
            )
            torch.testing.assert_close(found[k][example, 0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n_samples", [30, 5000])
def test_sam_is_its_closed_form_for_the_dot_product(n_samples):
    """Prop. 4.1; the game is additive, so any budget that determines the values gives them."""
    encoder, pair = tiny_encoder(), images(2)
    model, blurred = cp.SimilarityWrapper(encoder, similarity="dot"), tuple(cp.blur_baseline(batch) for batch in pair)
    found = cp.LayerKernelSAM(model, encoder[4]).attribute(pair, n_samples=n_samples)
    torch.testing.assert_close(found, cp.LayerSAM(model, encoder[4]).attribute(pair, blurred), rtol=0, atol=1e-10)


def test_captum_agrees_on_each_image_given_the_other(model):
    """KernelShap by Captum draws with repetition; several runs give its mean and the noise of it."""
    pair = images(1)
    ours = cp.KernelShapley(model).attribute(pair, feature_mask=MASKS)
    one_sided = (model.given_retrieved(pair[1]), model.given_query(pair[0]))
    for k in range(2):
        torch.manual_seed(0)
        runs = torch.stack(
            [
                ca.KernelShap(one_sided[k]).attribute(
                    pair[k], cp.blur_baseline(pair[k]), feature_mask=MASKS[k], n_samples=200, perturbations_per_eval=50
                )
                for _ in range(12)
            ]
        ).double()
        assert runs[0].shape == ours[k].shape
        noise = runs.std(0) / len(runs) ** 0.5
        assert ((runs.mean(0) - ours[k]).abs() < 4 * noise).all() and noise.max() < ours[k].abs().max() / 20


@pytest.mark.parametrize("kind", ["images", "layer"])
def test_shap_agrees_on_each_image_given_the_other(kind):
    """Its kernel explainer over vectors of presence, of images or maps that are mixed by hand."""
    shap = pytest.importorskip("shap", reason="an outside implementation: pip install 'captum-pairwise[oracles]'")
    encoder, pair = tiny_encoder(), images(1)
    model, features, masks = cp.SimilarityWrapper(encoder), encoder[:3], MASKS
    shown, absent = pair, tuple(map(cp.blur_baseline, pair))
    if kind == "layer":
        masks = cp.grid(5, 5, 2, 2), cp.grid(5, 5, 3, 2)
        shown, absent = (tuple(features(batch).detach() for batch in batches) for batches in (shown, absent))
        found = cp.LayerKernelSAM(model, encoder[2]).attribute(pair, layer_mask=masks)
    else:
        found = [of_image.marginal for of_image in cp.KernelShapley(model).interactions(pair, feature_mask=masks)]
    tail = encoder[3:] if kind == "layer" else encoder
    for k, size in enumerate(SIZES):

        def value(rows, k=k):
            kept = torch.from_numpy(rows)[:, masks[k][0, 0]][:, None]
            mixed = [absent[k] + kept * (shown[k] - absent[k]), shown[1 - k]]
            return nn.functional.cosine_similarity(*(tail(one).mean((2, 3)) for one in mixed)).detach().numpy()

        explainer = shap.KernelExplainer(value, np.zeros((1, size)))
        expected = explainer.shap_values(np.ones(size), nsamples=5000, l1_reg=0, silent=True)
        torch.testing.assert_close(found[k].flatten(), torch.from_numpy(expected), rtol=0, atol=1e-12)


def test_every_scalar_has_the_credit_of_its_player(model):
    ids = MASKS[0].repeat(2, 1, 1, 1)
    ids[0, 0, :3] = -1
    method = cp.KernelShapley(model)
    maps = method.attribute(images(2), feature_mask=(ids, MASKS[1]))
    credits = method.interactions(images(2), feature_mask=(ids, MASKS[1]))
    for k, mask in enumerate((ids, MASKS[1])):
        assert torch.equal(maps[k], paint(credits[k].marginal, mask.expand(2, 3, 12, 12)))
    assert (maps[0][0, :, :3] == 0).all() and (maps[0][0, :, 3:] != 0).all()


@pytest.mark.parametrize("kind", ["images", "layer"])
def test_the_delta_is_the_missing_credit(kind, model):
    pair, generator = images(2), seeded(0)
    if kind == "images":
        method, arguments = cp.KernelShapley(model), {"feature_mask": MASKS}
    else:
        method, arguments = cp.LayerKernelSAM(model, model.query_encoder[4]), {"n_samples": 40}
    maps, delta = method.attribute(pair, **arguments, generator=generator, return_convergence_delta=True)
    credits = method.interactions(pair, **arguments, generator=seeded(0))
    blurred = tuple(cp.blur_baseline(batch) for batch in pair)
    brought = torch.stack([model(*pair) - model(blurred[0], pair[1]), model(*pair) - model(pair[0], blurred[1])], 1)
    total = torch.stack([of_image.marginal.sum(1) for of_image in credits], 1)
    torch.testing.assert_close(total, brought, rtol=0, atol=1e-12)
    torch.testing.assert_close(delta, total - brought, rtol=0, atol=1e-12)
    assert delta.shape == (2, 2) and [part.shape[0] for part in maps] == [2, 2]
    if kind == "layer":
        torch.testing.assert_close([part.sum((1, 2, 3)) for part in maps], list(total.T), rtol=0, atol=1e-12)


def test_vectors_and_tokens(model):
    vectors = tuple(torch.rand(2, size, generator=seeded(size), dtype=torch.float64) + 1 for size in (3, 5))
    towers = [nn.Linear(size, 4).double() for size in (3, 5)]
    found = cp.KernelShapley(cp.SimilarityWrapper(*towers, similarity="dot")).attribute(vectors)
    assert [part.shape for part in found] == [(2, 3), (2, 5)]
    u, w = (tower(vector) for tower, vector in zip(towers, vectors, strict=True))
    torch.testing.assert_close(found[0], vectors[0] * (w @ towers[0].weight), rtol=0, atol=1e-12)  # additive
    torch.testing.assert_close(found[1], vectors[1] * (u @ towers[1].weight), rtol=0, atol=1e-12)

    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.cut = nn.Conv2d(3, 4, 4, stride=4).double()
            self.embed = nn.Linear(4, 5).double()

        def forward(self, x):
            return self.embed(self.cut(x).flatten(2).mT).mean(1)

    encoder = Tokens()
    found = cp.LayerKernelSAM(cp.SimilarityWrapper(encoder), encoder.embed).attribute(images(2))
    assert [part.shape for part in found] == [(2, 1, 9)] * 2


def test_images_of_a_batch_may_have_different_players(model):
    ids = MASKS[0].repeat(2, 1, 1, 1)
    ids[1][ids[1] == 2] = 1
    together = cp.KernelShapley(model).interactions(images(2), feature_mask=(ids, MASKS[1]))
    alone = cp.KernelShapley(model).interactions(one_of(images(2), 1), feature_mask=(torch.where(ids[1:] == 3, 2, ids[1:]), MASKS[1]))
    torch.testing.assert_close(together[0].marginal[1, [0, 1, 3]], alone[0].marginal[0], rtol=0, atol=1e-12)
    assert together[0].marginal[1, 2] == 0


def test_backgrounds_average_the_values(model):
    pair, members = images(1), images(3, seed=9)
    baselines = tuple(cp.Backgrounds(batch) for batch in members)
    for forward in (model, opaque_similarity):
        found = cp.KernelShapley(forward).interactions(pair, baselines, feature_mask=MASKS)
        for k in range(2):
            each = [shapley_of_eq_2(forward, pair, [member[None]] * 2, MASKS, k) for member in members[k]]
            torch.testing.assert_close(found[k].marginal[0], torch.stack(each).mean(0), rtol=0, atol=1e-12)


def test_target_and_arguments_go_to_a_plain_callable_pair_by_pair():
    def forward(query, retrieved, scale):
        score = opaque_similarity(query, retrieved) * scale
        return torch.stack([score, score.square()], 1)

    pair, scale = images(2), torch.tensor([2.0, 3.0], dtype=torch.float64)
    method = cp.KernelShapley(forward)
    together = method.attribute(pair, target=[0, 1], additional_forward_args=scale, feature_mask=MASKS)
    for example, target in enumerate((0, 1)):
        arguments = {"target": target, "additional_forward_args": scale[example : example + 1], "feature_mask": MASKS}
        alone = method.attribute(one_of(pair, example), **arguments)
        torch.testing.assert_close([part[example : example + 1] for part in together], list(alone), rtol=0, atol=1e-12)
    with pytest.raises(AssertionError):
        cp.KernelShapley(opaque_similarity).attribute(pair, target=0, feature_mask=MASKS)


def test_interactions_have_standard_errors(model):
    method = cp.LayerKernelSAM(model, model.query_encoder[4])
    for of_image, exact in zip(method.interactions(images(2), n_samples=200), method.interactions(images(2)), strict=True):
        assert (exact.standard_error.marginal == 0).all() and (of_image.standard_error.marginal > 0).all()
        assert ((of_image.marginal - exact.marginal).abs() < 5 * of_image.standard_error.marginal).all()


def test_each_image_is_embedded_once_for_each_coalition():
    encoder, rows = tiny_encoder(), []
    encoder[4].register_forward_hook(lambda module, given, output: rows.append(len(output)))
    cp.KernelShapley(cp.SimilarityWrapper(encoder)).attribute(images(1), feature_mask=MASKS)
    assert sum(rows) == 2 ** SIZES[0] + 2 ** SIZES[1] + PROOF_ROWS


def test_generator_and_sampling_determine_the_draws(model):
    def run(generator=None, **how):
        return cp.LayerKernelSAM(model, model.query_encoder[4], **how).attribute(images(1), n_samples=40, generator=generator)

    same, again, other = (run(seeded(seed)) for seed in (0, 0, 1))
    for one in range(2):
        assert torch.equal(same[one], again[one]) and torch.equal(run()[one], run()[one])
        assert not torch.equal(same[one], other[one]) and not torch.equal(same[one], run(sampling="paper-direct")[one])


@pytest.mark.parametrize("cls", [cp.KernelShapley, cp.LayerKernelSAM])
def test_a_budget_below_the_number_of_players_is_refused(cls, model):
    layer = () if cls is cp.KernelShapley else (model.query_encoder[4],)
    arguments = {"feature_mask": (cp.grid(12, 12, 3, 3),) * 2} if cls is cp.KernelShapley else {}
    with pytest.raises(ValueError, match=r"Shapley values of 9 players, but 10 do not.* well above 16"):
        cls(model, *layer).attribute(images(1), n_samples=10, **arguments)
    found = cls(model, *layer, ridge=1e-2).attribute(images(1), n_samples=10, **arguments)
    assert all(part.isfinite().all() for part in found)


def test_without_a_mask_images_get_superpixels(model):
    photos = tuple(nn.functional.interpolate(batch, (48, 48), mode="bilinear") for batch in images(1))
    credits = cp.KernelShapley(model).interactions(photos, n_samples=250)
    assert [of_image.marginal.shape[1] for of_image in credits] == [int(cp.superpixels(photo).max()) + 1 for photo in photos]
