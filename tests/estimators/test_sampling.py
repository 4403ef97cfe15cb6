"""The coalitions of the kernel regressions, compared with the published kernels."""

from math import comb

import pytest
import torch
from conftest import seeded

from captum_pairwise.estimators.coalitions import all_coalitions
from captum_pairwise.estimators.regression.sampling import (
    distinct,
    distinct_halves,
    paper_direct,
    paper_weighting,
    shapley_law,
    taylor_law,
)


def eq_7(size, n_players):
    """The kernel of the Shapley–Taylor indices (paper eq. 7); infinite for the empty coalition, single players, and the full coalition."""
    return (n_players - 1) / (comb(n_players, size) * comb(size, 2) * (n_players - size))


def shapley_kernel(size, n_players):
    """The kernel of the Shapley values (Lundberg & Lee 2017, Theorem 2); infinite for the empty and the full coalition."""
    return (n_players - 1) / (comb(n_players, size) * size * (n_players - size))


CASES = {"Shapley–Taylor": (taylor_law, eq_7, 2), "Shapley": (shapley_law, shapley_kernel, 1)}
each_kernel = pytest.mark.parametrize(("law", "printed", "smallest"), CASES.values(), ids=CASES)


@each_kernel
@pytest.mark.parametrize("n_players", [3, 6, 9])
def test_the_law_is_the_kernel_times_the_number_of_coalitions(law, printed, smallest, n_players):
    mass = torch.zeros(n_players + 1, dtype=torch.float64)
    for size in range(smallest, n_players):
        mass[size] = printed(size, n_players) * comb(n_players, size)
    torch.testing.assert_close(law(n_players), mass / mass.sum())


@each_kernel
def test_paper_direct_draws_sizes_by_the_law_and_counts_repeats(law, printed, smallest):
    drawn = paper_direct(law(8), 20_000, seeded(0))
    assert drawn.weights.sum() == 20_000 and len(drawn.coalitions.unique(dim=0)) == len(drawn.coalitions)
    mass = torch.zeros(9, dtype=torch.float64).index_add_(0, drawn.coalitions.sum(1), drawn.weights) / 20_000
    noise = (law(8) * (1 - law(8)) / 20_000).sqrt()
    assert ((mass - law(8)).abs() <= 5 * noise).all()


@each_kernel
def test_paper_weighting_is_the_kernel_on_uniform_coalitions(law, printed, smallest):
    drawn = paper_weighting(law(6), 50_000, seeded(0))
    counts = 50_000 / 2**6
    for size in range(smallest, 6):
        ratio = drawn.weights[drawn.coalitions.sum(1) == size] / printed(size, 6) / counts
        assert (ratio / ratio.mean() - 1).abs().max() < 5 / counts**0.5
    assert drawn.coalitions.sum(1).min() == smallest


@each_kernel
@pytest.mark.parametrize(("n_players", "n_samples"), [(5, 25), (8, 100), (15, 500), (40, 1000)])
def test_distinct_coalitions_use_the_budget_with_the_mass_of_each_size(law, printed, smallest, n_players, n_samples):
    drawn = distinct(law(n_players), n_samples, seeded(0))
    possible = 2**n_players - 2 - (n_players if smallest == 2 else 0)
    assert len(drawn.coalitions.unique(dim=0)) == len(drawn.coalitions) == min(n_samples, possible)
    size = drawn.coalitions.sum(1)
    assert size.min() >= smallest and size.max() < n_players
    for seen in size.unique():
        assert drawn.weights[size == seen].sum().item() == pytest.approx(law(n_players)[seen].item())
        missing = 1 - (size == seen).sum().item() / comb(n_players, int(seen))
        assert drawn.unseen[size == seen].tolist() == pytest.approx([missing] * int((size == seen).sum()))


@pytest.mark.parametrize(("n_players", "n_samples"), [(2, 2), (3, 6), (4, 9), (6, 40), (7, 300), (12, 301), (15, 500), (40, 1000)])
def test_halves_contain_one_of_each_pair_of_complements(n_players, n_samples):
    drawn, law = distinct_halves(shapley_law(n_players), n_samples, seeded(0)), shapley_law(n_players)
    both = torch.cat([drawn.coalitions, ~drawn.coalitions])
    assert len(both.unique(dim=0)) == len(both) == min(n_samples // 2, 2 ** (n_players - 1) - 1) * 2
    size = drawn.coalitions.sum(1)
    assert size.min() >= 1 and 2 * size.max() <= n_players
    for seen in size.unique():
        complement = n_players - seen
        mass = law[seen] + (law[complement] if complement != seen else 0)
        assert drawn.weights[size == seen].sum().item() == pytest.approx(mass.item())
        missing = 1 - (both.sum(1) == seen).sum().item() / comb(n_players, int(seen))
        assert drawn.unseen[size == seen].tolist() == pytest.approx([missing] * int((size == seen).sum()))


@each_kernel
def test_all_coalitions_have_the_weights_of_the_kernel(law, printed, smallest):
    drawn, sizes = distinct(law(6), 2**6, seeded(0)), all_coalitions(6).sum(1)
    assert len(drawn.coalitions) == ((sizes >= smallest) & (sizes < 6)).sum() and (drawn.unseen == 0).all()
    weights = torch.tensor([printed(int(size), 6) for size in drawn.coalitions.sum(1)], dtype=torch.float64)
    torch.testing.assert_close(drawn.weights / drawn.weights.sum(), weights / weights.sum())


@pytest.mark.parametrize("sampler", [distinct, distinct_halves])
def test_coalitions_of_a_sampled_size_are_uniform(sampler):
    """A budget below the number of coalitions of a size leaves out random ones."""
    counts = torch.zeros(64)
    for seed in range(500):
        drawn = sampler(shapley_law(6), 30, seeded(seed)).coalitions
        both = torch.cat([drawn, ~drawn]) if sampler is distinct_halves else drawn
        counts[(both.long() * 2 ** torch.arange(6)).sum(1)] += 1
    size = all_coalitions(6).sum(1)
    for sampled in (2, 3):
        share = counts[size == sampled] / 500
        noise = (share.mean() * (1 - share.mean()) / 500).sqrt()
        assert 0.1 < share.mean() < 0.9 and (share - share.mean()).abs().max() < 4.5 * noise


def test_thousands_of_players():
    drawn = distinct_halves(shapley_law(3000), 200, seeded(0))
    assert drawn.coalitions.shape == (100, 3000) and drawn.weights.isfinite().all() and drawn.unseen.max() == 1
