"""Inputs `[B]`, a number for each example, as Captum's own models of two inputs take them: each image is one player."""

import pytest
import torch
from captum.attr import FeatureAblation, ShapleyValues
from captum.testing.helpers.basic_models import BasicModel2
from conftest import INPUT, INPUT_FIRST_ORDER
from torch import nn

import captum_pairwise as cp

QUERY, RETRIEVED = torch.tensor([3.0, 4.0]), torch.tensor([1.0, 2.0])
MASKS = torch.tensor([0, 0]), torch.tensor([0])
ABSENT = torch.tensor([0.5, 1.5]), torch.tensor(0.0)
EFFICIENT = [cls for cls in INPUT if cls not in (cp.IntegratedHessians, cp.PairwiseLime)]
OPAQUE = [cls for cls in EFFICIENT if cls is not cp.FactorisedShapleyTaylor]


class Tower(nn.Module):
    def __init__(self):
        super().__init__()
        self.lift, self.mix = nn.Linear(1, 3), nn.Linear(3, 3)

    def forward(self, numbers):
        return self.mix(self.lift(numbers[:, None]).tanh())


def make_wrapper():
    torch.manual_seed(0)
    return cp.SimilarityWrapper(Tower(), similarity="dot")


def corners(forward, absent):
    """The values of the four coalitions."""
    pairs = [(q, r) for q in (QUERY, absent[0].expand(2)) for r in (RETRIEVED, absent[1].expand(2))]
    return [forward(*pair) for pair in pairs]


@pytest.mark.parametrize("masks", [None, MASKS])
@pytest.mark.parametrize(("cls", "forward"), [(cls, BasicModel2()) for cls in OPAQUE] + [(cls, make_wrapper()) for cls in EFFICIENT])
def test_the_pair_is_the_difference_of_differences(cls, forward, masks):
    baselines = (ABSENT[0], 0.0)
    whole, query, retrieved, empty = corners(forward, ABSENT)
    found, delta = cls(forward).attribute((QUERY, RETRIEVED), baselines, feature_mask=masks, return_convergence_delta=True)
    expected = (whole - query - retrieved + empty).detach()
    torch.testing.assert_close(found.reshape(2), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(delta, torch.zeros(2), rtol=0, atol=1e-5)


@pytest.mark.parametrize("masks", [None, MASKS])
@pytest.mark.parametrize("cls", [cp.KernelShapley, cp.PartitionShap])
def test_one_image_alone_gets_the_credit_of_captums_ablation(cls, masks):
    found = cls(BasicModel2()).attribute((QUERY, RETRIEVED), feature_mask=masks)
    for credit, expected in zip(found, FeatureAblation(BasicModel2()).attribute((QUERY, RETRIEVED)), strict=True):
        torch.testing.assert_close(credit, expected, rtol=0, atol=1e-6)


def test_the_shapley_values_of_both_images_equal_captums():
    found = cp.ExactShapleyTaylor(BasicModel2()).interactions((QUERY, RETRIEVED)).marginal
    torch.testing.assert_close(found, torch.stack(ShapleyValues(BasicModel2()).attribute((QUERY, RETRIEVED)), 1), rtol=0, atol=1e-6)


def test_integrated_hessians_and_projections_integrate_the_mixed_derivative():
    model = make_wrapper()
    pairs = cp.IntegratedHessians(model, weight="taylor").attribute((QUERY, RETRIEVED), n_steps=60)
    for function in (model, lambda query, retrieved: model(query, retrieved)):  # two towers, and a function that hides them
        carried = cp.project_attention(function, None, (QUERY, RETRIEVED), torch.full((2, 1), 3.0), n_steps=60)
        torch.testing.assert_close(carried, 3 * pairs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("cls", [*INPUT, *INPUT_FIRST_ORDER])
def test_numbers_are_vectors_of_one_entry(cls):
    model = make_wrapper()
    model_of_vectors = cp.SimilarityWrapper(nn.Sequential(nn.Flatten(0), model.query_encoder), similarity="dot")
    found = cls(model).attribute((QUERY, RETRIEVED))
    expected = cls(model_of_vectors).attribute((QUERY[:, None], RETRIEVED[:, None]))
    for part, vector in zip(*((result if isinstance(result, tuple) else (result,)) for result in (found, expected)), strict=True):
        assert part.shape == (2,)
        torch.testing.assert_close(part, vector.flatten())


def test_a_mask_without_a_player_is_refused():
    with pytest.raises(ValueError, match="hold ids from 0 up"):
        cp.ExactShapleyTaylor(BasicModel2()).attribute((QUERY, RETRIEVED), feature_mask=(torch.tensor([0, -1]), None))
