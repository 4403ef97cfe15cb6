"""One pair out of a batch."""

from dataclasses import replace

import torch
from test_interactions import estimate, players_of_images

from captum_pairwise.players.regions import Players
from captum_pairwise.results.credits import AXES
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


def test_players_that_only_longer_sentences_have_are_left_out():
    batch = estimate(2)
    n_query, n_retrieved = batch.between.shape[1:]
    masks = [torch.arange(size).expand(2, -1).clone() for size in (n_query, n_retrieved)]
    masks[1][1, -1] = -1
    sides = [Players(mask, (mask.shape[1],)) for mask in masks]
    pair = take_pair(replace(batch, query_players=sides[0], retrieved_players=sides[1]), 1)
    assert torch.equal(pair.between, batch.between[1:, :, :-1])
    assert torch.equal(pair.within_retrieved, batch.within_retrieved[1:, :-1, :-1])
    assert torch.equal(pair.within_query, batch.within_query[1:])
    assert torch.equal(pair.retrieved_map, batch.retrieved_map[1:, :-1]) and torch.equal(pair.query_map, batch.query_map[1:])
    assert torch.equal(pair.standard_error.marginal, batch.standard_error.marginal[1:, :-1])
