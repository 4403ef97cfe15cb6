"""One pair out of a batch."""

import torch
from test_interactions import estimate, players_of_images

from captum_pairwise.results.interactions import AXES
from captum_pairwise.results.selection import take_pair


def test_every_tensor_is_that_of_the_pair():
    batch = estimate(3)
    pair = take_pair(batch, 1)
    for name in AXES:
        assert torch.equal(pair[name][0], batch[name][1])
        assert torch.equal(pair.standard_error[name][0], batch.standard_error[name][1])
    for name in ("full", "empty", "without_query", "without_retrieved", "n_evaluations"):
        assert torch.equal(getattr(pair, name), getattr(batch, name)[1:2])
    assert pair.query_players is None


def test_the_players_are_those_of_the_pair():
    batch = estimate(2, **players_of_images(2))
    pair = take_pair(batch, 1)
    assert torch.equal(pair.query_players.ids, batch.query_players.ids[1:])
    assert pair.retrieved_players.shape == batch.retrieved_players.shape
