"""The table of methods says what the code does: order, needs, sums and network passes are measured."""

import inspect
import re
from pathlib import Path

import captum.attr as ca
import pytest
import torch
from conftest import images, tiny_encoder
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import captum_pairwise as cp
from captum_pairwise.testing.method_table import AFFINE, COMPLETE, GAP, METHODS, NO_SUM, OPAQUE, QUADRATURE, TOWERS, WITHIN, table

README = Path(__file__).parents[2] / "README.md"
ROWS = pytest.mark.parametrize("method", METHODS, ids=[method.function.__name__ for method in METHODS])
A_FEW = {"whole": 4, "tail": 12}  # passes of the baselines and the ends of paths, and of looking for the tail
FEW, MANY = ((2, 2), (3, 2)), ((3, 3), (3, 3))  # rows and columns of parts of both images


def layer_of(method):
    return 4 if method.needs == AFFINE else 2


def budget_of(method, n):
    """`n` in the words that the method has for it; enumeration has none."""
    if method.is_a(ca.GradientAttribution):
        return {"n_steps": n // 20}
    return {} if method.name == "enumeration" else {"n_samples": n}


def arguments_of(method, n, parts):
    side = {4: 3, 2: 5}[layer_of(method)]
    known = {
        "feature_mask": tuple(cp.grid(12, 12, *shape) for shape in parts),
        "layer_mask": tuple(cp.grid(side, side, *shape) for shape in parts),
        "sliding_window_shapes": 4,
        "strides": 3,
        **budget_of(method, n),
    }
    return {name: value for name, value in known.items() if name in inspect.signature(method.function.attribute).parameters}


def explain(method, forward, layers, n=2000, parts=FEW, **more):
    """One pair, by a method of either package."""
    arguments = arguments_of(method, n, parts) | more
    query, retrieved = images(1)
    if method.function is ca.IntegratedGradients:
        one_sided = ((forward.given_retrieved(retrieved), query), (forward.given_query(query), retrieved))
        return tuple(ca.IntegratedGradients(one).attribute(image, **arguments) for one, image in one_sided)
    if method.function is ca.LayerGradCam:
        return ca.LayerGradCam(forward, layers[0]).attribute((query, retrieved))
    if method.function is cp.LayerIGCAM:
        classifier = torch.nn.Sequential(forward.query_encoder, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
        return cp.LayerIGCAM(classifier, layers[0]).attribute(query, target=1, n_steps=arguments["n_steps"], **more)
    options = {name: arguments.pop(name) for name in ("within", "softplus_beta") if name in arguments}
    made = method.function(forward, layers, **options) if method.is_a(ca.LayerAttribution) else method.function(forward, **options)
    return made.attribute((query, retrieved), **arguments)


def wrapped(method):
    encoder = tiny_encoder()
    model = cp.SimilarityWrapper(encoder)
    return model, tuple(model.tower_layers(encoder[layer_of(method)]))


class Passes(TorchDispatchMode):
    """Counts the rows that go through the first convolution, and those that go through the last."""

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
    assert table() in README.read_text(), "put what `python -m captum_pairwise.testing.method_table` prints into README.md"


def test_every_class_is_in_the_table_once():
    attributing = {getattr(cp, name) for name in cp.__all__ if hasattr(getattr(cp, name), "attribute")}
    listed = [method.function for method in METHODS]
    assert len(set(listed)) == len(listed) and attributing <= set(listed)


@ROWS
def test_the_order_is_that_of_the_result(method):
    model, layers = wrapped(method)
    found = explain(method, model, layers)
    is_of_pairs = isinstance(found, Tensor) and found.shape[-2:] == (4, 6)
    assert method.order == (2 if is_of_pairs else 1)


def opaque_pair():
    """A similarity that no derivative can be taken of, and a layer for each image."""
    query, retrieved = tiny_encoder(), tiny_encoder(1)

    def similarity(x, y):
        with torch.no_grad():
            return torch.nn.functional.cosine_similarity(query(x).mean((2, 3)), retrieved(y).mean((2, 3)))

    return similarity, query, retrieved


@ROWS
def test_the_needs_are_needed_and_are_enough(method):
    similarity, query, retrieved = opaque_pair()
    layers = query[layer_of(method)], retrieved[layer_of(method)]
    needs = method.row()[4]
    assert ("layer" in needs) == method.is_a(ca.LayerAttribution)
    if OPAQUE in needs:
        explain(method, similarity, layers)
        return
    assert "gradients" in needs or TOWERS in needs
    if method.function in (ca.IntegratedGradients, ca.LayerGradCam, cp.LayerIGCAM):
        similarity = cp.SimilarityWrapper(Cut(query), Cut(retrieved))
    with pytest.raises((ValueError, RuntimeError), match=r"SimilarityWrapper|does not require grad|no gradient arrives"):
        explain(method, similarity, layers)


class Cut(torch.nn.Module):
    """An encoder of which no derivative can be taken."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, batch):
        return self.encoder(batch).detach()


def gap(method, n=2000, similarity="cosine", **more):
    """The largest delta of one pair."""
    encoder = tiny_encoder()
    model = cp.SimilarityWrapper(encoder, similarity=similarity)
    layers = tuple(model.tower_layers(encoder[layer_of(method)]))
    found = explain(method, model, layers, n, return_convergence_delta=True, **more)
    deltas = [one[1] for one in found] if method.function is ca.IntegratedGradients else [found[1]]
    return torch.cat([delta.flatten() for delta in deltas]).abs().max()


@ROWS
def test_the_credit_sums_to_what_the_table_says(method):
    says, over_blur = method.completeness, {"baselines": tuple(map(cp.blur_baseline, images(1)))}
    if says == COMPLETE:
        assert gap(method) < 1e-12
    elif says == GAP:
        assert gap(method) > 1e-5
    elif says == QUADRATURE:
        assert gap(method, 4000) < gap(method, 40) / 4
    elif says == NO_SUM:
        assert not method.function.has_convergence_delta(object.__new__(method.function))
    elif says == WITHIN:
        smooth = {"within": True, "softplus_beta": 1.0}
        assert gap(method, 400, **smooth) < gap(method, 40, **smooth) / 4
        assert gap(method, 4000) < gap(method, 40) / 4
    else:
        assert method.function in (cp.LayerSAM, cp.LayerPairwiseSAM)
        assert gap(method, similarity="dot", **over_blur) < 1e-12 and gap(method, **over_blur) > 1e-5


@ROWS
def test_the_network_passes_are_those_of_the_table(method):
    sizes = {"n_query": 9, "n_retrieved": 9, "n_players": 18, "n_windows": 16}
    expressions = re.findall(r"(at most )?`([^`]+)`", method.passes)
    assert expressions
    for (at_most, expression), part in zip(expressions, ("whole", "tail"), strict=False):
        counted, said = [], []
        for n in (200, 260) if "at most" in method.passes else (40, 60):
            model, layers = wrapped(method)
            with Passes(model.query_encoder) as passes:
                explain(method, model, layers, n, MANY)
            counted.append(passes.counts[part])
            said.append(eval(expression, {}, sizes | budget_of(method, n)))
        if not at_most:
            assert counted[1] - counted[0] == said[1] - said[0] and counted[0] >= said[0]
        spare = 0 if expression.isdigit() else A_FEW[part]
        assert all(have <= limit + spare for have, limit in zip(counted, said, strict=True))
