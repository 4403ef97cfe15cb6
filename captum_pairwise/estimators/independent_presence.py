"""Coalitions in which every player is present independently, with a probability of its own or of its image."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from captum_pairwise.estimators.draws import default_generator

Presence = Float[Tensor, " players"]


def repeat_sides(numbers: tuple[float, float], n_query: int, n_retrieved: int) -> Presence:
    """The number of its image for each player, in float64 on the CPU, the query's players first.

    >>> repeat_sides((0.25, 0.5), 1, 2).tolist()
    [0.25, 0.5, 0.5]
    """
    counts = torch.tensor([n_query, n_retrieved], device="cpu")
    return torch.tensor(numbers, dtype=torch.float64, device="cpu").repeat_interleave(counts)


def draw_present(
    n_players: int, n_samples: int, p: float | Presence, generator: torch.Generator | None = None
) -> Bool[Tensor, "rows players"]:
    """Coalitions in which each player is present with probability `p`, independently; one may be drawn twice.

    Args:
        n_players: the number of players.
        n_samples: the number of coalitions.
        p: the probability, or that of each player.
        generator: source of randomness; None means a generator with seed 0.
    """
    generator = default_generator(generator)
    uniform = torch.rand(n_samples, n_players, generator=generator, dtype=torch.float64, device=generator.device)
    return uniform.cpu() < p


def weigh_present(rows: Bool[Tensor, "rows players"], p: float | Presence) -> Float[Tensor, " rows"]:
    """The probability of each coalition, in float64 on the CPU."""
    present = torch.as_tensor(p, dtype=torch.float64, device="cpu")
    return torch.where(rows, present, 1 - present).prod(1)
