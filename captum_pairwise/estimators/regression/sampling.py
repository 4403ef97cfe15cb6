"""Which coalitions the kernel regressions see, and how much each weighs."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from math import comb

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

ROUNDS = 20
Law = Float[Tensor, " sizes"]  # the mass of all coalitions of a size, at its index from 0 to n


@dataclass(frozen=True)
class WeightedCoalitions:
    """Distinct coalitions, and their weights in the regression.

    Attributes:
        coalitions: of the sizes whose weight is finite.
        weights: how much each counts.
        unseen: the share of the coalitions of its size that are not here, from which sampling errors come; 1 where draws repeat.
    """

    coalitions: Bool[Tensor, "coalitions players"]
    weights: Float[Tensor, " coalitions"]
    unseen: Float[Tensor, " coalitions"]


Sampler = Callable[[Law, int, torch.Generator], WeightedCoalitions]


def draw_coalitions(
    samplers: dict[str, Sampler], sampling: str, law: Law, n_samples: int, generator: torch.Generator | None
) -> WeightedCoalitions:
    """Coalitions by the sampler of this name.

    Raises:
        ValueError: there is no such sampler, or nothing to draw.
    """
    if sampling not in samplers:
        raise ValueError(f"Expected sampling to be one of {sorted(samplers)}, got {sampling!r}.")
    if n_samples < 1:
        raise ValueError(f"Expected n_samples of at least 1, got {n_samples}.")
    if not law.any():  # every coalition is a constraint
        samplers = {sampling: distinct}
    return samplers[sampling](law, n_samples, generator if generator is not None else torch.Generator().manual_seed(0))


def taylor_law(n_players: int) -> Law:
    """`p(s) ∝ 1 / (C(s, 2) (n - s))` for sizes 2 to n - 1: the mass that eq. 7 gives to all coalitions of a size."""
    size = torch.arange(n_players + 1, dtype=torch.float64)
    return _normalised(1 / (size * (size - 1) * (n_players - size)))


def shapley_law(n_players: int) -> Law:
    """`p(s) ∝ 1 / (s (n - s))` for sizes 1 to n - 1: the mass that the Shapley kernel gives to all coalitions of a size."""
    size = torch.arange(n_players + 1, dtype=torch.float64)
    return _normalised(1 / (size * (n_players - size)))


def _normalised(mass: Float[Tensor, " sizes"]) -> Law:
    """Infinite masses, which are constraints of the regression and not drawn, become 0."""
    mass = torch.where(mass.isfinite(), mass, 0.0)
    return mass / mass.sum() if mass.any() else mass


def paper_direct(law: Law, n_samples: int, generator: torch.Generator) -> WeightedCoalitions:
    """Kernel-Direct (paper §5.2): a size by the law, then a uniform coalition of it; a coalition weighs as often as it was drawn."""
    sizes = torch.multinomial(law, n_samples, replacement=True, generator=generator)
    coalitions, counts = _of_sizes(sizes, len(law) - 1, generator).unique(dim=0, return_counts=True)
    return WeightedCoalitions(coalitions, counts.double(), torch.ones(len(counts), dtype=torch.float64))


def paper_weighting(law: Law, n_samples: int, generator: torch.Generator) -> WeightedCoalitions:
    """Kernel-Weighting (paper §5.2): uniform coalitions, weighted by the kernel and by how often they were drawn.

    Coalitions of infinite weight are constraints of the regression and left out here.
    """
    n_players = len(law) - 1
    drawn = torch.rand(n_samples, n_players, generator=generator) < 0.5
    coalitions, counts = drawn.unique(dim=0, return_counts=True)
    per_size = torch.tensor([comb(n_players, s) for s in range(n_players + 1)], dtype=torch.float64)
    weights = counts * (law / per_size)[coalitions.sum(1)]
    kept = weights > 0
    return WeightedCoalitions(coalitions[kept], weights[kept], torch.ones(int(kept.sum()), dtype=torch.float64))


def distinct(law: Law, n_samples: int, generator: torch.Generator) -> WeightedCoalitions:
    """Every coalition of the sizes whose share of the budget covers them, and distinct random ones of the other sizes.

    A coalition weighs the mass of its size over how many of that size are seen, so that each size has its due.
    """
    n_players = len(law) - 1
    return _distinct([Stratum(size, comb(n_players, size), mass) for size, mass in _possible(law)], n_players, n_samples, generator)


def distinct_halves(law: Law, n_samples: int, generator: torch.Generator) -> WeightedCoalitions:
    """`distinct` for pairs of a coalition and its complement, `n_samples // 2` of them: of each pair the smaller one.

    The law has to be symmetric. Of two halves of the players, the one with player 0 is taken.
    """
    n_players = len(law) - 1
    strata = [Stratum(size, comb(n_players, size), 2 * mass) for size, mass in _possible(law) if 2 * size < n_players]
    if n_players % 2 == 0:
        middle = n_players // 2
        strata.append(Stratum(middle, comb(n_players, middle) // 2, law[middle].item()))
    return _distinct(strata, n_players, n_samples // 2, generator)


@dataclass(frozen=True)
class Stratum:
    """The coalitions of one size: how many there are to choose from, and the mass of all of them."""

    size: int
    count: int
    mass: float


def _possible(law: Law) -> list[tuple[int, float]]:
    return [(size, mass) for size, mass in enumerate(law.tolist()) if mass > 0]


def _distinct(strata: list[Stratum], n_players: int, n_samples: int, generator: torch.Generator) -> WeightedCoalitions:
    sampled, left, rows = strata, n_samples, [torch.zeros(0, n_players, dtype=torch.bool)]
    while covered := [one for one in sampled if one.count <= left * one.mass / sum(other.mass for other in sampled)]:
        rows += [_every_of(one.size, n_players)[: one.count] for one in covered]  # those with player 0 come first
        left -= sum(one.count for one in covered)
        sampled = [one for one in sampled if one not in covered]
    if sampled and left > 0:
        rows.append(_distinct_of(sampled, left, n_players, generator))
    coalitions = torch.cat(rows)
    size = coalitions.sum(1)
    seen = torch.bincount(size, minlength=n_players + 1).tolist()
    weight, unseen = torch.zeros(2, n_players + 1, dtype=torch.float64)
    for one in strata:
        weight[one.size] = one.mass / max(1, seen[one.size])
        unseen[one.size] = 1 - seen[one.size] / one.count
    return WeightedCoalitions(coalitions, weight[size], unseen[size])


def _of_sizes(sizes: Int[Tensor, " coalitions"], n_players: int, generator: torch.Generator) -> Bool[Tensor, "coalitions players"]:
    """A uniform coalition of each size."""
    rank = torch.rand(len(sizes), n_players, generator=generator).argsort(1).argsort(1)
    return rank < sizes[:, None]


def _every_of(size: int, n_players: int) -> Bool[Tensor, "coalitions players"]:
    members = torch.tensor(list(combinations(range(n_players), size)))
    return torch.zeros(len(members), n_players, dtype=torch.bool).scatter_(1, members, True)


def _distinct_of(strata: list[Stratum], n_samples: int, n_players: int, generator: torch.Generator) -> Bool[Tensor, "coalitions players"]:
    """Distinct coalitions, sizes by their masses, in the order in which they were first drawn."""
    sizes, mass = torch.tensor([one.size for one in strata]), torch.tensor([one.mass for one in strata], dtype=torch.float64)
    is_halved = torch.tensor([one.count < comb(n_players, one.size) for one in strata])
    most = min(n_samples, sum(one.count for one in strata))
    found = torch.zeros(0, n_players, dtype=torch.bool)
    for _ in range(ROUNDS):
        which = torch.multinomial(mass, n_samples, replacement=True, generator=generator)
        drawn = _of_sizes(sizes[which], n_players, generator)
        drawn ^= (is_halved[which] & ~drawn[:, 0])[:, None]
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
