import torch
from conftest import seeded

from captum_pairwise.estimators.draws import Draws, ends_and_singles


def test_coalitions_are_distinct_without_ends_and_singles():
    draws = Draws(9, seeded(0))
    rows = torch.cat([ends_and_singles(9), draws.more(50), draws.more(100), draws.more(7)])
    assert len(rows) == 11 + 157 == len(rows.unique(dim=0))


def test_fewer_coalitions_are_drawn_if_no_more_exist():
    draws = Draws(5, seeded(0))
    assert len(draws.more(100)) == 2**5 - 7
    assert len(draws.more(1)) == 0


def test_sizes_are_uniform_and_each_player_is_in_half_of_the_rows():
    rows = Draws(40, seeded(1)).more(400)
    assert (rows.double().mean(0) - 0.5).abs().max() < 0.02  # not exactly ½, because complements drawn before are left out
    assert (rows.sum(1).double().sort().values / 40 - torch.linspace(0, 1, 400)).abs().max() < 0.1


def test_presence_probabilities_are_one_in_each_stratum():
    """Ten pairs of a coalition and its complement: with thousands of players the size tells the probability."""
    share = Draws(4000, seeded(2)).more(20)[::2].double().mean(1)
    noise = 5 * (0.25 / 4000) ** 0.5
    lower = torch.arange(10) / 10
    assert ((share > lower - noise) & (share < lower + 0.1 + noise)).all()
