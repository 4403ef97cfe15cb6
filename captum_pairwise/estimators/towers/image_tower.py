"""What one image contributes to all of its pairs, computed once: expected changes of its embedding by each of its parts."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import permutations
from math import factorial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from captum_pairwise.estimators.coalitions import all_coalitions
from captum_pairwise.estimators.prediction_fit import draw_balanced

FEWEST_ROWS, ROWS_PER_PLAYER = 128, 2  # coalitions in a half of the sample: a power of two above twice the players, and their complements
HELD_OUT = 128
N_CYCLES, N_STARTS = 4, 8  # random cyclic orders in a half of the sample, and the players at which each begins, forward and backward
SEED = 0

Embed = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Design:
    """The coalitions of every image with so many players: two halves, whose difference is the error, and coalitions that neither has.

    Attributes:
        coalitions: present with probability ½, half by half.
        orders: in which the players enter, half by half.
        held_out: coalitions that measure the prediction.
        is_exact: True if all coalitions and orders are there.
    """

    coalitions: Bool[Tensor, "halves rows players"]
    orders: Int[Tensor, "halves orders players"]
    held_out: Bool[Tensor, "held_out players"]
    is_exact: bool


@dataclass(frozen=True)
class ImageTower:
    """The embedding of one image as a function of its parts, in an orthonormal basis of its own.

    Attributes:
        basis: of the space that the embeddings span, orthonormal rows.
        full: the lifted embedding of the whole image.
        slopes: `E[u(A∪i) - u(A)]` where the other parts are present with probability ½, from each half of the sample.
        shapley: the mean of `u(A∪i) - u(A)` over all orders, from each half.
        held_out: the embeddings of the held-out coalitions.
        predicted: what the slopes predict for them.
        is_exact: True if all coalitions were embedded.
    """

    basis: Float[Tensor, "dimensions channels"]
    full: Float[Tensor, " dimensions"]
    slopes: Float[Tensor, "halves players dimensions"]
    shapley: Float[Tensor, "halves players dimensions"]
    held_out: Float[Tensor, "held_out dimensions"]
    predicted: Float[Tensor, "held_out dimensions"]
    is_exact: bool

    @property
    def n_bytes(self) -> int:
        """The memory of the tensors."""
        return sum(value.numel() * value.element_size() for value in vars(self).values() if isinstance(value, Tensor))


@cache
def make_design(n_players: int) -> Design:
    """The coalitions of all images with this number of players; every pair of an audit uses the same."""
    generator = torch.Generator().manual_seed(SEED)
    n_rows = FEWEST_ROWS
    while n_rows < ROWS_PER_PLAYER * n_players:
        n_rows *= 2
    held_out = draw_balanced(n_players, max(HELD_OUT, n_rows), 0.5, generator)
    if 2**n_players <= 2 * n_rows and factorial(n_players) <= 2 * N_CYCLES * N_STARTS:
        orders = torch.tensor(list(permutations(range(n_players))), device="cpu", dtype=torch.int64)
        return Design(all_coalitions(n_players).expand(2, -1, -1), orders.expand(2, -1, -1), held_out, True)
    halves = [draw_balanced(n_players, n_rows, 0.5, generator) for _ in range(2)]
    cycles = [torch.randperm(n_players, generator=generator, device="cpu") for _ in range(2 * N_CYCLES)]
    turned = [cycle.roll(-(start * n_players // N_STARTS)) for cycle in cycles for start in range(N_STARTS)]
    orders = torch.stack(turned).unflatten(0, (2, N_CYCLES * N_STARTS))
    coalitions = torch.stack([torch.cat([rows, ~rows]) for rows in halves])
    return Design(coalitions, torch.cat([orders, orders.flip(2)], 1), held_out, False)


def summarise_tower(embed: Embed, n_players: int, basis: Float[Tensor, "dimensions channels"]) -> ImageTower:
    r"""The summary of an image.

    In a half of the sample each part is present in half of the coalitions, and every two parts are together, apart and absent equally
    often, so the least squares of the embedding on the parts are differences of two means, the slopes of Banzhaf's index:
    $\Delta_i = \operatorname{mean}(u(A) : i \in A) - \operatorname{mean}(u(A) : i \notin A)$.

    Args:
        embed: lifted embeddings `[rows, dimensions]` for presences `[rows, players]`.
        n_players: the number of parts.
        basis: of the dimensions.
    """
    design = make_design(n_players)
    device = basis.device
    rows = design.coalitions.flatten(0, 1).to(device)
    embeddings = embed(rows).unflatten(0, design.coalitions.shape[:2])
    signs = 2 * design.coalitions.to(embeddings) - 1
    slopes = 2 * torch.einsum("hri,hrd->hid", signs, embeddings) / signs.shape[1]
    full = embed(torch.ones(1, n_players, dtype=torch.bool, device=device))[0]
    held_out = embed(design.held_out.to(device))
    mean = embeddings.mean((0, 1))
    predicted = mean + (design.held_out.to(embeddings) - 0.5) @ slopes.mean(0)
    return ImageTower(basis, full, slopes, _average_orders(embed, design.orders, device), held_out, predicted, design.is_exact)


def _average_orders(
    embed: Embed, orders: Int[Tensor, "halves orders players"], device: torch.device
) -> Float[Tensor, "halves players dimensions"]:
    """The mean change of the embedding when each player enters, over the orders of each half."""
    n_players = orders.shape[2]
    arrivals = orders.argsort(2)
    sizes = torch.arange(n_players + 1, device="cpu", dtype=torch.int64)
    coalitions = arrivals[:, :, None, :] < sizes[:, None]
    embeddings = embed(coalitions.flatten(0, 2).to(device)).unflatten(0, coalitions.shape[:3])
    moves = embeddings.diff(dim=2)
    places = arrivals.to(device)[..., None].expand(*arrivals.shape, moves.shape[3])
    return moves.gather(2, places).mean(1)
