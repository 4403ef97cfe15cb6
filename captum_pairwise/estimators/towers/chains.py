"""Summary of a tower by chains of growing coalitions. A step of a chain adds one player."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from captum_pairwise.estimators.draws import IDLE_ROUNDS, ends_and_singles, hash_rows, player_keys, take_unseen
from captum_pairwise.estimators.index_path import Nodes
from captum_pairwise.estimators.limits import refuse_small_budget
from captum_pairwise.estimators.quadrature import size_probabilities
from captum_pairwise.estimators.towers.summary import Curves, TowerSummary

BASE = -1
GROUPS = 8
MOST_CHAINS_PER_GROUP = 8
NUMBERS_KEPT = 2**25  # of the curves without one of the groups
Coalitions = Bool[Tensor, "coalitions players"]
Embeddings = Float[Tensor, "coalitions channels"]
Selection = Bool[Tensor, " steps"]
Sums = Float[Tensor, "players sizes counted_channels"]


@dataclass(frozen=True)
class Sample:
    """Distinct coalitions: the empty, the full and every single player (group `BASE`), then chains, in independent groups.

    Attributes:
        coalitions: the rows.
        group: the group that drew each row first.
    """

    coalitions: Coalitions
    group: Int[Tensor, " coalitions"]


def draw_chains(n_players: int, n_samples: int, generator: torch.Generator) -> Sample:
    """Draw `n_samples` distinct coalitions beside the empty and the full one.

    A group is one random cyclic order. Its chains start at evenly spaced players and alternate between forward and backward, so a player
    enters at very different sizes: on the 7×7 maps of a real network a few such groups are several times better than independent
    permutations. The groups are independent of each other, as a standard error needs.

    Raises:
        ValueError: the budget does not cover each single player and one chain.
    """
    refuse_small_budget(n_samples, 2 * n_players - 2, f"{n_players} players in one image")
    n_chains = (n_samples - n_players) // (n_players - 2)
    chains_per_group = min(max(2, n_chains // GROUPS), MOST_CHAINS_PER_GROUP)
    rows, groups = [ends_and_singles(n_players)], [torch.full((n_players + 2,), BASE, device="cpu")]
    seen, n_drawn, group, idle = set(hash_rows(rows[0]).tolist()), n_players, 0, 0
    while n_drawn < n_samples and idle < IDLE_ROUNDS:
        fresh = take_unseen(_group_of_chains(n_players, chains_per_group, generator), seen, n_samples - n_drawn)
        idle = 0 if len(fresh) else idle + 1
        if len(fresh):
            rows.append(fresh)
            groups.append(torch.full((len(fresh),), group, device="cpu"))
            group, n_drawn = group + 1, n_drawn + len(fresh)
    return Sample(torch.cat(rows), torch.cat(groups))


def _group_of_chains(n_players: int, n_chains: int, generator: torch.Generator) -> Coalitions:
    order = torch.randperm(n_players, generator=generator, device=generator.device).cpu()
    sizes = torch.arange(2, n_players, device="cpu")
    walks = [order.roll(-(k * n_players // n_chains)) for k in range(n_chains)]
    arrivals = [(walk.flip(0) if k % 2 else walk).argsort() for k, walk in enumerate(walks)]
    return torch.cat([arrival < sizes[:, None] for arrival in arrivals])


@dataclass(frozen=True)
class Steps:
    """Every pair of coalitions `A`, `A∪i` in a sample.

    Attributes:
        before: the row of `A`.
        after: the row of `A∪i`.
        player: `i`.
        size: `|A|`.
    """

    before: Int[Tensor, " steps"]
    after: Int[Tensor, " steps"]
    player: Int[Tensor, " steps"]
    size: Int[Tensor, " steps"]


def find_steps(coalitions: Coalitions) -> Steps:
    """All steps between the rows, including steps between different chains."""
    hashes = hash_rows(coalitions)
    keys, row_of = hashes.sort()
    wanted = hashes[:, None] ^ player_keys(coalitions.shape[1])
    position = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
    before, player = ((keys[position] == wanted) & ~coalitions).nonzero(as_tuple=True)
    return Steps(before, row_of[position[before, player]], player, coalitions.sum(1)[before])


def chain_summary(sample: Sample, embeddings: Embeddings, nodes: Nodes) -> TowerSummary:
    """The summary of a tower from the embeddings of chains.

    A slope is a mean over coalition sizes, `E_p[u(A∪i) - u(A)] = Σ_a P_p(|A|=a) D_i^a`. Every two embedded coalitions that differ by one
    player are a sample of `D_i^a`. Sizes without a sample are interpolated. The mean embedding at `p` is the
    empty coalition's, plus the integral of the sum of all slopes from 0 to `p`. At `p = 1` it should be the full one's. The difference
    is divided among the players by their squared Shapley values. So the credit is complete, and a player without effect has none.
    """
    steps, n_players = find_steps(sample.coalitions), sample.coalitions.shape[1]
    step_group = torch.maximum(sample.group[steps.before], sample.group[steps.after])  # the group that completed the step
    place, n_groups = steps.player * n_players + steps.size, int(sample.group.max()) + 1
    weights = torch.cat(
        [size_probabilities(n_players - 1, nodes), _integrate_sizes(n_players, torch.cat([nodes, torch.ones_like(nodes[:1])]))]
    )

    def sum_steps(chosen: Selection) -> Sums:
        moves = embeddings[steps.after[chosen]] - embeddings[steps.before[chosen]]
        counted = torch.cat([moves, torch.ones_like(moves[:, :1])], 1)  # a sum of rows also counts them
        sums = counted.new_zeros(n_players**2, counted.shape[1])
        return sums.index_add_(0, place[chosen].to(counted.device), counted).unflatten(0, (n_players, n_players))

    total = sum_steps(step_group >= BASE)

    def compute_curves(left_out: int | None) -> tuple[Tensor, Tensor]:
        sums = total if left_out is None else total - sum_steps(step_group == left_out)
        curves = (weights @ _interpolation(sums[..., -1].cpu())).to(sums) @ sums[..., :-1]
        return _complete_curves(curves[:, : len(nodes)], curves[:, len(nodes) :], embeddings, nodes)

    n_numbers = n_groups * (n_players + 1) * len(nodes) * embeddings.shape[1]
    slopes, mean = _resample(cache(compute_curves) if n_numbers <= NUMBERS_KEPT else compute_curves, n_groups)
    return TowerSummary(embeddings[0], embeddings[1], slopes, mean)


def _integrate_sizes(n_players: int, nodes: Nodes) -> Float[Tensor, "nodes sizes"]:
    """`∫_0^p P_t(|A|=a) dt` for coalitions of all players but one: `1/n` of the probability of more than `a` of `n` players."""
    return size_probabilities(n_players, nodes)[:, 1:].flip(1).cumsum(1).flip(1) / n_players


def _complete_curves(
    slopes: Float[Tensor, "players nodes channels"],
    integrals: Float[Tensor, "players ends channels"],
    embeddings: Embeddings,
    nodes: Nodes,
) -> tuple[Float[Tensor, "players nodes channels"], Float[Tensor, "1 nodes channels"]]:
    """The slopes, and the mean embedding, which is that of the full coalition at `p = 1`.

    Args:
        slopes: the slopes of the sample.
        integrals: their integrals from 0 to each node, and to 1.
        embeddings: the empty coalition, the full one, and others.
        nodes: the probabilities of presence.
    """
    missing = embeddings[1] - embeddings[0] - integrals[:, -1].sum(0)
    squares = integrals[:, -1].square().sum(1)
    shares = squares / squares.sum().clamp(min=torch.finfo(squares.dtype).tiny)
    p = nodes.to(missing)[:, None]
    mean = embeddings[0] + integrals[:, :-1].sum(0) + p.square() * missing
    return slopes + 2 * p * (shares[:, None] * missing)[:, None], mean[None]  # at p = 0 the slopes are known


def _resample(compute: Callable[[int | None], tuple[Tensor, ...]], n_groups: int) -> list[Curves]:
    """Curves with variances that leave out one group of chains at a time (jackknife).

    The variances are NaN for a single group, too small (by about a fifth) for two or three groups, and too large if most coalitions were
    drawn.

    Args:
        compute: returns several tables of curves `[rows, nodes, channels]` without a group, or with all.
        n_groups: the number of groups.
    """

    def variance(others: Tensor, weights: Tensor, part: int) -> Tensor:
        weighted = (weights.to(others)[:, None] * others).flatten(1).T
        replicates = torch.stack([compute(left_out)[part].flatten(1) @ weighted for left_out in range(n_groups)])
        mean_square = (replicates - replicates.mean(0)).square().mean(0)  # `var` warns if there are no players
        return (n_groups - 1) * mean_square if n_groups > 1 else replicates[0] * torch.nan

    return [Curves(values, partial(variance, part=part)) for part, values in enumerate(compute(None))]


def _interpolation(counts: Float[Tensor, "rows sizes"]) -> Float[Tensor, "rows sizes sizes"]:
    """The matrices that turn sums into means, and interpolate linearly the sizes without a sample."""
    counts = counts.double()
    size = torch.arange(counts.shape[1], device="cpu").expand(counts.shape)
    last = torch.where(counts > 0, size, -1).cummax(1).values
    following = torch.where(counts > 0, size, len(size[0])).flip(1).cummin(1).values.flip(1)
    below = torch.where(last < 0, following, last)
    above = torch.where(following == len(size[0]), below, following)
    share = (size - below).to(counts) / (above - below).clamp(min=1)
    matrices = counts.new_zeros(*counts.shape, counts.shape[1])
    matrices.scatter_add_(2, below[..., None], 1 - share[..., None])
    matrices.scatter_add_(2, above[..., None], share[..., None])
    return matrices / counts.clamp(min=1)[:, None]
