"""Enumerated games: every coalition's value in one tensor, entry `S` at the number whose bit `i` says that player `i` is in."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

ROWS_AT_ONCE = 2**18


def all_coalitions(
    n_players: int, device: torch.device | None = None, start: int = 0, most: int | None = None
) -> Bool[Tensor, "coalitions players"]:
    """Every coalition, row `S` at bit mask `S`; or at most `most` of them from row `start` on.

    >>> all_coalitions(2).int().tolist()
    [[0, 0], [1, 0], [0, 1], [1, 1]]
    """
    stop = 2**n_players if most is None else min(2**n_players, start + most)
    masks = torch.arange(start, stop, device=device)
    return (masks[:, None] >> torch.arange(n_players, device=device)) & 1 == 1


def _n_players(values: Tensor) -> int:
    n_players = values.numel().bit_length() - 1
    if values.dim() != 1 or values.numel() != 2**n_players:
        raise ValueError(f"Expected the values of all coalitions, a vector of length 2**n, got shape {tuple(values.shape)}.")
    return n_players


def harsanyi_dividends(values: Float[Tensor, " coalitions"]) -> Float[Tensor, " coalitions"]:
    """What each coalition adds to all of its parts, `d(S) = Σ_{T⊆S} (-1)^{|S|-|T|} v(T)` (paper eq. 4, with `d(∅) = v(∅)`).

    The paper's eq. 4 has no term for the empty set, without which it is wrong wherever `v(∅) ≠ 0`.

    Raises:
        ValueError: the length is not a power of two.

    >>> harsanyi_dividends(torch.tensor([1.0, 2.0, 3.0, 7.0])).tolist()
    [1.0, 1.0, 2.0, 3.0]
    """
    n_players = _n_players(values)
    dividends = values.clone()
    for player in range(n_players):  # subtract, along each axis of the cube, the face without the player
        faces = dividends.view(-1, 2, 2**player)
        faces[:, 1] -= faces[:, 0]
    return dividends


def shapley_values(values: Float[Tensor, " coalitions"]) -> Float[Tensor, " players"]:
    """The Shapley values, `φ_i = Σ_{T∋i} d(T) / |T|` (paper eq. 1, through the dividends).

    Raises:
        ValueError: the length is not a power of two.

    >>> shapley_values(torch.tensor([1.0, 2.0, 3.0, 7.0])).tolist()
    [2.5, 3.5]
    """
    members = all_coalitions(_n_players(values), values.device).to(values.dtype)
    share = harsanyi_dividends(values) / members.sum(1).clamp(min=1)
    return share @ members


def shapley_taylor(
    values: Float[Tensor, " coalitions"],
) -> tuple[Float[Tensor, ""], Float[Tensor, " players"], Float[Tensor, "players players"]]:
    """The Shapley–Taylor indices of order 2: `v(∅)`, `φ_i = v({i}) - v(∅)` and `φ_ij = Σ_{T⊇{i,j}} d(T) / C(|T|, 2)` (paper eq. 5).

    Returns:
        `(empty, first [n], second [n, n])`; `second` is symmetric with a zero diagonal, each entry the whole of its pair.

    Raises:
        ValueError: the length is not a power of two.

    >>> empty, first, second = shapley_taylor(torch.tensor([1.0, 2.0, 3.0, 7.0]))
    >>> empty.item(), first.tolist(), second.tolist()
    (1.0, [1.0, 2.0], [[0.0, 3.0], [3.0, 0.0]])
    """
    n_players = _n_players(values)
    dividends = harsanyi_dividends(values)
    second = values.new_zeros(n_players, n_players)
    for start in range(0, len(values), ROWS_AT_ONCE):
        members = all_coalitions(n_players, values.device, start, ROWS_AT_ONCE).to(values.dtype)
        size = members.sum(1, keepdim=True)
        share = dividends[start : start + ROWS_AT_ONCE, None] / (size * (size - 1) / 2).clamp(min=1)
        second += members.T @ (share * members)
    singles = 2 ** torch.arange(n_players, device=values.device)
    return values[0], values[singles] - values[0], second.fill_diagonal_(0)
