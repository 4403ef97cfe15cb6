"""Slices that a picture shows."""

import numpy as np

from captum_pairwise.visualization.slice_choice import FEW_SLICES, MOST_SLICES, choose_slices


def make_ids(n_layers, depth):
    """Ids with a layer of players for each part of the depth: two players in each layer."""
    layers = np.arange(depth) * n_layers // depth
    return np.stack([np.stack([np.full((4,), 2 * layer), np.full((4,), 2 * layer + 1)]) for layer in layers])


def test_every_layer_is_shown_by_its_middle():
    chosen = choose_slices(make_ids(8, 8), 32, np.zeros(16))
    assert chosen == [4 * layer + 2 for layer in range(8)]


def test_few_layers_are_shown_by_several_slices_each():
    chosen = choose_slices(make_ids(2, 2), 16, np.zeros(4))
    assert len(chosen) == FEW_SLICES
    assert sum(number < 8 for number in chosen) == FEW_SLICES / 2


def test_a_mask_over_all_slices_counts_its_layers():
    assert choose_slices(make_ids(8, 32), 32, np.zeros(16)) == choose_slices(make_ids(8, 8), 32, np.zeros(16))


def test_a_short_volume_is_shown_whole():
    assert choose_slices(make_ids(1, 1), 3, np.zeros(2)) == [0, 1, 2]


def test_of_many_layers_the_strongest_are_shown():
    weights = np.zeros(80)
    weights[[7, 41, 78]] = 1.0, 3.0, 2.0
    chosen = choose_slices(make_ids(40, 40), 40, weights)
    assert len(chosen) == MOST_SLICES and chosen == sorted(chosen)
    assert {3, 20, 39} <= set(chosen)


def test_a_part_is_shown_where_it_is_largest():
    ids = np.zeros((20, 4, 4), dtype=np.int64)
    ids[:, 0, 0] = np.arange(20) % 2 + 2  # neighbouring slices differ
    for depth, size in ((5, 1), (6, 3), (7, 2)):
        ids[depth, 1, :size] = 1
    weights = np.array([0.0, 1.0, 0.0, 0.0])
    assert 6 in choose_slices(ids, 20, weights)
