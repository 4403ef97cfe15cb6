"""Sampling of weighted coalitions for the kernel regressions."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from math import comb

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from captum_pairwise.estimators.draws import default_generator, take_unseen

ROUNDS = 20
Coalitions = Bool[Tensor, "coalitions players"]
Law = Float[Tensor, " sizes"]  # the total mass of all coalitions of each size from 0 to n


@dataclass(frozen=True)
class WeightedCoalitions:
    """Distinct coalitions and their weights in the regression.

    Attributes:
        coalitions: coalitions of the sizes with a finite weight.
        weights: weight of each coalition.
        unseen: share of the coalitions of the same size that are not in the sample, which causes the sampling error; 1 if draws repeat.
    """

    coalitions: Coalitions
    weights: Float[Tensor, " coalitions"]
    unseen: Float[Tensor, " coalitions"]


Samplers = dict[str, Callable[[Law, int, torch.Generator], WeightedCoalitions]]


def taylor_law(n_players: int) -> Law:
    """`p(s) ∝ 1 / (C(s, 2) (n - s))` for sizes 2 to n - 1: the mass of all coalitions of a size in eq. 7."""
    size = torch.arange(n_players + 1, dtype=torch.float64, device="cpu")
    return _normalise_law(1 / (size * (size - 1) * (n_players - size)))


def shapley_law(n_players: int) -> Law:
    """`p(s) ∝ 1 / (s (n - s))` for sizes 1 to n - 1: the mass of all coalitions of a size in the Shapley kernel."""
    size = torch.arange(n_players + 1, dtype=torch.float64, device="cpu")
    return _normalise_law(1 / (size * (n_players - size)))


def _normalise_law(mass: Float[Tensor, " sizes"]) -> Law:
    """Masses with sum 1. Infinite masses are constraints of the regression, which are not drawn, and become 0."""
    mass = torch.where(mass.isfinite(), mass, 0.0)
    return mass / mass.sum() if mass.any() else mass


def paper_direct(law: Law, n_samples: int, generator: torch.Generator) -> WeightedCoalitions:
    """Kernel-Direct (paper §5.2): draw a size by the law, then a uniform coalition of it. The weight is the number of draws."""
    sizes = torch.multinomial(law, n_samples, replacement=True, generator=generator)
    coalitions, counts = _random_rows(sizes, len(law) - 1, generator).unique(dim=0, return_counts=True)
    return WeightedCoalitions(coalitions, counts.double(), torch.ones(len(counts), dtype=torch.float64, device="cpu"))


def paper_weighting(law: Law, n_samples: int, generator: torch.Generator) -> WeightedCoalitions:
    """Kernel-Weighting (paper §5.2): uniform coalitions, weighted by the kernel and by the number of draws.

    Coalitions of infinite weight are constraints of the regression and left out.
    """
    n_players = len(law) - 1
    drawn = torch.rand(n_samples, n_players, generator=generator, dtype=torch.float32, device=generator.device).cpu() < 0.5
    coalitions, counts = drawn.unique(dim=0, return_counts=True)
    per_size = torch.tensor([comb(n_players, s) for s in range(n_players + 1)], dtype=torch.float64, device="cpu")
    weights = counts * (law / per_size)[coalitions.sum(1)]
    positive = weights > 0
    return WeightedCoalitions(coalitions[positive], weights[positive], torch.ones(int(positive.sum()), dtype=torch.float64, device="cpu"))


def distinct(law: Law, n_samples: int, generator: torch.Generator) -> WeightedCoalitions:
    """All coalitions of the sizes whose share of the budget covers them, and distinct random coalitions of the other sizes.

    The weight of a coalition is the mass of its size divided by the number of sampled coalitions of that size.
    """
    n_players = len(law) - 1
    return _sample_sizes(law.tolist(), [comb(n_players, size) for size in range(n_players + 1)], n_samples, generator)


def distinct_halves(law: Law, n_samples: int, generator: torch.Generator) -> WeightedCoalitions:
    """`distinct` for `n_samples // 2` pairs of a coalition and its complement; of each pair the smaller one is returned.

    The law has to be symmetric. If both have half of the players, the one with player 0 is returned.
    """
    n_players = len(law) - 1
    masses = [2 * mass if 2 * size < n_players else mass if 2 * size == n_players else 0.0 for size, mass in enumerate(law.tolist())]
    counts = [comb(n_players, size) // (2 if 2 * size == n_players else 1) for size in range(n_players + 1)]
    return _sample_sizes(masses, counts, n_samples // 2, generator)


TAYLOR_SAMPLERS: Samplers = {"distinct": distinct, "paper-direct": paper_direct, "paper-weighting": paper_weighting}
SHAPLEY_SAMPLERS: Samplers = {"distinct": distinct_halves, "paper-direct": paper_direct}


def draw_coalitions(samplers: Samplers, sampling: str, law: Law, n_samples: int, generator: torch.Generator | None) -> WeightedCoalitions:
    """Coalitions by the sampler with this name.

    Raises:
        ValueError: the name is unknown, or there is no sample.
    """
    if sampling not in samplers:
        raise ValueError(f"Expected sampling to be one of {sorted(samplers)}, got {sampling!r}. Leave it out for the default.")
    if n_samples < 1:
        raise ValueError(f"Expected n_samples of at least 1, got {n_samples}. Raise it.")
    sampler = samplers[sampling] if law.any() else distinct  # with an empty law every coalition is a constraint
    return sampler(law, n_samples, default_generator(generator))


def _sample_sizes(masses: list[float], counts: list[int], n_samples: int, generator: torch.Generator) -> WeightedCoalitions:
    """Sample coalitions of the sizes that have a mass; `counts` are the numbers of coalitions of each size from 0 to n."""
    n_players, left = len(masses) - 1, n_samples
    sizes, rows = [size for size, mass in enumerate(masses) if mass > 0], [torch.zeros(0, n_players, dtype=torch.bool, device="cpu")]
    while covered := [size for size in sizes if counts[size] <= left * masses[size] / sum(masses[other] for other in sizes)]:
        rows += [_all_rows(size, n_players)[: counts[size]] for size in covered]  # rows with player 0 come first
        left -= sum(counts[size] for size in covered)
        sizes = [size for size in sizes if size not in covered]
    if sizes and left > 0:
        rows.append(_random_distinct_rows(sizes, masses, counts, left, generator))
    coalitions = torch.cat(rows)
    size = coalitions.sum(1)
    n_seen = torch.bincount(size, minlength=n_players + 1)
    weights = torch.tensor(masses, dtype=torch.float64, device="cpu") / n_seen.clamp(min=1)
    unseen = torch.tensor(
        [1 - n / max(1, count) for n, count in zip(n_seen.tolist(), counts, strict=True)], dtype=torch.float64, device="cpu"
    )
    return WeightedCoalitions(coalitions, weights[size], unseen[size])


def _all_rows(size: int, n_players: int) -> Coalitions:
    """All coalitions of a size."""
    members = torch.tensor(list(combinations(range(n_players), size)), device="cpu")
    return torch.zeros(len(members), n_players, dtype=torch.bool, device="cpu").scatter_(1, members, True)


def _random_rows(sizes: Int[Tensor, " coalitions"], n_players: int, generator: torch.Generator) -> Coalitions:
    """A uniform coalition of each size."""
    rank = torch.rand(len(sizes), n_players, generator=generator, dtype=torch.float32, device=generator.device).cpu().argsort(1).argsort(1)
    return rank < sizes[:, None]


def _random_distinct_rows(
    sizes: list[int], masses: list[float], counts: list[int], n_samples: int, generator: torch.Generator
) -> Coalitions:
    """Distinct coalitions of these sizes, drawn by their masses, in the order of their first draw."""
    n_players, mass = len(masses) - 1, torch.tensor([masses[size] for size in sizes], dtype=torch.float64, device="cpu")
    is_halved = torch.tensor([counts[size] < comb(n_players, size) for size in sizes], device="cpu")
    left, seen, rows = min(n_samples, sum(counts[size] for size in sizes)), set(), []
    for _ in range(ROUNDS):
        which = torch.multinomial(mass, n_samples, replacement=True, generator=generator)
        drawn = _random_rows(torch.tensor(sizes, device="cpu")[which], n_players, generator)
        drawn ^= (is_halved[which] & ~drawn[:, 0])[:, None]  # of two halves, the one with player 0
        rows.append(take_unseen(drawn, seen, left))
        left -= len(rows[-1])
        if left == 0:
            break
    return torch.cat(rows)
