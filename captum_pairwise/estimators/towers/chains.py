"""Chains of growing coalitions of one tower's players, and the steps between them: one player entering."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from captum_pairwise.estimators.draws import IDLE_ROUNDS, ends_and_singles, hashes, player_keys, refuse_too_few, take_unseen

BASE = -1
GROUPS = 8
MOST_CHAINS_PER_GROUP = 8


@dataclass(frozen=True)
class Sample:
    """Distinct coalitions: none, all and every single player (group `BASE`), then chains, in independent groups.

    Attributes:
        coalitions: the rows.
        group: the group that drew each row first.
    """

    coalitions: Bool[Tensor, "coalitions players"]
    group: Int[Tensor, " coalitions"]

    @property
    def n_groups(self) -> int:
        """How many groups of chains there are."""
        return int(self.group.max()) + 1


def draw_chains(n_players: int, n_samples: int, generator: torch.Generator) -> Sample:
    """Draw `n_samples` distinct coalitions beside the empty and the full one.

    A group is one random cyclic order, walked from evenly spaced starts, forward and backward in turn, so that its chains let a
    player enter at sizes far apart: on the 7×7 maps of a real network a few such groups are several times better than independent
    permutations. The groups are independent of each other, which is what a standard error needs.

    Raises:
        ValueError: the budget does not cover each single player and one chain.
    """
    refuse_too_few(n_samples, n_players)
    n_chains = (n_samples - n_players) // (n_players - 2)
    chains_per_group = min(max(2, n_chains // GROUPS), MOST_CHAINS_PER_GROUP)
    rows, groups = [ends_and_singles(n_players)], [torch.full((n_players + 2,), BASE)]
    seen, n_drawn, group, idle = set(hashes(torch.cat(rows)).tolist()), n_players, 0, 0
    while n_drawn < n_samples and idle < IDLE_ROUNDS:  # idle: nearly all coalitions are drawn
        chains = _group_of_chains(n_players, chains_per_group, generator)
        fresh = take_unseen(chains, seen, n_samples - n_drawn)
        idle = 0 if len(fresh) else idle + 1
        if len(fresh):
            rows.append(fresh)
            groups.append(torch.full((len(fresh),), group))
            group, n_drawn = group + 1, n_drawn + len(fresh)
    return Sample(torch.cat(rows), torch.cat(groups))


def _group_of_chains(n_players: int, n_chains: int, generator: torch.Generator) -> Bool[Tensor, "coalitions players"]:
    order = torch.randperm(n_players, generator=generator, device=generator.device).cpu()
    sizes = torch.arange(2, n_players)
    chains = []
    for k in range(n_chains):
        walk = order.roll(-(k * n_players // n_chains))
        arrival = (walk.flip(0) if k % 2 else walk).argsort()
        chains.append(arrival < sizes[:, None])
    return torch.cat(chains)


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


def find_steps(coalitions: Bool[Tensor, "coalitions players"]) -> Steps:
    """All steps between the rows, also those between different chains."""
    keys, row_of = hashes(coalitions).sort()
    wanted = hashes(coalitions)[:, None] ^ player_keys(coalitions.shape[1])
    found = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
    before, player = ((keys[found] == wanted) & ~coalitions).nonzero(as_tuple=True)
    return Steps(before, row_of[found[before, player]], player, coalitions.sum(1)[before])
