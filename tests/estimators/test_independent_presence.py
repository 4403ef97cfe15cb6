"""Independent presence: the frequencies of players, and the probabilities of all coalitions."""

import pytest
import torch
from conftest import seeded

from captum_pairwise.estimators.coalitions import all_coalitions
from captum_pairwise.estimators.independent_presence import draw_present, repeat_sides, weigh_present


@pytest.mark.parametrize("p", [0.3, repeat_sides((0.2, 0.7), 4, 2)], ids=["one", "of each image"])
def test_players_are_present_with_their_probability(p: float | torch.Tensor) -> None:
    drawn, expected = draw_present(6, 4000, p, seeded(0)), torch.as_tensor(p, dtype=torch.float64)
    assert ((drawn.double().mean(0) - expected).abs() < 4 * (expected * (1 - expected) / 4000).sqrt()).all()
    assert torch.equal(drawn, draw_present(6, 4000, p, seeded(0))) and not torch.equal(drawn, draw_present(6, 4000, p, seeded(1)))


def test_probabilities_of_all_coalitions_sum_to_the_presence_of_each_player() -> None:
    p, rows = repeat_sides((0.2, 0.7), 3, 2), all_coalitions(5)
    weights = weigh_present(rows, p)
    torch.testing.assert_close(weights @ rows.double(), p, rtol=0, atol=1e-15)
    torch.testing.assert_close(weights[[0, -1]], torch.stack([(1 - p).prod(), p.prod()]), rtol=0, atol=1e-15)
    torch.testing.assert_close(weigh_present(rows, 0.5), torch.full((32,), 1 / 32, dtype=torch.float64), rtol=0, atol=1e-15)
