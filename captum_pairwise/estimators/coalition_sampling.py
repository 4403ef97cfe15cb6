"""Which coalitions the Shapley–Taylor kernel of eq. 7 sees, and how much each weighs."""

from dataclasses import dataclass
from itertools import combinations
from math import comb

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

ROUNDS = 20


@dataclass(frozen=True)
class WeightedCoalitions:
    """Distinct coalitions of sizes 2 to n - 1, and their weights in the regression."""

    coalitions: Bool[Tensor, "coalitions players"]
    weights: Float[Tensor, " coalitions"]


def size_law(n_players: int) -> Float[Tensor, " sizes"]:
    """`p(s) ∝ 1 / (C(s, 2) (n - s))` for sizes 2 to n - 1: the mass that eq. 7 gives to all coalitions of a size."""
    mass = torch.tensor([1 / (comb(size, 2) * (n_players - size)) for size in range(2, n_players)], dtype=torch.float64)
    return mass / mass.sum()


def paper_direct(n_players: int, n_samples: int, generator: torch.Generator) -> WeightedCoalitions:
    """Kernel-Direct (paper §5.2): a size by `size_law`, then a uniform coalition of it; a coalition weighs as often as it was drawn."""
    sizes = 2 + torch.multinomial(size_law(n_players), n_samples, replacement=True, generator=generator)
    coalitions, counts = _of_sizes(sizes, n_players, generator).unique(dim=0, return_counts=True)
    return WeightedCoalitions(coalitions, counts.double())


def paper_weighting(n_players: int, n_samples: int, generator: torch.Generator) -> WeightedCoalitions:
    """Kernel-Weighting (paper §5.2): uniform coalitions, weighted by `Λ(S)` of eq. 7 and by how often they were drawn.

    Coalitions of no player, one, or all, which eq. 7 gives infinite weight, are constraints of the regression and left out here.
    """
    drawn = torch.rand(n_samples, n_players, generator=generator) < 0.5
    coalitions, counts = drawn.unique(dim=0, return_counts=True)
    size = coalitions.sum(1)
    kept = (size >= 2) & (size < n_players)
    law = size_law(n_players)[size[kept] - 2]
    per_size = torch.tensor([comb(n_players, s) for s in range(n_players + 1)], dtype=torch.float64)
    return WeightedCoalitions(coalitions[kept], counts[kept] * law / per_size[size[kept]])


def distinct(n_players: int, n_samples: int, generator: torch.Generator) -> WeightedCoalitions:
    """Every coalition of the sizes whose share of the budget covers them, and distinct random ones of the other sizes.

    A coalition weighs the mass of its size over how many of that size are seen, so that each size has its due.
    """
    law = dict(zip(range(2, n_players), size_law(n_players).tolist(), strict=True))
    left, whole, is_growing = n_samples, [], True
    while law and is_growing:
        covered = [size for size, mass in law.items() if comb(n_players, size) <= left * mass / sum(law.values())]
        is_growing = bool(covered)
        whole += covered
        left -= sum(comb(n_players, size) for size in covered)
        law = {size: mass for size, mass in law.items() if size not in covered}
    rows = [_every_of(size, n_players) for size in whole]
    if law and left > 0:
        rows.append(_distinct_of(law, left, n_players, generator))
    coalitions = torch.cat(rows)
    size = coalitions.sum(1)
    seen = torch.bincount(size, minlength=n_players + 1)[size]
    return WeightedCoalitions(coalitions, size_law(n_players)[size - 2] / seen)


def _of_sizes(sizes: Int[Tensor, " coalitions"], n_players: int, generator: torch.Generator) -> Bool[Tensor, "coalitions players"]:
    """A uniform coalition of each size."""
    rank = torch.rand(len(sizes), n_players, generator=generator).argsort(1).argsort(1)
    return rank < sizes[:, None]


def _every_of(size: int, n_players: int) -> Bool[Tensor, "coalitions players"]:
    members = torch.tensor(list(combinations(range(n_players), size)))
    return torch.zeros(len(members), n_players, dtype=torch.bool).scatter_(1, members, True)


def _distinct_of(law: dict[int, float], n_samples: int, n_players: int, generator: torch.Generator) -> Bool[Tensor, "coalitions players"]:
    """Distinct coalitions, sizes by the law, in the order in which they were first drawn."""
    sizes, mass = torch.tensor(list(law)), torch.tensor(list(law.values()), dtype=torch.float64)
    most = min(n_samples, sum(comb(n_players, size) for size in law))
    found = torch.zeros(0, n_players, dtype=torch.bool)
    for _ in range(ROUNDS):
        drawn = _of_sizes(sizes[torch.multinomial(mass, n_samples, replacement=True, generator=generator)], n_players, generator)
        pool = torch.cat([found, drawn])
        found = pool[_first_places(pool)][:most]
        if len(found) == most:
            break
    return found


def _first_places(rows: Bool[Tensor, "rows players"]) -> Int[Tensor, " distinct"]:
    """Where each distinct row stands first, in ascending order."""
    distinct_rows, which = rows.unique(dim=0, return_inverse=True)
    first = torch.full((len(distinct_rows),), len(rows)).scatter_reduce_(0, which, torch.arange(len(rows)), "amin")
    return first.sort().values
