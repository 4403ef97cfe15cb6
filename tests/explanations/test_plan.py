"""The method, the baselines and the budget that are chosen."""

import pytest
import torch
from conftest import images, tiny_encoder
from torch import nn

import captum_pairwise as cp
from captum_pairwise.explanations.chosen_parts import MOST_SAMPLED
from captum_pairwise.explanations.options import Options
from captum_pairwise.explanations.plan import make_plan
from captum_pairwise.players.position_layouts import apply_layout

PAIR = images(1)


def choose(model, pair=PAIR, **options):
    return make_plan(model, pair, Options(**options))


def wide_encoder():
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.ReLU()).double().eval()


@pytest.mark.parametrize(
    ("similarity", "encoder", "expected"),
    [
        ("cosine", tiny_encoder, cp.LayerFactorisedInteractions),
        ("euclidean", tiny_encoder, cp.LayerFactorisedInteractions),
        ("dot", tiny_encoder, cp.LayerPairwiseSAM),
        (
            "dot",
            lambda: nn.Sequential(*tiny_encoder(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Softmax(1)),
            cp.LayerFactorisedInteractions,
        ),
        ("cosine", lambda: nn.Sequential(*wide_encoder(), nn.Upsample(scale_factor=3)), cp.LayerIntegratedHessians),
        (lambda u, w: (u - w).abs().sum(1), tiny_encoder, cp.LayerFactorisedInteractions),
    ],
    ids=["cosine", "euclidean", "dot and pooling", "dot and more", "many parts", "callable"],
)
def test_the_method_follows_from_the_model(similarity, encoder, expected):
    plan = choose(cp.SimilarityWrapper(encoder(), similarity=similarity))
    assert type(plan.method) is expected
    assert expected.__name__ in " ".join(plan.choices)
    assert ("Banzhaf" in " ".join(plan.choices)) == (expected is not cp.LayerPairwiseSAM)


def test_many_parts_are_sampled_as_blocks_if_gradients_do_not_predict():
    plan = choose(cp.SimilarityWrapper(nn.Sequential(*wide_encoder(), nn.Upsample(scale_factor=3))))
    assert 36 * 36 > MOST_SAMPLED
    assert type(plan.fallback.method) is cp.LayerFactorisedInteractions and "9 × 9 blocks of 4 × 4 cells" in plan.fallback.choices[0]
    mask = plan.fallback.arguments["layer_mask"][0]
    players = apply_layout(torch.zeros(1, 4, 36, 36), mask, "the mask", 1)
    assert players.shape == (9, 9) and torch.equal(players.ids, cp.grid(36, 36, 9, 9))
    assert plan.last is plan.fallback and plan.last.last is plan.last


def test_a_budget_is_for_samples_of_blocks():
    plan = choose(cp.SimilarityWrapper(nn.Sequential(*wide_encoder(), nn.Upsample(scale_factor=3))), n_samples=500)
    assert type(plan.method) is cp.LayerFactorisedInteractions and plan.fallback is None
    assert plan.arguments["n_samples"] == 500 and "blocks of 4 × 4 cells" in plan.choices[0]


def test_a_normalised_embedding_after_pooling_is_sampled():
    class Normalised(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())

        def forward(self, inputs):
            return nn.functional.normalize(self.features(inputs).mean((2, 3)), dim=1)

    plan = choose(cp.SimilarityWrapper(Normalised().double().eval()))
    assert type(plan.method) is cp.LayerFactorisedInteractions and "12 × 12 cells" in plan.choices[0]


@pytest.mark.parametrize(
    ("after", "options", "expected"),
    [
        ([nn.Conv2d(4, 4, 1)], {}, ["LayerIntegratedHessians", "LayerFactorisedInteractions"]),
        ([nn.Conv2d(4, 4, 1)], {"n_samples": 300}, ["LayerFactorisedInteractions"]),
        ([nn.Conv2d(4, 4, 1)], {"method": "path"}, ["LayerIntegratedHessians"]),
        ([nn.AdaptiveAvgPool2d(1), nn.Flatten()], {}, ["LayerFactorisedInteractions"]),
    ],
    ids=["more follows", "a budget", "named", "only pooling follows"],
)
def test_gradients_come_first_for_many_parts_before_a_tail_that_is_not_affine(after, options, expected):
    tail = [nn.ReLU(), nn.Flatten(), nn.Linear(4 * 144, 5), nn.GELU()] if len(after) == 1 else []
    encoder = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), *after, *tail).double().eval()
    plan = choose(cp.SimilarityWrapper(encoder), **options)
    plans = [plan] if plan.fallback is None else [plan, plan.fallback]
    assert [type(one.method).__name__ for one in plans] == expected
    assert "12 × 12 cells" in plan.choices[0]


def test_a_function_is_a_black_box():
    plan = choose(lambda query, retrieved: (query * retrieved).sum((1, 2, 3)))
    assert type(plan.method) is cp.GaussianProcessShapleyTaylor
    assert "cannot be split" in plan.choices[1]


def test_an_encoder_without_places_has_superpixels():
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(432, 5)).double()
    plan = choose(cp.SimilarityWrapper(encoder))
    assert type(plan.method) is cp.FactorisedInteractions
    assert plan.arguments["feature_mask"][0].shape == (1, 1, 12, 12)


@pytest.mark.parametrize("method", ["closed form", "factorised", "path", "opaque", cp.LayerKernelShapleyTaylor, cp.KernelShapleyTaylor])
def test_the_user_may_name_the_method(method):
    model = cp.SimilarityWrapper(tiny_encoder())
    plan = choose(model, method=method)
    name = {"closed form": "LayerPairwiseSAM", "path": "LayerIntegratedHessians"}.get(method, "")
    assert name in type(plan.method).__name__
    assert "because" not in plan.choices[1]


def test_the_user_may_choose_the_layer_the_budget_and_the_baselines():
    encoder = tiny_encoder()
    plan = choose(cp.SimilarityWrapper(encoder), layer="2", n_samples=77, baselines=(0, 0))
    assert plan.method.layer is encoder[2]
    assert (plan.arguments["n_samples"], plan.arguments["baselines"]) == (77, (0, 0))
    assert "77 samples" in plan.choices[1] and "your baselines" in plan.choices[-1]


def test_a_mask_of_the_user_has_his_parts():
    masks = (cp.grid(12, 12, 2, 2),) * 2
    plan = choose(cp.SimilarityWrapper(tiny_encoder()), feature_mask=masks)
    assert type(plan.method) is cp.FactorisedInteractions
    assert plan.arguments["feature_mask"] is masks


def test_the_background_replaces_absent_parts():
    members = images(3)[0]
    plan = choose(cp.SimilarityWrapper(tiny_encoder()), background=(members, members))
    assert all(torch.equal(baseline.images, members) for baseline in plan.arguments["baselines"])
    assert plan.absent == ("replaced by 3 images of the background",) * 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "shapley"}, "Expected method to be one of"),
        ({"method": cp.LayerKernelSAM}, "Expected method to be one of"),
        ({"method": 3}, "Expected method to be one of"),
        ({"layer": "9"}, "Expected the name of a layer"),
        ({"method": "closed form", "feature_mask": (cp.grid(12, 12, 2, 2),) * 2}, "Expected a layer for method='closed form'"),
    ],
)
def test_other_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        choose(cp.SimilarityWrapper(tiny_encoder()), **options)


def test_a_layer_method_needs_a_layer():
    with pytest.raises(ValueError, match="Expected layer= for LayerKernelShapleyTaylor"):
        choose(lambda query, retrieved: query.sum((1, 2, 3)) * retrieved.sum((1, 2, 3)), method=cp.LayerKernelShapleyTaylor)


def test_a_budget_of_a_method_without_one_is_refused():
    with pytest.raises(ValueError, match="Expected no n_samples, because LayerPairwiseSAM draws nothing, got 7"):
        choose(cp.SimilarityWrapper(tiny_encoder(), similarity="dot"), n_samples=7)
