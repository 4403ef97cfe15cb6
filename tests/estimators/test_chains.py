from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import random_tensor, seeded

from captum_pairwise.estimators.draws import hash_rows
from captum_pairwise.estimators.towers.chains import BASE, _group_of_chains, _interpolation, draw_chains, find_steps


@pytest.mark.parametrize(("n_players", "n_samples"), [(3, 4), (8, 14), (8, 100), (8, 250), (49, 300), (70, 500)])
def test_sample_is_distinct_within_the_budget_and_contains_the_base(n_players, n_samples):
    sample = draw_chains(n_players, n_samples, seeded(1))
    distinct = sample.coalitions.unique(dim=0)
    assert len(distinct) == len(sample.coalitions) <= n_samples + 2
    assert not sample.coalitions[0].any() and sample.coalitions[1].all()
    assert torch.equal(sample.coalitions[2 : 2 + n_players], torch.eye(n_players, dtype=torch.bool))
    assert torch.equal(sample.group == BASE, torch.arange(len(distinct)) < n_players + 2)


def test_whole_budget_is_used_while_coalitions_are_left():
    assert len(draw_chains(20, 333, seeded(0)).coalitions) == 333 + 2


def test_sizes_and_players_are_covered_evenly():
    coalitions = draw_chains(10, 700, seeded(3)).coalitions[12:].double()
    share = coalitions.mean(0)
    assert (share - share.mean()).abs().max() < 0.05
    assert set(coalitions.sum(1).tolist()) == set(range(2, 10))


def test_steps_are_all_pairs_that_differ_by_one_player():
    coalitions = draw_chains(6, 30, seeded(2)).coalitions
    steps = find_steps(coalitions)
    found = set(zip(steps.before.tolist(), steps.after.tolist(), steps.player.tolist(), steps.size.tolist(), strict=True))
    slow = set()
    for a, before in enumerate(coalitions):
        for b, after in enumerate(coalitions):
            if (before & ~after).sum() == 0 and (after & ~before).sum() == 1:
                slow.add((a, b, (after & ~before).nonzero().item(), before.sum().item()))
    assert found == slow


def arrivals(chain):
    """The players that arrive after the first two, in order."""
    return [(after & ~before).nonzero().item() for before, after in pairwise(chain)]


def test_chains_of_a_group_walk_the_circle_forward_and_backward_in_turn():
    chains = [chain for chain in _group_of_chains(8, 4, seeded(2)).reshape(4, 6, 8)]
    order = torch.randperm(8, generator=seeded(2)).tolist()
    for number, chain in enumerate(chains):
        walk = order[2 * number :] + order[: 2 * number]  # starts at every second player
        walk = walk[::-1] if number % 2 else walk
        assert set(chain[0].nonzero()[:, 0].tolist()) == set(walk[:2]) and arrivals(chain) == walk[2:7]


def test_hashes_are_distinct_with_more_than_64_players():
    coalitions = torch.rand(5000, 200, generator=seeded(0)) < 0.5
    assert len(hash_rows(coalitions).unique()) == len(coalitions.unique(dim=0))


def test_sample_depends_on_the_seed_and_not_on_the_global_state():
    state = torch.random.get_rng_state()
    first, second, other = (draw_chains(9, 60, seeded(seed)).coalitions for seed in (4, 4, 5))
    assert torch.equal(first, second) and not torch.equal(first, other)
    assert torch.equal(state, torch.random.get_rng_state())


def test_too_small_budget_is_refused_with_the_least_one():
    with pytest.raises(ValueError, match="at least 18 for 10 players"):
        draw_chains(10, 17, seeded(0))
    draw_chains(10, 18, seeded(0))


def test_means_of_sizes_without_a_sample_are_interpolated():
    """Constant before the first size and after the last one, as by numpy."""
    counts, sums = torch.tensor([[0.0, 2, 0, 0, 1, 3, 0], [4, 0, 1, 0, 0, 0, 2]]), random_tensor(2, 7)
    found = torch.einsum("rab,rb->ra", _interpolation(counts), sums * (counts > 0))
    for row in range(2):
        sizes = counts[row].nonzero()[:, 0]
        expected = np.interp(np.arange(7), sizes.numpy(), (sums[row] / counts[row])[sizes].numpy())
        torch.testing.assert_close(found[row], torch.from_numpy(expected))
