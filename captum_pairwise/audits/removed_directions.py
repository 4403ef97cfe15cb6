"""Directions of embeddings that tell whether an image shows something, apart from its group."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import one_hot


def find_direction(
    embeddings: Float[Tensor, "images channels"], shows: Bool[Tensor, " images"], groups: Sequence[str]
) -> Float[Tensor, " channels"]:
    r"""The mean of $e_i - \bar e_{g(i)}$ over the images $i$ that show something, for the mean $\bar e_g$ of the others of the group.

    Images of a group without others do not count; if that leaves none, all images are one group. It is 0 if all images show it, or none.

    >>> embeddings = torch.tensor([[1.0, 0.0], [1.0, 2.0], [5.0, 0.0], [5.0, 4.0]])
    >>> find_direction(embeddings, torch.tensor([False, True, False, True]), ["a", "a", "b", "b"])
    tensor([0., 3.])
    """
    for names in (groups, [""] * len(embeddings)):
        numbers = torch.from_numpy(np.unique(names, return_inverse=True)[1])
        belongs = one_hot(numbers).to(embeddings)
        others = belongs * ~shows[:, None]
        counts = others.sum(0)
        weights = shows * (belongs @ counts > 0)
        if weights.any():
            means = others.mT @ embeddings / counts.clamp(min=1)[:, None]
            return (weights.to(embeddings) @ (embeddings - belongs @ means)) / weights.sum()
    return torch.zeros_like(embeddings[0])


def project_out(
    embeddings: Float[Tensor, "images channels"], directions: Float[Tensor, "directions channels"]
) -> Float[Tensor, "images channels"]:
    """The embeddings without their components along some directions (P-ClArC, Anders et al. 2022).

    >>> project_out(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.0, 0.0, 7.0]]))
    tensor([[1., 2., 0.]])
    """
    directions = directions[directions.any(1)].to(embeddings)
    basis = torch.linalg.qr(directions.mT)[0]
    return embeddings - embeddings @ basis @ basis.mT
