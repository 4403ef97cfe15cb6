"""Distinct random coalitions, spread evenly over all probabilities of presence."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

IDLE_ROUNDS = 50


def player_keys(n_players: int) -> Int[Tensor, " players"]:
    """A fixed random number for each player."""
    return torch.randint(-(2**62), 2**62, (n_players,), generator=torch.Generator().manual_seed(0))


def hashes(coalitions: Bool[Tensor, "coalitions players"]) -> Int[Tensor, " coalitions"]:
    """A 63-bit number for each coalition, the exclusive or of its players' keys (Zobrist hashing), any number of players."""
    total = torch.zeros(len(coalitions), dtype=torch.long)
    for key, present in zip(player_keys(coalitions.shape[1]), coalitions.T, strict=True):
        total ^= torch.where(present, key, 0)
    return total


def take_unseen(coalitions: Bool[Tensor, "coalitions players"], seen: set[int], most: int) -> Bool[Tensor, "taken players"]:
    """The first rows that are not in `seen`, at most so many; they are in it afterwards."""
    taken = []
    for row, key in enumerate(hashes(coalitions).tolist()):
        if key not in seen and len(taken) < most:
            seen.add(key)
            taken.append(row)
    return coalitions[taken]


def ends_and_singles(n_players: int) -> Bool[Tensor, "coalitions players"]:
    """No player, all, and each alone, in this order: the coalitions that first order and efficiency rest on."""
    return torch.cat([torch.tensor([[False], [True]]).expand(2, n_players), torch.eye(n_players, dtype=torch.bool)])


def refuse_too_few(n_samples: int, n_players: int) -> None:
    """Refuse a budget for one tower that leaves hardly anything beside its single players.

    Raises:
        ValueError: it is below twice the players, less the two ends.
    """
    least = 2 * n_players - 2
    if n_samples < least:
        raise ValueError(
            f"Expected n_samples of at least {least} for {n_players} players in one image (each alone, and about as many others), got "
            f"{n_samples}. Raise n_samples, or take fewer players."
        )


class Draws:
    """Coalitions that keep every player with probability `p`, `p` stratified over (0, 1), each followed by its complement.

    Complements see every player in and out equally often, which is what Shapley values rest on. None is drawn twice, nor any of
    `ends_and_singles`.
    """

    def __init__(self, n_players: int, generator: torch.Generator) -> None:
        self._n_players, self._generator = n_players, generator
        self._seen = set(hashes(ends_and_singles(n_players)).tolist())

    def more(self, n_coalitions: int) -> Bool[Tensor, "coalitions players"]:
        """So many coalitions that were not drawn before, or fewer where there are no more."""
        rows, n_drawn, idle = [torch.zeros(0, self._n_players, dtype=torch.bool)], 0, 0
        while n_drawn < n_coalitions and idle < IDLE_ROUNDS:  # idle: nearly all coalitions are drawn
            rows.append(take_unseen(self._round((n_coalitions - n_drawn + 1) // 2), self._seen, n_coalitions - n_drawn))
            idle = 0 if len(rows[-1]) else idle + 1
            n_drawn += len(rows[-1])
        return torch.cat(rows)

    def _round(self, n_pairs: int) -> Bool[Tensor, "coalitions players"]:
        g = self._generator
        p = (torch.arange(n_pairs)[:, None] + torch.rand(n_pairs, 1, generator=g, device=g.device).cpu()) / n_pairs
        drawn = torch.rand(n_pairs, self._n_players, generator=g, device=g.device).cpu() < p
        return torch.stack([drawn, ~drawn], 1).flatten(0, 1)
