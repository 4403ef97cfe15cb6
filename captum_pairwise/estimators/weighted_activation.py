"""Visually explaining similarity models (VESM): where the features are that two embeddings have in common, or have not."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.network.autocast import disable_autocast

MODES = ("positive", "negative", "triplet")
Activations = Float[Tensor, "1 channels ..."]
Seen = tuple[Activations, Callable[[Tensor], Tensor]]
Map = Float[Tensor, "1 ..."]


def feature_weights(
    query: Float[Tensor, " features"],
    retrieved: Float[Tensor, " features"],
    mode: str = "positive",
    negative: Float[Tensor, " features"] | None = None,
) -> Float[Tensor, " features"]:
    """How much each feature of the embeddings counts, from `d(f, g) = |f/‖f‖ - g/‖g‖|` in each.

    `1 - d(query, retrieved)` for a positive pair, `d(query, retrieved)` for a negative one, and for a triplet
    `(1 - d(query, retrieved)) d(query, negative)`.

    Raises:
        ValueError: an embedding is zero.

    >>> feature_weights(torch.tensor([3.0, 4.0]), torch.tensor([0.0, 1.0]), "negative")
    tensor([0.6000, 0.2000])
    """
    distance = (_unit(query, "query") - _unit(retrieved, "retrieved")).abs()
    if mode == "negative":
        return distance
    if negative is None:
        return 1 - distance
    return (1 - distance) * (_unit(query, "query") - _unit(negative, "negative")).abs()


def _unit(embedding: Tensor, name: str) -> Tensor:
    if not embedding.any():
        raise ValueError(
            f"Expected embeddings with a direction, because their directions are compared, but one of the {name} images has embedding "
            "zero. Leave it out."
        )
    return embedding / embedding.norm()


@disable_autocast()
def vesm(
    query: Seen,
    retrieved: Seen,
    mode: str = "positive",
    negative: Float[Tensor, " features"] | None = None,
    rectified: bool = True,
) -> tuple[Map, Map]:
    """For each of two images `Σ_c α_c A_c`, with `α_c` the mean over positions of `∂<w, f>/∂A_c`, cut off below 0 (Zheng et al. 2020).

    The weights `w` are `feature_weights` of both embeddings `f`, and constants. After global average pooling it is `(1/HW) Σ_c w_c A_c`.

    Args:
        query: the layer's output for the query, and the differentiable function that makes its embedding `[1, features]` of it.
        retrieved: the same for the retrieved image.
        mode: what the weights are; one of `MODES`.
        negative: the embedding of the negative image of a triplet.
        rectified: whether to cut off what is below 0.

    Raises:
        ValueError: an embedding is zero, or has no gradient.

    >>> query, retrieved = torch.tensor([[[4.0, 2.0], [0.0, 0.0]]]), torch.tensor([[[0.0, 0.0], [5.0, 5.0]]])
    >>> vesm((query, lambda maps: maps.mean(2)), (retrieved, lambda maps: maps.mean(2)), "negative")
    (tensor([[2., 1.]]), tensor([[2.5000, 2.5000]]))
    """
    seen = [activations.detach().clone().requires_grad_() for activations, _ in (query, retrieved)]
    embeddings = [embed(activations)[0] for activations, (_, embed) in zip(seen, (query, retrieved), strict=True)]
    weights = feature_weights(embeddings[0].detach(), embeddings[1].detach(), mode, negative)
    of_query, of_retrieved = (_class_activation(one, weights @ embedding) for one, embedding in zip(seen, embeddings, strict=True))
    return (of_query.relu(), of_retrieved.relu()) if rectified else (of_query, of_retrieved)


def _class_activation(activations: Activations, score: Float[Tensor, ""]) -> Map:
    """The sum of the channels, each times the mean slope of the score by it."""
    if not score.requires_grad:
        raise ValueError(
            "Expected a network that can be differentiated after the layer, but no gradient arrives there. Take `torch.no_grad()` and "
            "`detach()` out of its forward."
        )
    (slopes,) = torch.autograd.grad(score, activations)
    return torch.einsum("bc,bc...->b...", slopes.flatten(2).mean(2), activations.detach())
