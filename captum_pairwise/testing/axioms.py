"""Checks of the axioms: what fair credit is."""

import torch
from torch import Tensor

from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.testing.test_model import CELLS, Encoder, Summed, cell_masks, images
from captum_pairwise.testing.trial import DoesNotApply, Trial, expect

DELTA = 1e-6  # by how much a convergence delta may be off
NEGLIGIBLE = 1e-6  # of the largest credit: what an estimator that fits a function may give a dummy


def renamed_players(trial: Trial) -> None:
    """Players with other ids get the same credit."""
    if trial.players is None:
        raise DoesNotApply("it takes no masks, so that its players have no names")
    orders = [torch.randperm(int(mask.max()) + 1, generator=torch.Generator().manual_seed(3)) for mask in trial.masks]
    renamed = tuple(order[mask] for order, mask in zip(orders, trial.masks, strict=True))
    found, expected = trial.explain(masks=renamed), trial.explain()
    if trial.order == 1:
        found = tuple(one[:, order] for one, order in zip(found, orders, strict=True))
    else:
        found = (found[0][:, orders[0]][:, :, orders[1]],)
    trial.assert_same(found, expected, "with other ids for the same players")


def swapped_images(trial: Trial) -> None:
    """Query and retrieved image swapped swap the credit: pairs are transposed."""
    query, retrieved = images()
    expected = trial.explain(pair=(query, retrieved))
    found = trial.explain(pair=(retrieved, query), masks=trial.masks[::-1])
    found = found[::-1] if trial.order == 1 else (found[0].mT,)
    trial.assert_same(found, expected, "with query and retrieved image swapped")


def dummy_players(trial: Trial) -> None:
    """What the similarity does not depend on gets no credit, alone or in a pair."""
    blind = cell_masks()[0][0, 0] == 0  # a block of both images
    found = trial.explain(trial.model(Encoder(blind=blind)))
    masks = trial.masks if trial.players else (torch.arange(CELLS**2).view(1, 1, CELLS, CELLS),) * 2
    dummies = [_within(mask, blind) for mask in masks]
    if trial.order == 1:
        theirs = [one[:, dummy] for one, dummy in zip(found, dummies, strict=True)]
    else:
        theirs = [found[0][:, dummies[0]], found[0][:, :, dummies[1]]]
    largest = max(float(one.abs().max()) for one in found)
    worst = max(float(one.abs().max()) for one in theirs)
    expect(worst <= NEGLIGIBLE * largest, f"a part that the similarity ignores has credit {worst:.1e}; the largest is {largest:.1e}.")


def _within(mask: Tensor, blind: Tensor) -> list[int]:
    """The players that lie wholly in the blind cells."""
    step = mask.shape[-1] // CELLS
    ids = mask[0, 0, ::step, ::step]
    return [player for player in ids.unique().tolist() if bool(blind[ids == player].all())]


def linear_credit(trial: Trial) -> None:
    """The credit for a weighted sum of two similarities is the weighted sum of their credits."""
    one, other, weights = Encoder(seed=1), Encoder(seed=2), (1.0, 0.5)
    other.layer = one.layer
    models = [trial.model(encoder, similarity="dot") for encoder in (one, other, Summed((one, other), weights))]
    parts = [trial.explain(model) for model in models]
    expected = tuple(weights[0] * a + weights[1] * b for a, b in zip(parts[0], parts[1], strict=True))
    trial.assert_same(parts[2], expected, "of a weighted sum of two similarities", tolerance=1e-7)


def completeness(trial: Trial) -> None:
    """The credit adds up to what the images add over their baselines, or the delta says exactly by how much it does not."""
    model, method = trial.model(), trial.make(trial.model())
    if not method.has_convergence_delta():
        raise DoesNotApply("it reports no convergence delta")
    if trial.order == 1:
        _first_order_delta(trial, model)
    else:
        _pairwise_delta(trial, model)


def _first_order_delta(trial: Trial, model: SimilarityWrapper) -> None:
    pair, baselines = images(), tuple(batch * 0.3 for batch in images(seed=5))
    found, delta = trial.attribute(trial.make(model), pair, baselines=baselines, return_convergence_delta=True)
    due = [model(*pair) - model(baselines[0], pair[1]), model(*pair) - model(pair[0], baselines[1])]
    sums = [one.sum(1) for one in trial.read(found, trial.masks)]
    expected = torch.stack([total - brought for total, brought in zip(sums, due, strict=True)], 1).detach()
    assert_delta(delta, expected)


def _pairwise_delta(trial: Trial, model: SimilarityWrapper) -> None:
    pair, baselines = images(), tuple(batch * 0.3 for batch in images(seed=5))
    method = trial.make(model)
    _, delta = trial.attribute(method, pair, baselines=baselines, return_convergence_delta=True)
    explained = getattr(method, "interactions", None)
    if explained is None:
        raise DoesNotApply("it returns pairs alone, whose sum has nothing due to it")
    chosen = {trial.players: trial.masks} if trial.players else {}
    found = explained(pair, **{**trial.arguments, **chosen}, baselines=baselines)
    expected = found.marginal.sum(1) - (model(*pair) - model(*baselines)).detach()
    assert_delta(delta, expected)


def assert_delta(delta: Tensor, expected: Tensor) -> None:
    """Fail where a delta is not what the credit misses; similarities are of the order of 1."""
    worst = float((delta - expected).abs().max())
    expect(worst <= DELTA, f"the convergence delta is off by {worst:.1e}.")


CHECKS = (renamed_players, swapped_images, dummy_players, linear_credit, completeness)
