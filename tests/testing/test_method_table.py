"""The table of methods is correct: order, needs, sums and network passes are measured."""

import inspect
import re
from math import prod
from pathlib import Path

import captum.attr as ca
import pytest
import torch
from conftest import images, tiny_encoder
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import captum_pairwise as cp
from captum_pairwise.testing import method_table
from captum_pairwise.testing.method_table import METHODS, format_method_table

METHODS_PAGE = Path(__file__).parents[2] / "tutorials" / "guide" / "methods.md"
OF_IMAGES = [method for method in METHODS if method.cls is not cp.MaxSimShapleyTaylor]
ROWS = pytest.mark.parametrize("method", OF_IMAGES, ids=[method.cls.__name__ for method in OF_IMAGES])
# passes of the baselines and the ends of paths, of the search for the tail, and of two rows an image that show the effect of its players
A_FEW = {"whole": 4, "tail": 12 + 4}
PROOF = 3 + 2  # passes that prove a new model: one image and two, and two to compare the tail with the whole network
FEW, MANY = ((2, 2), (3, 2)), ((3, 3), (3, 3))  # rows and columns of parts of both images
# the numbers that the formulas of the table stand for, with 16 windows for each image
FORMULAS = {
    "2": lambda sizes: 2,
    "4": lambda sizes: 4,
    "n_steps": lambda sizes: sizes["n_steps"],
    "2 * n_steps": lambda sizes: 2 * sizes["n_steps"],
    "2 * n_samples": lambda sizes: 2 * sizes["n_samples"],
    "2 * n_windows": lambda sizes: 2 * 16,
    "2 * n_steps * n_players": lambda sizes: 2 * sizes["n_steps"] * sum(sizes["n_parts"]),
    "2**n_query + 2**n_retrieved": lambda sizes: sum(2**n for n in sizes["n_parts"]),
}


def layer_of(method):
    return 4 if method.needs == method_table.AFFINE else 2


def budget_of(method, n):
    """The budget in the method's own argument; enumeration has none."""
    if issubclass(method.cls, ca.GradientAttribution):
        return {"n_steps": n // 20}
    return {} if method.name == "enumeration" else {"n_samples": n}


def arguments_of(method, n, parts):
    side = {4: 3, 2: 5}[layer_of(method)]
    options = {
        "feature_mask": tuple(cp.grid(12, 12, *shape) for shape in parts),
        "layer_mask": tuple(cp.grid(side, side, *shape) for shape in parts),
        "sliding_window_shapes": 4,
        "strides": 3,
        **budget_of(method, n),
    }
    return {name: value for name, value in options.items() if name in inspect.signature(method.cls.attribute).parameters}


def explain(method, forward, layers, n=2000, parts=FEW, **more):
    """Explain one pair by a method of this package or of Captum."""
    arguments = arguments_of(method, n, parts) | more
    query, retrieved = images(1)
    if method.cls is ca.IntegratedGradients:
        sides = ((forward.given_retrieved(retrieved), query), (forward.given_query(query), retrieved))
        return tuple(ca.IntegratedGradients(network).attribute(image, **arguments) for network, image in sides)
    if method.cls is ca.LayerGradCam:
        return ca.LayerGradCam(forward, layers[0]).attribute((query, retrieved))
    if method.cls is cp.LayerIGCAM:
        classifier = torch.nn.Sequential(forward.query_encoder, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
        return cp.LayerIGCAM(classifier, layers[0]).attribute(query, target=1, n_steps=arguments["n_steps"], **more)
    options = {name: arguments.pop(name) for name in ("within", "softplus_beta", "index") if name in arguments}
    takes_layers = issubclass(method.cls, ca.LayerAttribution)
    made = method.cls(forward, layers, **options) if takes_layers else method.cls(forward, **options)
    return made.attribute((query, retrieved), **arguments)


def make_model(method, **options):
    encoder = tiny_encoder()
    model = cp.SimilarityWrapper(encoder, **options)
    return model, tuple(model.tower_layers(encoder[layer_of(method)]))


class PassCount(TorchDispatchMode):
    """Counts the rows that go through the first convolution, and through the last."""

    def __init__(self, encoder):
        super().__init__()
        self.shapes = {name: encoder[index].weight.shape for name, index in (("whole", 0), ("tail", 4))}
        self.counts = dict.fromkeys(self.shapes, 0)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.convolution.default:
            for name, shape in self.shapes.items():
                self.counts[name] += args[0].shape[0] * (args[1].shape == shape)
        return function(*args, **(kwargs or {}))


def test_the_readme_shows_the_table():
    assert format_method_table() in METHODS_PAGE.read_text(), (
        "copy the output of `python -m captum_pairwise.testing.method_table` to tutorials/guide/methods.md"
    )


def test_every_class_is_in_the_table_once():
    attributing = {getattr(cp, name) for name in cp.__all__ if hasattr(getattr(cp, name), "attribute")}
    listed = [method.cls for method in METHODS]
    assert len(set(listed)) == len(listed) and attributing <= set(listed)


def test_the_row_of_maxsim():
    row = next(method for method in METHODS if method.cls is cp.MaxSimShapleyTaylor)
    assert (row.order, row.completeness, row.passes) == (2, method_table.COMPLETE, "`2`")
    encoder = torch.nn.Sequential(tiny_encoder(), torch.nn.Flatten(2), Swap())
    model = cp.SimilarityWrapper(encoder, similarity="maxsim")
    cp.MaxSimShapleyTaylor(model).attribute(images(1))  # proves the encoder, once
    with PassCount(encoder[0]) as passes:
        interactions = cp.MaxSimShapleyTaylor(model).interactions(images(1))
    assert passes.counts["whole"] == 2
    assert torch.allclose(interactions.full, model(*images(1)))
    assert interactions.completeness_gap.abs().max() < 1e-12 * interactions.full.abs().max()
    with pytest.raises(ValueError, match="SimilarityWrapper with MaxSim"):
        cp.MaxSimShapleyTaylor(lambda x, y: model(x, y)).attribute(images(1))


class Swap(torch.nn.Module):
    """`[B, C, T]` as `[B, T, C]`."""

    def forward(self, batch):
        return batch.transpose(1, 2)


@ROWS
def test_methods_of_order_2_return_pairs(method):
    result = explain(method, *make_model(method))
    is_of_pairs = isinstance(result, Tensor) and result.shape[-2:] == (4, 6)
    assert method.order == (2 if is_of_pairs else 1)


class Detached(torch.nn.Module):
    """An encoder without derivatives."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, batch):
        return self.encoder(batch).detach()


@ROWS
def test_the_needs_are_sufficient_and_necessary(method):
    """A black box without derivatives is explained, or refused by the methods that need more."""
    query, retrieved = tiny_encoder(), tiny_encoder(1)
    layers = query[layer_of(method)], retrieved[layer_of(method)]

    def similarity(x, y):
        with torch.no_grad():
            return torch.nn.functional.cosine_similarity(query(x).mean((2, 3)), retrieved(y).mean((2, 3)))

    needs = method.cells[4]
    assert ("layer" in needs) == issubclass(method.cls, ca.LayerAttribution)
    if method_table.OPAQUE in needs:
        explain(method, similarity, layers)
        return
    assert "gradients" in needs or method_table.TOWERS in needs
    if method.cls in (ca.IntegratedGradients, ca.LayerGradCam, cp.LayerIGCAM):
        similarity = cp.SimilarityWrapper(Detached(query), Detached(retrieved))
    with pytest.raises((ValueError, RuntimeError), match=r"SimilarityWrapper|does not require grad|no gradient arrives"):
        explain(method, similarity, layers)


def measure_gap(method, n=2000, similarity="cosine", **more):
    """The largest convergence delta of one pair."""
    result = explain(method, *make_model(method, similarity=similarity), n, return_convergence_delta=True, **more)
    deltas = [delta for _, delta in result] if method.cls is ca.IntegratedGradients else [result[1]]
    return torch.cat([delta.flatten() for delta in deltas]).abs().max()


@ROWS
def test_the_credit_sums_to_the_stated_total(method):
    completeness, blur = method.completeness, {"baselines": tuple(map(cp.blur_baseline, images(1)))}
    if completeness == method_table.COMPLETE:
        assert measure_gap(method) < 1e-12
    elif completeness == method_table.GAP:
        assert measure_gap(method) > 1e-5
    elif completeness == method_table.NO_SUM:
        assert not method.cls.has_convergence_delta(object.__new__(method.cls))
    elif completeness == method_table.OF_INDEX:
        assert measure_gap(method, index="faith-shap") < 1e-12 and measure_gap(method) > 1e-5
    elif completeness in (method_table.QUADRATURE, method_table.WITHIN):
        assert measure_gap(method, 4000) < measure_gap(method, 40) / 4
        if completeness == method_table.WITHIN:
            smooth = {"within": True, "softplus_beta": 1.0}
            assert measure_gap(method, 400, **smooth) < measure_gap(method, 40, **smooth) / 4
    else:
        assert method.cls in (cp.LayerSAM, cp.LayerPairwiseSAM)
        assert measure_gap(method, similarity="dot", **blur) < 1e-12 and measure_gap(method, **blur) > 1e-5


@pytest.mark.slow
@ROWS
def test_the_network_passes_follow_the_formulas(method):
    formulas = re.findall(r"(at most )?`([^`]+)`", method.passes)
    assert formulas
    for (at_most, formula), part in zip(formulas, ("whole", "tail"), strict=False):
        counts, expected = [], []
        for n in (200, 260) if "at most" in method.passes else (40, 60):
            model, layers = make_model(method)
            with PassCount(model.query_encoder) as passes:
                explain(method, model, layers, n, MANY)  # proves the encoder, once
                n_before = passes.counts[part]
                explain(method, model, layers, n, MANY)
            n_proof = PROOF if method.cls is cp.LayerIGCAM and part == "whole" else 0  # each call fixes a query anew
            counts.append(passes.counts[part] - n_before - n_proof)
            expected.append(FORMULAS[formula](budget_of(method, n) | {"n_parts": [prod(shape) for shape in MANY]}))
        if not at_most:
            assert counts[1] - counts[0] == expected[1] - expected[0] and counts[0] >= expected[0]
        spare = 0 if formula.isdigit() else A_FEW[part]
        if part == "tail" and issubclass(method.cls, cp.LayerFactorisedInteractions):
            spare += 2 * 64  # coalitions held out to measure `r2`
        assert all(count <= limit + spare for count, limit in zip(counts, expected, strict=True)), (part, counts, expected, spare)
