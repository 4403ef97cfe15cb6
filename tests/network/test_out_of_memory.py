"""Out of memory: each public method goes on with smaller chunks and warns once; if one row does not fit, it raises and changes nothing."""

import inspect
import warnings
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
import torch
from captum.attr import LayerAttribution
from own_methods import ARGUMENTS, TOLERANCES, list_own_classes, make_own_method
from PIL import Image
from torch import fx, nn

import captum_pairwise as cp
from captum_pairwise.datasets.embeddings import embed
from captum_pairwise.models.backbones import ImageEncoder
from captum_pairwise.testing.state import snapshot
from captum_pairwise.testing.tiny_model import Encoder, images
from captum_pairwise.testing.trial import Trial

pytestmark = pytest.mark.slow

CLASSES = list_own_classes()
CLOSED_FORM = (cp.LayerSAM, cp.LayerPairwiseSAM)  # only a linear layer may follow their layer
ERRORS = {"torch": torch.cuda.OutOfMemoryError("CUDA out of memory"), "runtime": RuntimeError("out of memory"), "python": MemoryError()}
STATE = {"limit": 10**9, "error": ERRORS["runtime"], "largest": 0}


@fx.wrap
def crowded(rows):
    """The rows, or an error if there are more than the limit."""
    if len(rows) > STATE["limit"]:
        raise STATE["error"]
    STATE["largest"] = max(STATE["largest"], len(rows))
    return rows


class Narrow(nn.Module):
    def forward(self, rows):
        return crowded(rows)


class Untraceable(nn.Module):
    def forward(self, rows):
        return crowded(rows) if len(rows) > 0 else rows


@contextmanager
def limit_memory(limit, error="runtime"):
    STATE.update(limit=limit, error=ERRORS[error], largest=0)
    try:
        yield
    finally:
        STATE.update(limit=10**9)


def make_trial(cls):
    taken = inspect.signature(cls.attribute).parameters
    players = next((name for name in ("feature_mask", "layer_mask") if name in taken), None)
    arguments = {"n_steps": 5} if "n_steps" in taken else ARGUMENTS.get(cls.__name__, {})
    tolerance = TOLERANCES.get(cls.__name__, 1e-9)
    return Trial(partial(make_own_method, cls), cls.order, players, arguments=arguments, tolerance=tolerance)


def mask_three_players(trial):
    """Three players of each image."""
    return tuple(mask % 3 for mask in trial.masks)


class Traceable(Encoder):
    """The encoder without annotations in its forward, because `torch.fx` cannot trace the type checks of the tests."""

    def forward(self, images):
        return self.tail(self.layer(images))


def narrow_model(trial, cls, part=Narrow):
    encoder = Traceable()
    encoder.layer.insert(0, part())
    if cls not in CLOSED_FORM:
        encoder.tail.insert(0, part())
    return trial.model(encoder)


def get_memory_warnings(caught):
    return [str(one.message) for one in caught if "Memory ran out" in str(one.message)]


OF_LAYERS = [(cls, Untraceable, 1) for cls in CLASSES if issubclass(cls, LayerAttribution)]


@pytest.mark.parametrize(("cls", "part", "limit"), [*((cls, Narrow, 2) for cls in CLASSES), *OF_LAYERS])
def test_halving_a_chunk_gives_the_same_credit_and_one_warning(cls, part, limit):
    trial = make_trial(cls)
    model, pair = narrow_model(trial, cls, part), images(4)
    expected = trial.explain(model, pair, mask_three_players(trial))
    with warnings.catch_warnings(record=True) as caught, limit_memory(limit):
        warnings.simplefilter("always")
        trial.assert_same(trial.explain(model, pair, mask_three_players(trial)), expected, f"with memory for {limit}")
    n_calls = 2 * len(pair[0]) if cls is cp.LayerIGCAM else 1  # each explains one image
    assert 0 < STATE["largest"] <= limit and 0 < len(get_memory_warnings(caught)) <= n_calls


@pytest.mark.parametrize(("cls", "error"), [*((cls, "runtime") for cls in CLASSES), *((cp.LayerKernelSAM, error) for error in ERRORS)])
def test_one_row_that_does_not_fit_raises_and_changes_nothing(cls, error):
    trial = make_trial(cls)
    model, pair = narrow_model(trial, cls), images(2)
    expected, before = trial.explain(model, pair, mask_three_players(trial)), snapshot(model)
    with limit_memory(0, error), pytest.raises((RuntimeError, MemoryError)) as raised:
        trial.explain(model, pair, mask_three_players(trial))
    assert raised.value is ERRORS[error]
    assert snapshot(model) == before
    trial.assert_same(trial.explain(model, pair, mask_three_players(trial)), expected, "after memory had run out")


class Cross(nn.Module):
    """An opaque similarity: a function of both images."""

    def __init__(self, model):
        super().__init__()
        self.query, self.retrieved = model.query_encoder, model.retrieved_encoder

    def forward(self, query, retrieved, weight):
        return (self.query(query) * self.retrieved(retrieved)).sum(1).tanh() * weight


TWO_TOWERS = (
    cp.FactorisedInteractions,
    cp.FactorisedShapleyTaylor,
    cp.LayerFactorisedInteractions,
    cp.LayerFactorisedShapleyTaylor,
)
TAKE_MORE = [one for one in CLASSES if "additional_forward_args" in inspect.signature(one.attribute).parameters]
JOINT = [one for one in TAKE_MORE if one not in (*TWO_TOWERS, cp.LayerIGCAM)]


@pytest.mark.parametrize("cls", JOINT, ids=lambda cls: cls.__name__)
def test_halving_works_for_opaque_functions(cls):
    trial = make_trial(cls)
    model = narrow_model(trial, cls)
    cross, (query, retrieved) = Cross(model), images(4)
    layers = [(cross.query.layer, cross.retrieved.layer)] if issubclass(cls, LayerAttribution) else []
    pair, more = (query, retrieved), {"additional_forward_args": torch.tensor([1.0, 2.0, -1.0, 0.5]).double()}

    def explain():
        masks = mask_three_players(trial)
        return trial.read(trial.call(cls(cross, *layers).attribute, pair, masks, **more), masks)

    expected = explain()
    with warnings.catch_warnings(record=True) as caught, limit_memory(1):
        warnings.simplefilter("always")
        trial.assert_same(explain(), expected, "of an opaque function")
    assert STATE["largest"] == 1 and len(get_memory_warnings(caught)) == 1


@pytest.mark.parametrize("mode", ["positive", "triplet"])
def test_the_negative_images_of_vesm(mode):
    model, pair = narrow_model(make_trial(cp.LayerVESM), cp.LayerVESM), images(4)
    method, more = cp.LayerVESM(model, model.query_encoder.layer), {} if mode == "positive" else {"negative": images(4, seed=5)[0]}
    expected = method.attribute(pair, mode, **more)
    with warnings.catch_warnings(record=True) as caught, limit_memory(1):
        warnings.simplefilter("always")
        found = method.attribute(pair, mode, **more)
    torch.testing.assert_close(found, expected)
    assert len(get_memory_warnings(caught)) == 1


@pytest.mark.parametrize("direction", ["query->retrieved", "retrieved->query"])
def test_projected_attention(direction):
    model, pair = narrow_model(make_trial(cp.LayerIntegratedHessians), None), images(4)
    ask = {"inputs": pair, "attention": torch.rand(4, 12, 12), "direction": direction}
    expected = cp.project_attention(model, model.query_encoder.layer, **ask)
    with warnings.catch_warnings(record=True) as caught, limit_memory(1):
        warnings.simplefilter("always")
        found = cp.project_attention(model, model.query_encoder.layer, **ask)
    torch.testing.assert_close(found, expected)
    assert len(get_memory_warnings(caught)) == 1


def test_embeddings_of_a_data_set(tmp_path):
    files = []
    for number in range(5):
        files.append(tmp_path / f"{number}.png")
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (8, 8, 3)).astype(np.uint8)).save(files[-1])
    encoder = ImageEncoder(nn.Sequential(Narrow(), nn.Conv2d(3, 4, 3)), size=(8, 8)).eval()
    expected = embed(files, encoder, show_progress=False)
    with warnings.catch_warnings(record=True) as caught, limit_memory(2):
        warnings.simplefilter("always")
        torch.testing.assert_close(embed(files, encoder, show_progress=False), expected)
    assert STATE["largest"] == 2 and len(get_memory_warnings(caught)) == 1
