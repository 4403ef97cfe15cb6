"""Visually explaining similarity models (VESM): maps of the features that two embeddings share, or in which they differ."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.network.autocast import disable_autocast

MODES = ("positive", "negative", "triplet")
Activations = Float[Tensor, "1 channels ..."]
LayerTail = tuple[Activations, Callable[[Tensor], Tensor]]  # the output of a layer, and the function from it to the embedding
Features = Float[Tensor, " features"]
Map = Float[Tensor, "1 ..."]


def feature_weights(query: Features, retrieved: Features, mode: str = "positive", negative: Features | None = None) -> Features:
    """The weight of each feature of the embeddings, from `d(f, g) = |f/‖f‖ - g/‖g‖|` in each feature.

    `1 - d(query, retrieved)` for a positive pair, `d(query, retrieved)` for a negative pair, and for a triplet
    `(1 - d(query, retrieved)) d(query, negative)`.

    Raises:
        ValueError: an embedding is zero.

    >>> feature_weights(torch.tensor([3.0, 4.0]), torch.tensor([0.0, 1.0]), "negative")
    tensor([0.6000, 0.2000])
    """
    distance = (_normalise(query, "query") - _normalise(retrieved, "retrieved")).abs()
    if mode == "negative":
        return distance
    if negative is None:
        return 1 - distance
    return (1 - distance) * (_normalise(query, "query") - _normalise(negative, "negative")).abs()


def _normalise(embedding: Features, name: str) -> Features:
    if not embedding.any():
        raise ValueError(f"Expected embeddings with a direction, but one of the {name} images has embedding zero. Leave it out.")
    return embedding / embedding.norm()


@disable_autocast()
def vesm(
    query: LayerTail, retrieved: LayerTail, mode: str = "positive", negative: Features | None = None, rectified: bool = True
) -> tuple[Map, Map]:
    """For each of two images `Σ_c α_c A_c`, where `α_c` is the mean over positions of `∂<w, f>/∂A_c` (Zheng et al. 2020).

    The weights `w` are `feature_weights` of both embeddings `f`, and constant. With global average pooling it is `(1/HW) Σ_c w_c A_c`.

    Args:
        query: the layer's output for the query, and the differentiable function from it to the embedding `[1, features]`.
        retrieved: the same for the retrieved image.
        mode: kind of weights; one of `MODES`.
        negative: the embedding of the negative image of a triplet.
        rectified: True to replace negative values by 0.

    Raises:
        ValueError: an embedding is zero, or has no gradient.

    >>> query, retrieved = torch.tensor([[[4.0, 2.0], [0.0, 0.0]]]), torch.tensor([[[0.0, 0.0], [5.0, 5.0]]])
    >>> vesm((query, lambda maps: maps.mean(2)), (retrieved, lambda maps: maps.mean(2)), "negative")
    (tensor([[2., 1.]]), tensor([[2.5000, 2.5000]]))
    """
    activations = [output.detach().clone().requires_grad_() for output, _ in (query, retrieved)]
    u, w = (embed(output)[0] for output, (_, embed) in zip(activations, (query, retrieved), strict=True))
    weights = feature_weights(u.detach(), w.detach(), mode, negative)
    maps = _class_activation(activations[0], weights @ u), _class_activation(activations[1], weights @ w)
    return (maps[0].relu(), maps[1].relu()) if rectified else maps


def _class_activation(activations: Activations, score: Float[Tensor, ""]) -> Map:
    """The sum of the channels, each weighted by the mean derivative of the score by the channel."""
    slopes = torch.autograd.grad(score, activations, allow_unused=True)[0] if score.requires_grad else None
    if slopes is None:
        raise ValueError("Expected a gradient at the layer, but no gradient arrives. Take `torch.no_grad()` and `detach()` out.")
    return torch.einsum("bc,bc...->b...", slopes.flatten(2).mean(2), activations.detach())
