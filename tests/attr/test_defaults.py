"""Every class works with its own defaults on its own default players."""

import inspect
import warnings

import formulas
import numpy as np
import pytest
import torch
from conftest import assert_refused, random_tensor
from skimage import data
from torch import Tensor, nn
from torch.nn.functional import interpolate

import captum_pairwise as cp
from captum_pairwise.players.few_parts import divide_cells, divide_into_few, divide_into_segments

CLASSES = [name for name in cp.__all__ if inspect.isclass(getattr(cp, name)) and hasattr(getattr(cp, name), "attribute")]
NEEDS_TOKENS = {"MaxSimShapleyTaylor"}  # it explains MaxSim alone
NEEDS_MAPS = {"SBSM", "PairwiseSBSM", "LayerVESM"}  # windows slide over images; VESM weighs the channels of a map
CUT_OFF = {"LayerVESM", "PairwiseSBSM"}  # they have no negative credit, and these photos have no positive one
PHOTOS = tuple(
    interpolate(torch.from_numpy(np.array(photo())).permute(2, 0, 1)[None] / 255.0, (224, 224)) for photo in (data.cat, data.chelsea)
)
VECTORS = tuple(random_tensor(1, 40, seed=seed).float() for seed in range(2))


def small_network(kind: str) -> tuple[nn.Module, nn.Module]:
    """A network and its last layer with places: 7 × 7 of a photo, 8 units of a vector."""
    torch.manual_seed(0)
    if kind == "vector":
        network = nn.Sequential(nn.Linear(40, 8), nn.Tanh(), nn.Linear(8, 5))
        return network, network[1]
    maps = nn.Sequential(nn.Conv2d(3, 4, 7, stride=16), nn.ReLU(), nn.Conv2d(4, 6, 2, stride=2), nn.ReLU())
    return nn.Sequential(maps, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5)), maps


def run_defaults(name: str, kind: str) -> list[Tensor]:
    network, layer = small_network(kind)
    inputs = PHOTOS if kind == "photo" else VECTORS
    method_class = getattr(cp, name)
    if name == "LayerIGCAM":
        return [method_class(network, layer).attribute(inputs[0], target=0)]
    model = cp.SimilarityWrapper(network)
    method = method_class(model, layer) if name.startswith("Layer") else method_class(model)
    credits = method.attribute(inputs)
    return [credits] if isinstance(credits, Tensor) else list(credits)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["photo", "vector"])
@pytest.mark.parametrize("name", CLASSES)
def test_a_class_works_without_any_option(name: str, kind: str) -> None:
    if name in ("SuperpixelLime", "PairwiseLime"):
        pytest.importorskip("sklearn")
    if name in NEEDS_TOKENS:
        return assert_refused(lambda: run_defaults(name, kind), "MaxSim")
    if kind == "vector" and name in NEEDS_MAPS:
        return assert_refused(lambda: run_defaults(name, kind), r"\[B, C, H, W\]")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        credits = run_defaults(name, kind)
    assert all(credit.isfinite().all() and (credit.any() or name in CUT_OFF) for credit in credits)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["KernelShapleyTaylor", "ShapleyTaylorSampling", "ExactShapleyTaylor", "GaussianProcessShapleyTaylor"])
@pytest.mark.parametrize("inputs", [PHOTOS, VECTORS], ids=["photo", "vector"])
def test_a_function_is_explained_without_any_option(name: str, inputs: tuple[Tensor, Tensor]) -> None:
    network, _ = small_network("photo" if inputs is PHOTOS else "vector")
    interactions = getattr(cp, name)(lambda query, retrieved: -(network(query) - network(retrieved)).norm(dim=1)).interactions(inputs)
    assert interactions.between.isfinite().all() and interactions.completeness_gap.abs().max() < 1e-5


def test_the_default_budget_determines_the_pairs_of_a_vector() -> None:
    """Of 70 players; two thousand coalitions would not do for their 2415 pairs."""
    query, retrieved = random_tensor(1, 35, seed=1), random_tensor(1, 35, seed=2)
    pairs = cp.KernelShapleyTaylor(lambda u, w: (u * w).sum(1)).attribute((query, retrieved))
    assert formulas.relative_mse(pairs[0], torch.diag((query * retrieved)[0])) < 0.25


def test_few_parts() -> None:
    grid = divide_into_few(torch.zeros(2, 3, 8, 12))
    assert grid.n_players == 8 and grid.ids[0, 0, ::4, ::3].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert divide_into_few(torch.zeros(1, 16)).ids.tolist() == [list(range(16))]
    assert divide_into_few(torch.zeros(1, 20)).ids[0].bincount().tolist() == [3, 2, 3, 2, 3, 2, 3, 2]
    assert divide_cells(torch.zeros(1, 5, 7, 7), 1).ids.flatten().bincount().tolist() == [7, 6, 6, 6, 6, 6, 6, 6]
    assert divide_cells(torch.zeros(1, 5, 4, 4), 1).shape == (4, 4)
    assert divide_into_segments(PHOTOS[0]).n_players <= 25 < cp.superpixels(PHOTOS[0]).max()
