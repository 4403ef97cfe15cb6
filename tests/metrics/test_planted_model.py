"""Every protocol on a model that matches planted parts and nothing else: the exact explanation has the best number there is."""

import pytest
import torch
from conftest import seeded
from torch import nn

import captum_pairwise as cp
from captum_pairwise import metrics

GRID, CELL = 3, 4  # parts along a side, and their pixels
SIDE = GRID * CELL
PARTS = cp.grid(SIDE, SIDE, GRID, GRID)


class _Colours(nn.Module):
    """An embedding with the amount of each colour: the dot product of two images counts pairs of parts of the same colour."""

    def forward(self, images):
        return images.mean((2, 3)) * GRID**2


def paint_parts(colours):
    """An image `[1, 9, 12, 12]` whose part `k` has one colour, the channel `colours[k]`; -1 leaves it black."""
    codes = torch.cat([torch.eye(GRID**2), torch.zeros(1, GRID**2)]).double()[list(colours)]
    return codes.T.reshape(1, GRID**2, GRID, GRID).repeat_interleave(CELL, 2).repeat_interleave(CELL, 3)


@pytest.fixture(scope="module")
def case():
    """Nine colours in the query; six of them in the retrieved image, in other places."""
    places = torch.randperm(GRID**2, generator=seeded(0)).tolist()
    retrieved = [colour if colour < 6 else -1 for colour in places]
    images = paint_parts(range(GRID**2)), paint_parts(retrieved)
    model = cp.SimilarityWrapper(_Colours(), similarity="dot")
    method = cp.FactorisedInteractions(model, within=True)
    return model, images, retrieved, method.interactions(images, baselines=(0, 0), feature_mask=(PARTS, PARTS), n_samples=2**10)


def project_parts(result):
    """The map of each of the query's parts, `[9, 12, 12]`."""
    return cp.paint(result.between[0], PARTS.expand(GRID**2, 1, SIDE, SIDE))[:, 0]


def test_planted_patches_have_area_1_and_the_whole_added_similarity(case):
    model, images, retrieved, result = case
    planted = torch.arange(GRID**2)[:, None] == torch.tensor(retrieved)
    added = (model(*images) - model(images[0], paint_parts([-1] * GRID**2))).item()
    evidence = metrics.planted_evidence(result.between[0], planted, added)
    assert evidence.auc == 1 and evidence.share == pytest.approx(1, abs=1e-9)


def test_the_pointing_game_has_1(case):
    _, _, retrieved, result = case
    score = metrics.pointing_recognition(project_parts(result), cp.paint(torch.tensor(retrieved).double(), PARTS)[0, 0].long())
    assert score.item() == pytest.approx(1, abs=1e-9)


def test_every_keypoint_is_carried_to_its_place(case):
    _, _, retrieved, result = case
    centres = torch.cartesian_prod(torch.arange(GRID), torch.arange(GRID)).double() * CELL + (CELL - 1) / 2
    shown = [colour for colour in range(GRID**2) if colour in retrieved]
    targets = centres[[retrieved.index(colour) for colour in shown]]
    assert metrics.correct_keypoints(project_parts(result)[shown], targets, alpha=0.01).all()


@pytest.mark.parametrize("p", [0.3, 0.5, 0.7])
def test_the_surrogate_is_perfect(case, p):
    model, images, _, result = case
    rows = torch.rand(200, 2 * GRID**2, generator=seeded(1)) < p
    values = torch.cat([evaluate(model, images, row) for row in rows])
    fit = metrics.surrogate_faithfulness(result.predict(rows), values[None])
    assert fit.r2.item() == pytest.approx(1, abs=1e-9)
    assert fit.spearman.item() == pytest.approx(1, abs=1e-3)  # rounding breaks ties of the predictions
    assert fit.mse.item() < 1e-18


def evaluate(model, images, present):
    """The similarity of the images with only some parts."""
    masks = (cp.paint(side.double(), PARTS) for side in present.split(GRID**2))
    return model(*(image * mask for image, mask in zip(images, masks, strict=True)))


def test_insertion_is_best_and_deletion_worst_in_the_order_of_the_credit(case):
    model, images, _, result = case
    values = torch.linspace(0, 1, SIDE**2).double()
    best = cp.paint(result.retrieved_map, PARTS)[:, 0]
    others = [values[torch.randperm(SIDE**2, generator=seeded(seed))].reshape(1, SIDE, SIDE) for seed in range(5)]
    for heat_map in others:
        for curve, sign in ((metrics.insertion_curve, 1), (metrics.deletion_curve, -1)):
            areas = [sign * curve(model, images, one, n_steps=9, baselines=(0, 0)).area.item() for one in (best, heat_map)]
            assert areas[0] > areas[1]


def test_the_true_regions_are_localised_and_propagated(case):
    _, _, retrieved, result = case
    truth = cp.paint((torch.tensor(retrieved) >= 0).double(), PARTS)[0, 0][None] > 0
    shown = torch.tensor([[float(colour in retrieved) for colour in range(GRID**2)]]).double()
    for heat_map in (cp.paint(result.retrieved_map, PARTS)[:, 0], cp.paint(result.project(shown), PARTS)[:, 0]):
        assert metrics.label_propagation(heat_map, truth).mean_iou == 1
