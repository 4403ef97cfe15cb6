import torch
from conftest import random_tensor

from captum_pairwise.games.sides import Side
from captum_pairwise.players.regions import Players


def test_values_are_scattered_to_the_players_of_their_own_example():
    """Ids 0 to 3: the first image has 0, 1 and 3, the second one 1 and 2."""
    ids = torch.tensor([[0, 1, 3, -1], [2, 2, 1, -1]])
    side = Side(random_tensor(2, 4), [random_tensor(2, 4, seed=1)], Players(ids, (4,)))
    found = side.scatter([torch.tensor([5.0, 6.0, 7.0]), torch.tensor([8.0, 9.0])])
    assert found.tolist() == [[5, 6, 0, 7], [0, 8, 9, 0]]
