"""Credit of cells as credit of parts, and the game that all methods share, against loops."""

import pytest
import torch
from conftest import random_tensor, seeded
from table_cases import make_model, open_case
from torch.testing import assert_close

import captum_pairwise as cp
from captum_pairwise.evaluation.tables.part_credit import count_pixels, regroup_credit, regroup_pairs
from captum_pairwise.evaluation.tables.shared_game import SharedGame
from captum_pairwise.players.regions import Players, cells
from captum_pairwise.results.interactions import Interactions

SIDE = 12
CELLS = cells(torch.zeros(1, 1, 3, 3), 1)
PARTS = Players(torch.randint(0, 4, (1, 1, SIDE, SIDE), generator=seeded(0)), (4,))


def own_part(pixel, players):
    """The cell of a pixel."""
    row, column = divmod(pixel, SIDE)
    return (row // 4) * 3 + column // 4


def slow_shares():
    """The share of each cell in each part, pixel by pixel."""
    shares = torch.zeros(4, 9, dtype=torch.float64)
    for pixel, part in enumerate(PARTS.ids.flatten().tolist()):
        shares[part, own_part(pixel, CELLS)] += 1 / 16
    return shares


def make_result(within=True):
    pairs = random_tensor(1, 18, 18, seed=1)
    pairs = (pairs + pairs.mT) * (1 - torch.eye(18))
    blocks = {"within_query": pairs[:, :9, :9], "within_retrieved": pairs[:, 9:, 9:]} if within else {}
    return Interactions(
        n_query=9,
        empty=torch.zeros(1).double(),
        full=torch.ones(1).double(),
        n_evaluations=torch.tensor([1]),
        first_order=random_tensor(1, 18, seed=2),
        between=pairs[:, :9, 9:],
        query_players=CELLS,
        retrieved_players=CELLS,
        **blocks,
    )


def test_pixels_are_counted_and_credit_is_divided_by_area():
    assert_close(count_pixels(CELLS, PARTS), slow_shares() * 16)
    credit = random_tensor(9)
    expected = [sum(slow_shares()[part, cell] * credit[cell] for cell in range(9)) for part in range(4)]
    assert_close(regroup_credit(credit, CELLS, PARTS), torch.stack(expected))


def test_pairs_inside_a_part_become_its_own_credit_and_nothing_is_lost():
    result, shares = make_result(), slow_shares()
    shared = regroup_pairs(result, (PARTS, PARTS))
    both = torch.block_diag(shares, shares)
    for a in range(8):
        for b in range(8):
            credit = sum(both[a, i] * both[b, j] * result.second_order[0, i, j] for i in range(18) for j in range(18))
            own = sum(both[a, i] * result.first_order[0, i] for i in range(18)) + credit / 2
            assert_close(shared.first_order[0, a] if a == b else shared.second_order[0, a, b], own if a == b else credit)
    everything = torch.ones(1, 8, dtype=torch.bool), torch.ones(1, 18, dtype=torch.bool)
    assert_close(shared.predict(everything[0]), result.predict(everything[1]))


def test_credit_that_was_not_computed_counts_as_nothing():
    shared = regroup_pairs(make_result(within=False), (PARTS, PARTS))
    assert not shared.within_query.any() and not shared.within_retrieved.any()
    with pytest.raises(ValueError, match="players of both images"):
        regroup_pairs(
            cp.Interactions(n_query=1, empty=torch.zeros(1), full=torch.zeros(1), n_evaluations=torch.tensor([1])), (PARTS, PARTS)
        )


@pytest.mark.parametrize("n_segments", [4, 12])  # with a table of all coalitions, and without
def test_values_of_the_shared_game_are_those_of_censored_images(tmp_path, n_segments):
    pair = open_case(tmp_path)
    parts = tuple(cp.grid(32, 32, 2, n_segments // 2) for _ in range(2))
    game = SharedGame(pair.model.wrapper, pair.images, parts)
    rows = torch.rand(5, 2 * n_segments, generator=seeded(3)) < 0.5
    images = []
    for image, ids, present in zip(pair.images, parts, rows.split(n_segments, 1), strict=True):
        shown = torch.stack([row[ids[0, 0]] for row in present])[:, None]
        images.append(torch.where(shown, image, cp.blur_baseline(image)))
    with torch.no_grad():
        assert_close(game.values(rows), make_model().wrapper(*images), atol=1e-5, rtol=0)
        whole = pair.images[0].expand(5, -1, -1, -1)
        assert_close(game.values_given_query(rows[:, n_segments:]), make_model().wrapper(whole, images[1]), atol=1e-5, rtol=0)


def test_held_out_coalitions_have_the_three_probabilities(tmp_path):
    drawn = open_case(tmp_path).game.held_out
    assert [len(rows) for rows, _ in drawn] == [32**2] * 3
    for p, (rows, values) in zip((0.3, 0.5, 0.7), drawn, strict=True):
        assert abs(rows.double().mean().item() - p) < 4 * (p * (1 - p) / (32 * rows.shape[1])) ** 0.5
        assert len(values) == len(rows)
