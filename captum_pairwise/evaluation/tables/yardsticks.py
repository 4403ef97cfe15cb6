"""Yardsticks for the tables: maps that know nothing, or everything."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

import captum_pairwise as cp
from captum_pairwise.evaluation.tables.method_runs import MethodRun
from captum_pairwise.evaluation.tables.retrieved_map import RetrievedMap, drop_unit
from captum_pairwise.results.interactions import Interactions

COARSE, FINE = 7, 28  # cells along a side of the maps that know nothing, and of those that know everything
BLOB = 0.25  # standard deviation of the blob, as a share of the side


def draw_heat_map(run: MethodRun) -> RetrievedMap:
    """A smooth random map; noise for each pixel would destroy the photo, and make every other method look better."""
    return RetrievedMap(_draw_noise(run, 1)[0])


def draw_pairs(run: MethodRun) -> Interactions:
    """Random credit of every pair of cells."""
    cells = torch.eye(COARSE**2, dtype=torch.float32, device=run.pair.images[0].device).reshape(1, COARSE**2, COARSE, COARSE)
    return drop_unit(cp.pairs_from_maps(cells, _draw_noise(run, COARSE**2)))


def pair_same_places(run: MethodRun) -> Interactions:
    """The pairs of cells at the same place in both images."""
    cells = torch.eye(FINE**2, dtype=torch.float32, device=run.pair.images[0].device).reshape(1, FINE**2, FINE, FINE)
    return drop_unit(cp.pairs_from_maps(cells, cells))


def _draw_noise(run: MethodRun, n_maps: int) -> Float[Tensor, "1 maps rows columns"]:
    noise = torch.rand(1, n_maps, COARSE, COARSE, generator=run.generator, dtype=torch.float32, device="cpu")
    return noise.to(run.pair.images[1])


def draw_blob(run: MethodRun) -> RetrievedMap:
    """A blob in the centre of the image: where photographers put their objects."""
    return RetrievedMap(_make_blob(run)[0])


def pair_with_blob(run: MethodRun) -> Interactions:
    """Every part of the query with a blob in the centre of the retrieved image."""
    return _ignore_query(run, _make_blob(run))


def _make_blob(run: MethodRun) -> Float[Tensor, "1 1 rows columns"]:
    places = torch.linspace(-0.5, 0.5, COARSE, dtype=torch.float32, device=run.pair.images[1].device)
    bell = torch.exp(-((places / BLOB) ** 2) / 2)
    return torch.outer(bell, bell)[None, None]


def show_activity(run: MethodRun) -> RetrievedMap:
    """The norm of the layer's features of the retrieved image: a map that does not look at the query."""
    return RetrievedMap(_measure_activity(run)[0])


def pair_with_activity(run: MethodRun) -> Interactions:
    """Every part of the query with the same map of the retrieved image."""
    return _ignore_query(run, _measure_activity(run))


@torch.no_grad()
def _measure_activity(run: MethodRun) -> Float[Tensor, "1 1 rows columns"]:
    return run.pair.model.encoder.feature_maps(run.pair.images[1]).norm(dim=1, keepdim=True)


def _ignore_query(run: MethodRun, heat_map: Float[Tensor, "1 1 rows columns"]) -> Interactions:
    """The same credit with every cell of the query."""
    return drop_unit(cp.pairs_from_maps(torch.ones_like(heat_map), heat_map))


def show_truth(run: MethodRun) -> RetrievedMap:
    """The true object or region in the retrieved image."""
    return RetrievedMap(list_true_regions(run)[1].sum(1))


def pair_truth(run: MethodRun) -> Interactions:
    """The pairs of cells that show the same thing."""
    query, retrieved = (F.adaptive_avg_pool2d(regions, (FINE, FINE)) for regions in list_true_regions(run))
    return drop_unit(cp.pairs_from_maps(query, retrieved))


def list_true_regions(run: MethodRun) -> tuple[Float[Tensor, "1 regions height width"], Float[Tensor, "1 regions height width"]]:
    """Masks of what matches in both images: a channel for the object, for each region, or for each point.

    Raises:
        ValueError: the pair has no truth.
    """
    pair = run.pair
    if pair.points is not None:
        query, retrieved = (_mark_points(points, image) for points, image in zip(pair.points.split(2, 1), pair.images, strict=True))
        return query, retrieved
    masks = pair.regions if pair.regions is not None else pair.masks
    if masks is None:
        raise ValueError("Expected a pair with masks or points, got neither. The true mask needs them.")
    numbers = masks[0].unique()[:, None, None]
    query, retrieved = ((mask == numbers[numbers > 0][:, None, None]).float()[None] for mask in masks)
    return query, retrieved


def _mark_points(points: Float[Tensor, "points 2"], image: Tensor) -> Float[Tensor, "1 points height width"]:
    rows, columns = points.round().long().T
    marks = image.new_zeros(1, len(points), *image.shape[2:])
    marks[0, torch.arange(len(points), device=image.device), rows, columns] = 1.0
    return marks
