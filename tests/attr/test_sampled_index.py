"""The index of the classes that sample coalitions of both images."""

import pytest
import torch
from conftest import LAYER, assert_refused, images, make, on_wrapper

import captum_pairwise as cp
from captum_pairwise.estimators.coalitions import interaction_index
from captum_pairwise.estimators.enumeration import enumerate_values
from captum_pairwise.games.build import build_input_pairs, build_layer_pairs
from captum_pairwise.games.context import ForwardContext
from captum_pairwise.results.index import NAMES, parse_index

PROCESS = [cp.GaussianProcessShapleyTaylor, cp.LayerGaussianProcessShapleyTaylor]
ORDERS = [cp.ShapleyTaylorSampling, cp.LayerShapleyTaylorSampling]
KERNEL = [cp.KernelShapleyTaylor, cp.LayerKernelShapleyTaylor]
KERNEL_INDICES = ["shapley-taylor", "faith-shap", "banzhaf"]
CASES = [(cls, name) for cls in PROCESS + ORDERS for name in NAMES] + [(cls, name) for cls in KERNEL for name in KERNEL_INDICES]
MASKS = (cp.grid(12, 12, 2, 1), cp.grid(12, 12, 1, 2)), (cp.grid(3, 3, 2, 1), cp.grid(3, 3, 1, 2))


def with_index(cls, model, **options):
    return cls(model, *([model.query_encoder[4]] if cls in LAYER else []), **options)


@pytest.mark.parametrize(("cls", "name"), CASES, ids=lambda case: case if isinstance(case, str) else case.__name__)
def test_a_budget_for_all_coalitions_gives_the_index(cls, name, model):
    pair, index = images(1), parse_index(name, (0.3, 0.8))
    mask = {"layer_mask": MASKS[1]} if cls in LAYER else {"feature_mask": MASKS[0]}
    build = (build_layer_pairs, [model, model.query_encoder[4]]) if cls in LAYER else (build_input_pairs, [model])
    game = next(build[0](*build[1], pair, ForwardContext(), **mask).games())
    found = with_index(cls, model, index=name, p=(0.3, 0.8)).interactions(pair, n_samples=16, **mask)
    constant, first, second = interaction_index(enumerate_values(game), index, 2)
    torch.testing.assert_close(found.second_order[0], second, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.first_order[0], first, rtol=0, atol=1e-9)
    assert found.index == index and found.given_other is not None
    assert (found.empty if found.constant is None else found.constant).item() == pytest.approx(constant.item(), abs=1e-9)


@pytest.mark.parametrize("cls", PROCESS + ORDERS)
def test_one_sample_gives_every_index_and_keeps_the_maps(cls, model):
    _, arguments = make(cls, model)
    found = with_index(cls, model).interactions(images(2), n_samples=400, **arguments)
    other = found.as_index("banzhaf", 0.3)
    expected = with_index(cls, model, index="banzhaf", p=0.3).interactions(images(2), n_samples=400, **arguments)
    for name in ("between", "within_query", "first_order", "given_other", "marginal", "constant", "without_query", "n_evaluations"):
        torch.testing.assert_close(getattr(other, name), getattr(expected, name), rtol=0, atol=1e-9)
    assert not torch.equal(other.between, found.between) and torch.equal(other.given_other, found.given_other)
    assert other.query_players is found.query_players
    assert other.r2_law == found.r2_law != "" and not torch.equal(other.r2, found.r2)


@pytest.mark.parametrize("cls", KERNEL)
def test_the_fit_has_another_index_and_the_same_maps(cls, model):
    function, options = on_wrapper(cls, model)[0].forward_func, make(cls, model)[1]
    found = [with_index(cls, function, index=name).interactions(images(1), n_samples=400, **options) for name in KERNEL_INDICES]
    assert [one.index.name for one in found] == KERNEL_INDICES
    assert torch.equal(found[0].given_other, found[1].given_other) and found[0].given_other is not None
    for one in found:
        assert one.n_evaluations.item() <= 2 * (400 + 12)  # each tower embeds its image


@pytest.mark.parametrize("cls", PROCESS + ORDERS + KERNEL)
def test_unknown_indices_are_refused_at_once(cls, model):
    assert_refused(lambda: with_index(cls, model, index="owen"), "index to be one of .*got 'owen'")
    assert_refused(lambda: with_index(cls, model, index="banzhaf", p=1.5), "p to be a probability")


@pytest.mark.parametrize("cls", KERNEL)
def test_indices_without_a_regression_are_refused(cls, model):
    for name in set(NAMES) - set(KERNEL_INDICES):
        assert_refused(lambda name=name: with_index(cls, model, index=name), f"GaussianProcessShapleyTaylor.forward_func, index='{name}'")
    assert_refused(
        lambda: with_index(cls, model, index="banzhaf", sampling="paper-direct"),
        "sampling='distinct' for index='banzhaf', got 'paper-direct'",
    )


@pytest.mark.parametrize("cls", PROCESS + ORDERS)
def test_a_probability_for_each_image_is_refused_with_a_way_out(cls, model):
    method = with_index(cls, model, index="banzhaf", p=(0.3, 0.6))
    assert_refused(
        lambda: method.interactions(images(1), n_samples=200, **make(cls, model)[1]), "one probability p.*FactorisedInteractions"
    )
