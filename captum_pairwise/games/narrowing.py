"""Affine embeddings of one image in coordinates of the space that they span."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.games.game import Affine


@dataclass(frozen=True)
class NarrowTower:
    """Affine embeddings of one image, one function for each background, by their coordinates.

    Norms and inner products of the coordinates are those of the embeddings, `coordinates @ basis`.

    Attributes:
        functions: the coordinates of the embeddings.
        basis: orthonormal rows.
    """

    functions: list[Affine]
    basis: Float[Tensor, "dimensions channels"]


def narrow_tower(functions: Sequence[Callable[[Tensor], Tensor]]) -> NarrowTower | None:
    """The coordinates of the embeddings; None if a function is not affine, or if the embeddings span as many dimensions as channels.

    The 49 cells of a map and its background span 50 dimensions, where a network has 512 to 2048 channels. So everything that a method does
    with thousands of embeddings costs a tenth or less.

    >>> tower = narrow_tower([Affine(torch.tensor([0.0, 3.0, 4.0]), torch.tensor([[0.0, 3.0, 4.0]]))])
    >>> (tower.functions[0](torch.ones(1, 1)).double() @ tower.basis).round()
    tensor([[0., 6., 8.]], dtype=torch.float64)
    """
    affine = [function for function in functions if isinstance(function, Affine)]
    if len(affine) < len(functions) or affine[0].offset.dim() != 1:
        return None
    rows = torch.cat([torch.cat([one.offset[None], one.moves]) for one in affine])
    if len(rows) >= rows.shape[1]:
        return None
    basis, coordinates = torch.linalg.qr(rows.cpu().double().T)  # some devices have no float64
    offsets_and_moves = coordinates.T.to(rows).split([1 + len(one.moves) for one in affine])
    return NarrowTower([Affine(part[0], part[1:]) for part in offsets_and_moves], basis.T)
