"""Memory bounds of every method, with 98 players, 392 players, and batches of 8 pairs; every layer method explains 392 players."""

import inspect
from dataclasses import dataclass
from math import ceil, sqrt

import pytest
import torch
from captum.attr import LayerAttribution
from conftest import LONG
from own_methods import LayerIGCAMForPairs, list_own_classes
from torch import nn
from tracker import can_measure_memory, measure_memory

import captum_pairwise as cp
from captum_pairwise.estimators import limits
from captum_pairwise.network.batching import choose_chunk_size

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not can_measure_memory(), reason="the system does not report the peak memory of a process"),
]
CLASSES = list_own_classes()
BATCHES = {"98 players": (7, 1), "392 players": (14, 1), "8 pairs": (4, 8)}  # cells along a side of each image, and pairs
AFFINE = (cp.LayerSAM, cp.LayerPairwiseSAM)
FITS = (cp.KernelShapleyTaylor, cp.LayerKernelShapleyTaylor, cp.PairwiseLime)  # they solve for all pairs at once
ENUMERATE = (cp.ExactShapleyTaylor, cp.LayerExactShapleyTaylor)
ALLOWANCE = 2**21  # bytes of the allocator, and of code that is loaded late
CHUNK, CELL, CHANNELS, STEPS = 16, 4, 32, 6


@dataclass(frozen=True)
class Sizes:
    """Sizes of a call: the letters of the bounds."""

    b: int  # pairs in the batch
    n: int  # players of both images of a pair
    x: int  # numbers in both images and in the layer's output for them
    c: int  # rows in a forward pass (`perturbations_per_eval`, `internal_batch_size`)
    a: int  # numbers that the network holds for a row
    d: int  # channels of an embedding
    s: int  # `n_samples`
    k: int  # `n_steps`, or the nodes of a sampled path, about 4 √n


def bound_images(z):
    return 3 * z.b * z.x + 2 * z.c * z.a


def bound_pairs(z):
    return bound_images(z) + 3 * z.b * z.n**2


def bound_towers(z):
    return bound_pairs(z) + 4 * z.s**2 + 3 * z.s * z.n * z.k + 2 * z.n * z.k * z.d + 2**20


def bound_fits(z):
    return bound_pairs(z) + z.n**4 / 2 + 1024 * z.n**2 + 2 * z.s * z.n + 2**20


def bound_process(z):
    return bound_pairs(z) + 4 * z.s**2 + 2 * z.s * z.n * z.k + 4 * min(2**23, z.s * z.n**2) + 2**20


# numbers of eight bytes beside the network and the images, for a `SimilarityWrapper` on a CPU
BOUNDS = {
    bound_images: (cp.LayerVESM, cp.SBSM),
    lambda z: bound_images(z) + 4 * z.k * z.n: (cp.LayerIGCAM, cp.LayerIGSAM),
    lambda z: bound_images(z) + 4 * z.s * (z.n + z.d): (cp.KernelShapley, cp.LayerKernelSAM, cp.PartitionShap, cp.SuperpixelLime),
    lambda z: bound_pairs(z) + 2 * z.n * z.d: AFFINE,
    lambda z: bound_pairs(z) + 4 * z.s: (cp.PairwiseSBSM,),
    lambda z: bound_pairs(z) + 2 * z.s * (z.n + z.d): (cp.ShapleyTaylorSampling, cp.LayerShapleyTaylorSampling),
    lambda z: bound_pairs(z) + 16 * z.n**2 + 16 * z.n * z.d: (cp.IntegratedHessians, cp.LayerIntegratedHessians),
    lambda z: bound_pairs(z) + 4 * 2 ** (z.n / 2) * (z.n + z.d) + z.b * 2**z.n: ENUMERATE,  # results keep the values of all coalitions
    bound_fits: FITS,
    bound_process: (cp.GaussianProcessShapleyTaylor, cp.LayerGaussianProcessShapleyTaylor),
    bound_towers: (
        cp.FactorisedInteractions,
        cp.FactorisedShapleyTaylor,
        cp.JaggedShapleyTaylor,
        cp.LayerFactorisedInteractions,
        cp.LayerFactorisedShapleyTaylor,
        cp.LayerJaggedShapleyTaylor,
    ),
}
BOUND_OF_CLASS = {cls: bound for bound, classes in BOUNDS.items() for cls in classes}


def budget(cls, n_players):
    """A number of samples that is hardly enough."""
    if cls in ENUMERATE:
        return 2 ** min(n_players // 2, 16)
    if issubclass(cls, (cp.KernelShapleyTaylor, cp.LayerKernelShapleyTaylor)):
        return n_players * (n_players - 1) // 2 + 200
    if issubclass(cls, (cp.ShapleyTaylorSampling, cp.LayerShapleyTaylorSampling)):
        return n_players * (n_players + 1) // 2 + 2
    return n_players if "Factorised" in cls.__name__ or "Jagged" in cls.__name__ else 2 * n_players + 60


def explain(cls, side, batch, leak=None):
    """Explain a batch of pairs of `side × side` players each; a list `leak` collects the network's outputs."""
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Conv2d(3, 16, CELL, stride=CELL), nn.ReLU(), nn.Conv2d(16, CHANNELS, 1), nn.ReLU()).eval()
    if leak is not None:
        encoder[2].register_forward_hook(lambda _, inputs, output: leak.append(output.clone()))
    model, made = cp.SimilarityWrapper(encoder), LayerIGCAMForPairs if cls is cp.LayerIGCAM else cls
    method = made(model, encoder[3 if cls in AFFINE else 1]) if issubclass(cls, LayerAttribution) else made(model)
    size, parts = CELL * side, (cp.grid(side, side, side, side),) * 2
    options = {
        "feature_mask": (cp.grid(size, size, side, side),) * 2,
        "layer_mask": parts,
        "n_samples": budget(cls, 2 * side**2),
        "n_steps": STEPS,
        "sliding_window_shapes": CELL,
        "strides": CELL,
        "perturbations_per_eval": CHUNK,
        "internal_batch_size": CHUNK,
    }
    taken = inspect.signature(cls.attribute).parameters
    arguments = {name: value for name, value in options.items() if name in taken or (name == "layer_mask" and cls is cp.LayerIGCAM)}
    if "n_steps" in taken:
        arguments.pop("n_samples", None)
    return method.attribute((torch.rand(batch, 3, size, size), torch.rand(batch, 3, size, size)), **arguments)


def compute_bound(cls, side, batch):
    """The most bytes that the method may take."""
    parameters = inspect.signature(cls.attribute).parameters
    n_players, pixels, layer = 2 * side**2, 3 * (CELL * side) ** 2, CHANNELS * side**2
    rows = min(n_players // 2, choose_chunk_size(torch.empty(layer)))
    sizes = Sizes(
        b=batch,
        n=n_players,
        x=2 * (pixels + layer),
        c=CHUNK if {"perturbations_per_eval", "internal_batch_size"} & set(parameters) else rows,
        a=pixels + 3 * layer,
        d=CHANNELS,
        s=budget(cls, n_players),
        k=STEPS if "n_steps" in parameters else ceil(4 * sqrt(n_players)),
    )
    return 8 * BOUND_OF_CLASS[cls](sizes)


def is_for_long_mode(cls, side):
    """True if the layer class measures the same estimator, or for a Gaussian process that takes a minute."""
    has_layer_class = f"Layer{cls.__name__}" in cp.__all__
    return side > 4 and (has_layer_class or (side == 14 and cls is cp.LayerGaussianProcessShapleyTaylor))


def list_cases():
    """The methods and their sizes; methods that enumerate get few players, and fits of 392 players are refused."""
    for cls in CLASSES:
        for name, (side, batch) in ({"8 pairs of 9 players": (3, 8)} if cls in ENUMERATE else BATCHES).items():
            if not (cls in FITS and side > 7) and (LONG or not is_for_long_mode(cls, side)):
                yield pytest.param(cls, side, batch, id=f"{cls.__name__}-{name}")


def measure(cls, side, batch, leak=None):
    warm_up = 9 if side > 9 else 3  # of more than 64 players, because other code explains them
    return measure_memory(lambda: explain(cls, side, batch, leak), lambda: explain(cls, warm_up, 1))


def test_every_method_has_one_bound():
    assert sorted(cls.__name__ for classes in BOUNDS.values() for cls in classes) == [cls.__name__ for cls in CLASSES]


@pytest.mark.parametrize(("cls", "side", "batch"), list(list_cases()))
def test_no_method_exceeds_its_bound(cls, side, batch, process, record_property):
    taken, bound = process.submit(measure, cls, side, batch).result(), compute_bound(cls, side, batch)
    record_property("share of the bound", taken / bound)
    print(f"{cls.__name__}, {2 * side**2} players, pairs: {batch}: {taken / 2**20:.1f} of {bound / 2**20:.1f} MiB")
    assert taken <= bound + ALLOWANCE


def test_a_method_that_stores_all_outputs_exceeds_its_bound(process):
    bound = compute_bound(cp.LayerKernelSAM, 14, 1)
    assert process.submit(measure, cp.LayerKernelSAM, 14, 1).result() <= bound + ALLOWANCE
    assert process.submit(measure, cp.LayerKernelSAM, 14, 1, []).result() > bound + ALLOWANCE


@pytest.mark.parametrize("cls", [*ENUMERATE, *FITS], ids=lambda cls: cls.__name__)
def test_refusals_of_392_players_name_another_method(cls, monkeypatch):
    monkeypatch.setattr(limits, "get_memory_bytes", lambda device: 2**33)
    with pytest.raises(ValueError, match=r"Expected.*players.*FactorisedShapleyTaylor"):
        explain(cls, 14, 1)
