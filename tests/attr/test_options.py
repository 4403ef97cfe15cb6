"""Default budgets, and the options of the constructors, as they arrive at the estimators."""

import inspect

import pytest
from conftest import LAYER, images, make

import captum_pairwise as cp
from captum_pairwise.attr import enumerated, factorised, kernel, lime, partition, sbsm, shapley_taylor

DEFAULTS = {  # as the classes describe them: the estimator and its budget without `n_samples`
    cp.KernelShapley: (kernel, "kernel_shapley", 5000),
    cp.LayerKernelSAM: (kernel, "kernel_shapley", 5000),
    cp.KernelShapleyTaylor: (kernel, "estimate_with_maps", 2000),
    cp.LayerKernelShapleyTaylor: (kernel, "estimate_with_maps", 20_000),
    cp.SuperpixelLime: (lime, "fit_lime", 5000),
    cp.PairwiseLime: (lime, "lime", 20_000),
    cp.PartitionShap: (partition, "partition_shapley", 5000),
    cp.PairwiseSBSM: (sbsm, "weigh_window_pairs", 20_000),
    cp.FactorisedInteractions: (factorised, "factorise", 500),
    cp.LayerFactorisedInteractions: (factorised, "factorise", 4000),  # of a tail of pooling
    cp.FactorisedShapleyTaylor: (factorised, "factorise", 500),
    cp.LayerFactorisedShapleyTaylor: (factorised, "factorise", 4000),
    cp.ShapleyTaylorSampling: (shapley_taylor, "estimate_with_maps", 2000),
    cp.LayerShapleyTaylorSampling: (shapley_taylor, "estimate_with_maps", 20_000),
    cp.GaussianProcessShapleyTaylor: (shapley_taylor, "estimate_with_maps", 2000),
    cp.LayerGaussianProcessShapleyTaylor: (shapley_taylor, "estimate_with_maps", 2000),
    cp.JaggedShapleyTaylor: (shapley_taylor, "share_dividends", 500),
    cp.LayerJaggedShapleyTaylor: (shapley_taylor, "share_dividends", 2000),
    cp.ExactShapleyTaylor: (enumerated, "exact", 2**16),
    cp.LayerExactShapleyTaylor: (enumerated, "exact", 2**16),
}


class _Stopped(Exception):
    """Raised in place of an estimate."""


@pytest.mark.parametrize("cls", DEFAULTS)
def test_every_class_has_the_default_budget_that_it_describes(cls, model, monkeypatch):
    module, name, expected = DEFAULTS[cls]
    signature, budgets = inspect.signature(getattr(module, name)), []

    def record(*given, **options):
        arguments = signature.bind(*given, **options).arguments
        budgets.append(arguments["most"] if name == "exact" else arguments["n_samples"])
        raise _Stopped

    monkeypatch.setattr(module, name, record)
    method, arguments = make(cls, model)
    with pytest.raises(_Stopped):
        method.attribute(images(1), **{key: value for key, value in arguments.items() if key != "n_samples"})
    assert budgets == [expected]


@pytest.mark.parametrize(
    ("layer", "options", "side", "expected"),
    [
        (4, {}, 3, 4000),  # pooling follows
        (4, {"fit": "chains"}, 3, 4000),
        (4, {"fit": "process"}, 3, 128),
        (4, {"within": True}, 3, 128),
        (4, {"tolerance": 0.1}, 3, 128),
        (2, {}, 5, 250),  # ReLU and a convolution follow
        (0, {}, 5, 250),
    ],
)
def test_the_default_budget_of_a_layer_depends_on_the_tail_and_the_parts(layer, options, side, expected, model, monkeypatch):
    budgets = []

    def record(game, n_samples, *given, **more):
        budgets.append((n_samples, max(game.n_query, game.n_retrieved)))
        raise _Stopped

    monkeypatch.setattr(factorised, "factorise", record)
    with pytest.raises(_Stopped):
        cp.LayerFactorisedInteractions(model, model.query_encoder[layer], **options).attribute(images(1))
    assert budgets == [(expected, side**2)]


KERNEL, TOWERS = {"sampling": "paper-direct", "ridge": 0.125}, {"fit": "process", "tolerance": 0.25, "within": True}
OPTIONS = {
    cp.KernelShapley: KERNEL,
    cp.LayerKernelSAM: KERNEL,
    cp.KernelShapleyTaylor: KERNEL,
    cp.LayerKernelShapleyTaylor: KERNEL,
    cp.PairwiseLime: {"decay": 0.75, "alpha": 0.125},
    cp.PartitionShap: {"batch_size": 6},
    cp.FactorisedShapleyTaylor: TOWERS,
    cp.LayerFactorisedShapleyTaylor: TOWERS,
}


@pytest.mark.parametrize("cls", OPTIONS)
def test_all_options_arrive_at_the_estimator(cls, model, monkeypatch):
    module, name, _ = DEFAULTS[cls]
    name = "kernel_taylor" if name == "estimate_with_maps" else name
    signature, seen = inspect.signature(getattr(module, name)), []

    def record(*given, **more):
        arguments = signature.bind(*given, **more).arguments
        options = vars(arguments["options"]) if "options" in arguments else arguments
        seen.append({key: options[key] for key in OPTIONS[cls]})
        raise _Stopped

    monkeypatch.setattr(module, name, record)
    layer = [model.query_encoder[4]] if cls in LAYER else []
    with pytest.raises(_Stopped):
        cls(model, *layer, **OPTIONS[cls]).attribute(images(1), **make(cls, model)[1])
    assert seen == [OPTIONS[cls]]
