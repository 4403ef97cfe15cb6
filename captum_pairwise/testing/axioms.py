"""Checks of the axioms of fair credit."""

import torch
from torch import Tensor

from captum_pairwise.testing.tiny_model import CELLS, Encoder, cell_masks, images, sum_encoders
from captum_pairwise.testing.trial import DoesNotApply, Trial, expect

DELTA = 1e-6  # allowed error of a convergence delta
NEGLIGIBLE = 1e-6  # of the largest credit: an estimator that fits a function may give this to a dummy


def check_renamed_players(trial: Trial) -> None:
    """Players with other ids get the same credit."""
    if trial.players is None:
        raise DoesNotApply("it takes no masks, so its players have no ids")
    orders = [torch.randperm(int(mask.max()) + 1, generator=torch.Generator().manual_seed(3), device="cpu") for mask in trial.masks]
    credit = trial.explain(masks=tuple(order[mask] for order, mask in zip(orders, trial.masks, strict=True)))
    if trial.order == 1:
        credit = tuple(side[:, order] for side, order in zip(credit, orders, strict=True))
    else:
        credit = (credit[0][:, orders[0]][:, :, orders[1]],)
    trial.assert_same(credit, trial.explain(), "with other ids for the same players")


def check_swapped_images(trial: Trial) -> None:
    """If query and retrieved image are swapped, their credit is swapped; pairs are transposed."""
    query, retrieved = images()
    credit = trial.explain(pair=(retrieved, query), masks=trial.masks[::-1])
    credit = credit[::-1] if trial.order == 1 else (credit[0].mT,)
    trial.assert_same(credit, trial.explain(pair=(query, retrieved)), "with query and retrieved image swapped")


def check_dummy_players(trial: Trial) -> None:
    """Parts that the similarity does not depend on get no credit, alone or in a pair."""
    blind = cell_masks()[0][0, 0] == 0  # a block of both images
    credit = trial.explain(trial.model(Encoder(blind=blind)))
    dummies = [_find_dummies(mask, blind) for mask in trial.masks]
    if trial.order == 1:
        dummy_credit = [side[:, dummy] for side, dummy in zip(credit, dummies, strict=True)]
    else:
        dummy_credit = [credit[0][:, dummies[0]], credit[0][:, :, dummies[1]]]
    largest, worst = (max(float(part.abs().max()) for part in parts) for parts in (credit, dummy_credit))
    message = f"Expected no credit for a part that the similarity ignores, got {worst:.1e}; the largest credit is {largest:.1e}."
    expect(worst <= NEGLIGIBLE * largest, message)


def _find_dummies(mask: Tensor, blind: Tensor) -> list[int]:
    """The players whose cells are all blind."""
    step = mask.shape[-1] // CELLS
    ids = mask[0, 0, ::step, ::step]
    return [player for player in ids.unique().tolist() if bool(blind[ids == player].all())]


def check_linear_credit(trial: Trial) -> None:
    """The credit for a weighted sum of two similarities is the weighted sum of their credits."""
    encoders, weights = (Encoder(seed=1), Encoder(seed=2)), (1.0, 0.5)
    encoders[1].layer = encoders[0].layer
    first, second, total = (
        trial.explain(trial.model(encoder, similarity="dot")) for encoder in (*encoders, sum_encoders(encoders, weights))
    )
    expected = tuple(weights[0] * a + weights[1] * b for a, b in zip(first, second, strict=True))
    trial.assert_same(total, expected, "for a weighted sum of two similarities", tolerance=1e-7)


def check_completeness(trial: Trial) -> None:
    """The convergence delta is the sum of the credit minus the gain over the baselines, or over the index's constant."""
    model = trial.model()
    method = trial.make(model)
    if not method.has_convergence_delta():
        raise DoesNotApply("it reports no convergence delta")
    pair, baselines = images(), tuple(batch * 0.3 for batch in images(seed=5))
    result, delta = trial.call(method.attribute, pair, baselines=baselines, return_convergence_delta=True)
    if trial.order == 1:
        sums = torch.stack([credit.sum(1) for credit in trial.read(result, trial.masks)], 1)
        gains = torch.stack([model(*pair) - model(baselines[0], pair[1]), model(*pair) - model(pair[0], baselines[1])], 1)
    elif interactions := getattr(method, "interactions", None):
        credit = trial.call(interactions, pair, baselines=baselines)
        sums, index = credit.marginal.sum(1), getattr(credit, "index", None)
        is_complete = index is None or index.is_efficient
        gains = model(*pair) - (model(*baselines) if is_complete else credit.constant)
    else:
        raise DoesNotApply("it returns only pairs, whose sum is not defined")
    error = float((delta - (sums - gains).detach()).abs().max())  # similarities are of the order of 1
    expect(error <= DELTA, f"Expected the convergence delta to be the sum of the credit minus the gain, got an error of {error:.1e}.")
