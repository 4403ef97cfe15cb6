"""The slices of a volume, or the frames of a video, that a picture shows."""

import numpy as np
from jaxtyping import Float, Int

from captum_pairwise.players.regions import NEVER_LEAVES

FEW_SLICES, MOST_SLICES = 6, 12


def choose_slices(ids: Int[np.ndarray, "depth height width"], n_slices: int, weights: Float[np.ndarray, " players"]) -> list[int]:
    """The numbers of the slices to show, in their order.

    Neighbouring slices with the same players count as one layer. Up to 12 layers are all shown, each by the slices in its middle. Of more,
    those are shown in which the players with the largest weights have most voxels.

    Args:
        ids: the players; the depth may be that of a layer's map.
        n_slices: the number of slices of the input.
        weights: of the players.
    """
    layers = _find_layers(ids, n_slices)
    if len(layers) > MOST_SLICES:
        return _choose_strongest(ids, layers, weights)
    n_shown = min(n_slices, FEW_SLICES if len(layers) <= FEW_SLICES else MOST_SLICES)
    each = max(1, n_shown // len(layers))
    chosen = {int(low + (place + 0.5) * (high - low) / each) for low, high in layers for place in range(each)}
    return sorted(chosen)


def _find_layers(ids: Int[np.ndarray, "depth height width"], n_slices: int) -> list[tuple[float, float]]:
    """The ends of runs of equal planes, in slices of the input."""
    changes = [depth for depth in range(1, len(ids)) if not np.array_equal(ids[depth], ids[depth - 1])]
    ends = np.array([0, *changes, len(ids)]) * n_slices / len(ids)
    return list(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True))


def _choose_strongest(
    ids: Int[np.ndarray, "depth height width"], layers: list[tuple[float, float]], weights: Float[np.ndarray, " players"]
) -> list[int]:
    """The middle slices of the layers that hold most of each of the strongest players; then of evenly spaced layers."""
    scale = len(ids) / layers[-1][1]
    planes = [ids[int((low + high) / 2 * scale)].ravel() for low, high in layers]
    counts = np.stack([np.bincount(plane[plane != NEVER_LEAVES], minlength=len(weights)) for plane in planes])
    strongest = np.argsort(-weights, kind="stable")
    by_weight = [int(counts[:, player].argmax()) for player in strongest if counts[:, player].any() and weights[player] > 0]
    spread = np.linspace(0, len(layers) - 1, MOST_SLICES).round().astype(int).tolist()
    chosen = list(dict.fromkeys([*by_weight, *spread, *range(len(layers))]))[:MOST_SLICES]
    return sorted(int(sum(layers[layer]) / 2) for layer in chosen)
