import torch
from conftest import images, random_tensor

import captum_pairwise as cp
from captum_pairwise.games.sides import Side
from captum_pairwise.players.regions import Players


def test_values_are_scattered_to_the_players_of_their_own_example():
    """Ids 0 to 3: the first image has 0, 1 and 3, the second one 1 and 2."""
    ids = torch.tensor([[0, 1, 3, -1], [2, 2, 1, -1]])
    side = Side(random_tensor(2, 4), [random_tensor(2, 4, seed=1)], Players(ids, (4,)))
    found = side.scatter([torch.tensor([5.0, 6.0, 7.0]), torch.tensor([8.0, 9.0])])
    assert found.tolist() == [[5, 6, 0, 7], [0, 8, 9, 0]]


def test_a_background_that_all_examples_share_runs_once():
    sizes = []
    encoder = torch.nn.Conv2d(3, 4, 4, stride=4).double().eval()
    encoder.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    query, retrieved = images(3)
    background = cp.Backgrounds(random_tensor(2, *query.shape[1:]))
    method = cp.LayerExactShapleyTaylor(cp.SimilarityWrapper(encoder), encoder)
    mask = {"layer_mask": (cp.grid(3, 3, 1, 2), cp.grid(3, 3, 2, 1))}
    together = method.interactions((query, retrieved), (background, background), **mask)
    apart = [method.interactions((query[k : k + 1], retrieved[k : k + 1]), (background, background), **mask) for k in range(3)]
    torch.testing.assert_close(together["between"], torch.cat([single["between"] for single in apart]))
    sizes.clear()
    method.interactions((query, retrieved), (background, background), **mask)  # the proof of the encoder is done
    n_explained, n_shared = 3 + 3, 2 * len(background.images)
    assert sum(sizes) == n_explained + n_shared
