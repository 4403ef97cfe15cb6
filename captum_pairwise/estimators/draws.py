"""Sampling of distinct coalitions, with presence probabilities spread evenly over (0, 1)."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

IDLE_ROUNDS = 50  # stop after so many rounds without a new coalition: nearly all are drawn


def player_keys(n_players: int) -> Int[Tensor, " players"]:
    """A fixed random number for each player."""
    return torch.randint(-(2**62), 2**62, (n_players,), generator=torch.Generator().manual_seed(0), device="cpu")


def hash_rows(coalitions: Bool[Tensor, "coalitions players"]) -> Int[Tensor, " coalitions"]:
    """A 63-bit hash of each coalition, the exclusive or of its players' keys (Zobrist hashing), for any number of players."""
    total = torch.zeros(len(coalitions), dtype=torch.long, device="cpu")
    for key, present in zip(player_keys(coalitions.shape[1]), coalitions.T, strict=True):
        total ^= torch.where(present, key, 0)
    return total


def take_unseen(coalitions: Bool[Tensor, "coalitions players"], seen: set[int], most: int) -> Bool[Tensor, "taken players"]:
    """The first rows, at most `most`, whose hashes are not in `seen`. Their hashes are added to it."""
    taken = []
    for row, key in enumerate(hash_rows(coalitions).tolist()):
        if key not in seen and len(taken) < most:
            seen.add(key)
            taken.append(row)
    return coalitions[taken]


def empty_and_full(n_players: int) -> Bool[Tensor, "2 players"]:
    """The empty coalition and the full one."""
    return torch.tensor([[False], [True]], device="cpu").expand(2, n_players)


def ends_and_singles(n_players: int) -> Bool[Tensor, "coalitions players"]:
    """The empty coalition, the full one, and each player alone, in this order. First order and efficiency depend on them."""
    return torch.cat([empty_and_full(n_players), torch.eye(n_players, dtype=torch.bool, device="cpu")])


def default_generator(generator: torch.Generator | None) -> torch.Generator:
    """The generator itself, or one with seed 0."""
    return generator if generator is not None else torch.Generator().manual_seed(0)


class Draws:
    """Sampler of coalitions in which each player is present with probability `p`, stratified over (0, 1).

    Each coalition is followed by its complement, such that every player is present and absent equally often, as Shapley values need. No
    coalition is drawn twice, and none of `ends_and_singles` is drawn.
    """

    def __init__(self, n_players: int, generator: torch.Generator) -> None:
        self._n_players, self._generator = n_players, generator
        self._seen = set(hash_rows(ends_and_singles(n_players)).tolist())

    def more(self, n_coalitions: int) -> Bool[Tensor, "coalitions players"]:
        """The next `n_coalitions` coalitions that were not drawn before, or fewer if no more exist."""
        rows, n_drawn, idle = [torch.zeros(0, self._n_players, dtype=torch.bool, device="cpu")], 0, 0
        while n_drawn < n_coalitions and idle < IDLE_ROUNDS:
            rows.append(take_unseen(self._round((n_coalitions - n_drawn + 1) // 2), self._seen, n_coalitions - n_drawn))
            idle = 0 if len(rows[-1]) else idle + 1
            n_drawn += len(rows[-1])
        return torch.cat(rows)

    def _round(self, n_pairs: int) -> Bool[Tensor, "coalitions players"]:
        g = self._generator
        p = (
            torch.arange(n_pairs, device="cpu")[:, None] + torch.rand(n_pairs, 1, generator=g, dtype=torch.float32, device=g.device).cpu()
        ) / n_pairs
        drawn = torch.rand(n_pairs, self._n_players, generator=g, dtype=torch.float32, device=g.device).cpu() < p
        return torch.stack([drawn, ~drawn], 1).flatten(0, 1)
