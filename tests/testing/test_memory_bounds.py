"""No method takes more memory than it says, at 98 players, at 392, and for batches of 8; all layer methods do 392."""

import inspect
from math import ceil, sqrt

import pytest
import torch
from captum.attr import LayerAttribution
from conftest import LONG
from torch import nn
from tracker import is_measurable, peak_of

import captum_pairwise as cp
from captum_pairwise.estimators import limits
from captum_pairwise.network.batching import choose_chunk_size
from captum_pairwise.testing.memory_bounds import BOUNDS
from captum_pairwise.testing.own_methods import OfEachImage, own_classes

pytestmark = pytest.mark.skipif(not is_measurable(), reason="the system does not tell the peak of a process")
CLASSES = list(own_classes())
BATCHES = {"98 players": (7, 1), "392 players": (14, 1), "8 pairs": (4, 8)}  # cells along a side of each image, and pairs
AFFINE = (cp.LayerSAM, cp.LayerPairwiseSAM)
FITS = (cp.KernelShapleyTaylor, cp.LayerKernelShapleyTaylor, cp.PairwiseLime)  # of a matrix of all pairs of pairs
ENUMERATE = (cp.ExactShapleyTaylor, cp.LayerExactShapleyTaylor)
ALLOWANCE = 2**21  # of the allocator, and of code that is loaded late
CHUNK, CELL, CHANNELS, STEPS = 16, 4, 32, 6


def budget(cls, n_players):
    """A number of samples that is hardly enough."""
    if cls in ENUMERATE:
        return 2 ** min(n_players // 2, 16)
    if issubclass(cls, (cp.KernelShapleyTaylor, cp.LayerKernelShapleyTaylor)):
        return n_players * (n_players - 1) // 2 + 200
    if issubclass(cls, (cp.ShapleyTaylorSampling, cp.LayerShapleyTaylorSampling)):
        return n_players * (n_players + 1) // 2 + 2
    return n_players if "Factorised" in cls.__name__ or "Jagged" in cls.__name__ else 2 * n_players + 60


def explain(cls, side, batch, kept=None):
    """Explain a batch of pairs of `side × side` players each; with a list, keep what goes through the network in it."""
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Conv2d(3, 16, CELL, stride=CELL), nn.ReLU(), nn.Conv2d(16, CHANNELS, 1), nn.ReLU()).eval()
    if kept is not None:
        encoder[2].register_forward_hook(lambda _, inputs, output: kept.append(output.clone()))
    model, made = cp.SimilarityWrapper(encoder), OfEachImage if cls is cp.LayerIGCAM else cls
    method = made(model, encoder[3 if cls in AFFINE else 1]) if issubclass(cls, LayerAttribution) else made(model)
    size, parts = CELL * side, (cp.grid(side, side, side, side),) * 2
    known = {
        "feature_mask": (cp.grid(size, size, side, side),) * 2,
        "n_samples": budget(cls, 2 * side**2),
        "n_steps": STEPS,
        "sliding_window_shapes": CELL,
        "strides": CELL,
        "perturbations_per_eval": CHUNK,
        "internal_batch_size": CHUNK,
    }
    taken = inspect.signature(cls.attribute).parameters
    arguments = {name: value for name, value in known.items() if name in taken} | ({"layer_mask": parts} if cls is cp.LayerIGCAM else {})
    if "n_steps" in taken:
        arguments.pop("n_samples", None)
    return method.attribute((torch.rand(batch, 3, size, size), torch.rand(batch, 3, size, size)), **arguments)


def bound(cls, side, batch):
    """The bytes that the method may take."""
    n_players, layer = 2 * side**2, CHANNELS * side**2
    chunk = CHUNK if {"perturbations_per_eval", "internal_batch_size"} & set(inspect.signature(cls.attribute).parameters) else None
    pixels, steps = 3 * (CELL * side) ** 2, STEPS if "n_steps" in inspect.signature(cls.attribute).parameters else None
    numbers = {"B": batch, "n": n_players, "d": CHANNELS, "s": budget(cls, n_players), "x": 2 * (pixels + layer), "a": pixels + 3 * layer}
    numbers["k"] = steps or ceil(4 * sqrt(n_players))
    return 8 * eval(BOUNDS[cls.__name__], numbers | {"c": chunk or min(n_players // 2, choose_chunk_size(torch.empty(layer)))})


def is_left_out(cls, side):
    """Whether it is for the long mode: what has a twin of layers is the same estimator, and a Gaussian process takes a minute."""
    return not LONG and side > 4 and (f"Layer{cls.__name__}" in cp.__all__ or (side == 14 and cls is cp.LayerGaussianProcessShapleyTaylor))


def is_refused(cls, side):
    """Whether `test_what_cannot_do_392_players_says_what_can` has it."""
    return cls in FITS and side > 7


def cases():
    """The methods, and the sizes that they are measured at; those that enumerate have a few players at most."""
    for cls in CLASSES:
        for what, (side, batch) in ({"8 pairs of 9 players": (3, 8)} if cls in ENUMERATE else BATCHES).items():
            if not is_refused(cls, side) and not is_left_out(cls, side):
                yield pytest.param(cls, side, batch, id=f"{cls.__name__}-{what}")


def peak(cls, side, batch, kept=None):
    return peak_of(lambda: explain(cls, side, batch, kept), lambda: explain(cls, 3, 1))


def test_every_method_says_how_much_it_takes():
    assert set(BOUNDS) == {cls.__name__ for cls in CLASSES}


@pytest.mark.parametrize(("cls", "side", "batch"), cases())
def test_no_method_takes_more_than_it_says(cls, side, batch, process, record_property):
    taken, most = process.submit(peak, cls, side, batch).result(), bound(cls, side, batch)
    record_property("share of the bound", taken / most)
    print(f"{cls.__name__}, {2 * side**2} players, pairs: {batch}: {taken / 2**20:.1f} of {most / 2**20:.1f} MiB")
    assert taken <= most + ALLOWANCE


def test_a_method_that_keeps_what_went_through_the_network_takes_more(process):
    most = bound(cp.LayerKernelSAM, 14, 1)
    assert process.submit(peak, cp.LayerKernelSAM, 14, 1).result() <= most + ALLOWANCE
    assert process.submit(peak, cp.LayerKernelSAM, 14, 1, []).result() > most + ALLOWANCE


@pytest.mark.parametrize("cls", [*ENUMERATE, *FITS], ids=lambda cls: cls.__name__)
def test_what_cannot_do_392_players_says_what_can(cls, monkeypatch):
    monkeypatch.setattr(limits, "get_memory_bytes", lambda device: 2**33)
    with pytest.raises(ValueError, match=r"Expected.*players.*FactorisedShapleyTaylor"):
        explain(cls, 14, 1)
