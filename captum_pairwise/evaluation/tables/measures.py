"""The numbers of one method on one pair: of every protocol that the pair has the truth for."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from captum_pairwise import metrics
from captum_pairwise.evaluation.tables.image_pair import ImagePair
from captum_pairwise.evaluation.tables.part_credit import count_pixels, regroup_credit, regroup_pairs
from captum_pairwise.evaluation.tables.retrieved_map import PairResult, RetrievedMap, project_object, project_signal
from captum_pairwise.players.regions import Players
from captum_pairwise.results.interactions import Interactions

Numbers = dict[str, float]


@dataclass(frozen=True)
class Measures:
    """The metrics of one method on one pair; NaN where a metric is not defined.

    Attributes:
        faithfulness: how much the similarity falls when the upper 30 % of the retrieved image's pixels are blurred.
        inefficiency: the distance of the sum of all credit from `v(N) - v(∅)`, where `v(∅)` has the retrieved image blurred.
        insertion: the area under the similarity while the most important pixels of the retrieved image are inserted first.
        deletion: the area while they are deleted first.
        aid: the area between insertion and deletion of equal parts of the retrieved image, not divided by `v(N) - v(∅)`.
        localisation: the mean IoU of the object's mask and of as many of the most important pixels.
        pointing: the share of right credit in a mosaic, of the map with a query of one photo.
        pair_faithfulness: the similarity when everything is blurred except the query's object and its projection.
        pair_r2: the share of the similarity's variance, over coalitions of the method's own parts, that the credits predict.
        banzhaf_r2: the same for Banzhaf indices from the same sample.
        pair_inefficiency: the distance of the sum of all credit from `v(N) - v(∅)`, where `v(∅)` has both images blurred.
        mean_iou: the mean, over object and background, of the intersection over union of the retrieved image's true mask and of as many
            pixels of the projection.
        foreground_iou: the same for the object alone.
        pair_aid: the area between insertion and deletion of equal parts of both images.
        r2_30: the share of variance that the credits predict when each equal part is present with probability 0.3; then 0.5 and 0.7.
        spearman_30: the rank correlation of predictions and similarities there.
        kendall_30: the same, by Kendall's tau.
        pair_pointing: the share of right credit in a mosaic, of the projection of each region of the query.
        pck_10: the share of keypoints whose strongest place is within 0.1 of the larger side; then 0.2.
        planted_auc: the probability that a planted pair of parts has more credit than another pair.
        planted_share: the credit of the planted pairs over the similarity that the patches added.
    """

    faithfulness: float = torch.nan
    inefficiency: float = torch.nan
    insertion: float = torch.nan
    deletion: float = torch.nan
    aid: float = torch.nan
    localisation: float = torch.nan
    pointing: float = torch.nan
    pair_faithfulness: float = torch.nan
    pair_r2: float = torch.nan
    banzhaf_r2: float = torch.nan
    pair_inefficiency: float = torch.nan
    mean_iou: float = torch.nan
    foreground_iou: float = torch.nan
    pair_aid: float = torch.nan
    r2_30: float = torch.nan
    r2_50: float = torch.nan
    r2_70: float = torch.nan
    spearman_30: float = torch.nan
    spearman_50: float = torch.nan
    spearman_70: float = torch.nan
    kendall_30: float = torch.nan
    kendall_50: float = torch.nan
    kendall_70: float = torch.nan
    pair_pointing: float = torch.nan
    pck_10: float = torch.nan
    pck_20: float = torch.nan
    planted_auc: float = torch.nan
    planted_share: float = torch.nan


def measure_explanation(first: RetrievedMap | None, second: PairResult | None, pair: ImagePair, n_curve_steps: int = 10) -> Measures:
    """The metrics of both orders of a method, by the protocol of the pair."""
    values: Numbers = {}
    if pair.protocol == "object":
        values |= _measure_heat_map(first, pair, n_curve_steps) if first is not None else {}
        values |= _measure_pairs(second, pair) if second is not None else {}
    elif pair.protocol == "mosaic" and first is not None and _show_one_photo(pair):
        values["pointing"] = _point(_to_pixels(first, pair), pair)
    if second is not None and pair.protocol in WITH_TRUTH:
        values |= WITH_TRUTH[pair.protocol](second, pair)
    return Measures(**values)


def _to_pixels(explanation: RetrievedMap, pair: ImagePair) -> Float[Tensor, "1 height width"]:
    """The map over the pixels of the retrieved image."""
    height, width = pair.images[1].shape[2:]
    return metrics.to_pixels(explanation.heat_map, (height, width))


def _measure_heat_map(first: RetrievedMap, pair: ImagePair, n_curve_steps: int) -> Numbers:
    """The metrics of a map of the retrieved image."""
    pixels, given = _to_pixels(first, pair), (pair.similarity, pair.images)
    credit = regroup_credit(*first.shown, pair.game.parts[1])
    values = {
        "faithfulness": metrics.faithfulness(*given, pixels).item(),
        "inefficiency": _measure_inefficiency(first, pair, 1),
        "insertion": metrics.insertion_curve(*given, pixels, n_steps=n_curve_steps).area.item(),
        "deletion": metrics.deletion_curve(*given, pixels, n_steps=n_curve_steps).area.item(),
        "aid": _measure_order(pair.game.values_given_query, credit),
    }
    if pair.masks is not None:
        values["localisation"] = metrics.label_propagation(pixels, pair.masks[1], pair.void).mean_iou.item()
    return values


def _measure_pairs(second: PairResult, pair: ImagePair) -> Numbers:
    """The metrics of the pairs of a method on photos of an object."""
    values = _measure_game(second, pair) if isinstance(second, Interactions) else {}
    if pair.masks is None:
        return values
    projected = project_object(second, pair.masks[0])
    pixels = _to_pixels(projected, pair)
    overlap = metrics.label_propagation(pixels, pair.masks[1], pair.void)
    remaining = metrics.second_order_faithfulness(pair.similarity, pair.images, pixels, pair.masks, void=pair.void)
    return values | {
        "pair_faithfulness": remaining.item(),
        "pair_r2": projected.r2,
        "banzhaf_r2": projected.banzhaf_r2,
        "pair_inefficiency": _measure_inefficiency(projected, pair, 2),
        "mean_iou": overlap.mean_iou.item(),
        "foreground_iou": overlap.foreground_iou.item(),
    }


def _measure_game(second: Interactions, pair: ImagePair) -> Numbers:
    """The prediction of the game of equal parts, and the order in which it adds and removes them."""
    shared, values = regroup_pairs(second, pair.game.parts), {}
    values["pair_aid"] = _measure_order(pair.game.values, shared["first_order"][0], shared.second_order[0])
    for percent, (rows, similarities) in zip((30, 50, 70), pair.game.held_out, strict=True):
        fit = metrics.surrogate_faithfulness(shared.predict(rows), similarities[None])
        values |= {f"{name}_{percent}": getattr(fit, name).item() for name in ("spearman", "kendall")}
        values[f"r2_{percent}"] = torch.nan if second.marginal is None else fit.r2.item()
    return values


def _measure_order(values: Callable[[Tensor], Tensor], credit: Tensor, pairs: Tensor | None = None) -> float:
    """The area between insertion and deletion as a similarity: two blurs may be as similar as two photos, and no unit."""
    ends = values(torch.arange(2, device="cpu")[:, None].expand(2, len(credit)) == 1).double()
    return (metrics.insertion_deletion(values, credit, pairs).area * (ends[1] - ends[0]).cpu()).item()


def _measure_inefficiency(explanation: RetrievedMap, pair: ImagePair, order: int) -> float:
    if explanation.credit is None:
        return torch.nan
    return metrics.inefficiency(explanation.credit[None], pair.full, pair.empty[order - 1]).item()


def _show_one_photo(pair: ImagePair) -> bool:
    """True if the whole query is one region."""
    return pair.regions is not None and len(pair.regions[0].unique()) == 1


def _project_all(
    second: PairResult, signals: Float[Tensor, "signals height width"], pair: ImagePair
) -> Float[Tensor, "signals rows columns"]:
    """The projection of each signal over the query to the pixels of the retrieved image."""
    size = (pair.images[1].shape[2], pair.images[1].shape[3])
    return torch.cat([metrics.to_pixels(project_signal(second, signal[None]), size) for signal in signals])


def _number_regions(pair: ImagePair) -> tuple[Bool[Tensor, "regions height width"], Int[Tensor, "height width"]]:
    """A mask for each region of the query, and the number of the region that each pixel of the retrieved image shows, or -1."""
    if pair.regions is None:
        raise ValueError("Expected a pair with numbered regions, got none. Give both masks.")
    query, retrieved = pair.regions
    numbers = query.unique()
    numbers = numbers[numbers > 0]
    matches = retrieved == numbers[:, None, None]
    return query == numbers[:, None, None], torch.where(matches.any(0), matches.int().argmax(0), -1)


def _point(maps: Float[Tensor, "regions height width"], pair: ImagePair) -> float:
    return metrics.pointing_recognition(maps, _number_regions(pair)[1]).item()


def measure_mosaic(second: PairResult, pair: ImagePair) -> Numbers:
    """The pointing game of all regions of the query."""
    return {"pair_pointing": _point(_project_all(second, _number_regions(pair)[0].float(), pair), pair)}


def measure_points(second: PairResult, pair: ImagePair) -> Numbers:
    """The share of the keypoints that the query's part at each carries to the right place."""
    if pair.points is None:
        raise ValueError("Expected a pair with points, got none. Give them in the list of pairs.")
    height, width = pair.images[0].shape[2:]
    rows, columns = pair.points[:, :2].round().long().T
    signals = torch.zeros(len(rows), height, width, dtype=torch.float32, device=rows.device)
    signals[torch.arange(len(rows), device=rows.device), rows, columns] = 1.0
    maps = _project_all(second, signals, pair)
    shares = {f"pck_{percent}": metrics.correct_keypoints(maps, pair.points[:, 2:], percent / 100) for percent in (10, 20)}
    return {name: correct.double().mean().item() for name, correct in shares.items()}


def measure_planted(second: PairResult, pair: ImagePair) -> Numbers:
    """The credit of the pairs of parts that lie in the same patch."""
    result = second if isinstance(second, Interactions) else second.interactions()
    if pair.before is None or result.query_players is None or result.retrieved_players is None:
        raise ValueError("Expected a pair without and with patches, and parts of both images, got others. Give `before`.")
    masks, numbers = _number_regions(pair)
    planted = torch.zeros_like(result["between"][0], dtype=torch.bool)
    for number, mask in enumerate(masks):
        planted |= torch.outer(_find_covered(result.query_players, mask), _find_covered(result.retrieved_players, numbers == number))
    has_unit = result is second and result.marginal is not None
    added = (pair.full - pair.similarity(pair.images[0], pair.before)).item() if has_unit else torch.nan
    evidence = metrics.planted_evidence(result["between"][0], planted, added)
    return {"planted_auc": evidence.auc, "planted_share": evidence.share}


def _find_covered(players: Players, region: Bool[Tensor, "height width"]) -> Bool[Tensor, " players"]:
    """The players with at least half of their pixels in a region, or else the one with the most."""
    outside, inside = count_pixels(players, Players(region[None, None].long(), (2,)))
    covered = (inside > 0) & (inside >= outside)
    return covered if covered.any() else inside == inside.max()


WITH_TRUTH: dict[str, Callable[[PairResult, ImagePair], Numbers]] = {
    "mosaic": measure_mosaic,
    "points": measure_points,
    "planted": measure_planted,
}
