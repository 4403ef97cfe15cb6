"""The area between insertion and deletion, against sets that are grown in loops, and by hand."""

import math
from itertools import pairwise

import pytest
import torch
from conftest import assert_refused, random_tensor, seeded
from torch.testing import assert_close

from captum_pairwise import metrics


def random_pairs(n_players, seed):
    pairs = random_tensor(n_players, n_players, seed=seed)
    return (pairs + pairs.T).fill_diagonal_(0)


def random_game(n_players, seed):
    """A game with effects of every order; `v(∅)` is not 0."""
    table = torch.randn(2**n_players, generator=seeded(seed), dtype=torch.float64)
    return lambda present: table[(present.long() << torch.arange(n_players)).sum(1)]


def predict(members, first, pairs):
    """The credit inside a set."""
    return sum(first[i] for i in members) + sum(pairs[i][j] for i in members for j in members if i < j)


def slow_set(first, pairs, size):
    """The set of this size with the most credit, among those that grow from each player by the largest gain."""
    candidates = []
    for start in range(len(first)):
        members = [start]
        while len(members) < size:
            others = [v for v in range(len(first)) if v not in members]
            members.append(max(others, key=lambda v: first[v] + sum(pairs[u][v] for u in members)))
        candidates.append(members)
    return max(candidates, key=lambda members: predict(members, first, pairs)) if size else []


def slow_curve(game, sets, n_players):
    """The scaled values of the sets, interpolated at 51 points."""
    rows = [torch.tensor([[i in members for i in range(n_players)]]) for members in [*sets, [], range(n_players)]]
    *values, empty, full = (game(row).item() for row in rows)
    scaled, curve = [(value - empty) / (full - empty) for value in values], []
    for point in range(51):
        place = point / 50 * n_players
        below = min(math.floor(place), n_players - 1)
        curve.append((1 - place + below) * scaled[below] + (place - below) * scaled[below + 1])
    return curve


def slow_area(insertion, deletion):
    heights = [above - below for above, below in zip(insertion, deletion, strict=True)]
    return sum((left + right) / 2 / 50 for left, right in pairwise(heights))


@pytest.mark.parametrize("n_players", [1, 2, 5, 8])
@pytest.mark.parametrize("seed", range(2))
def test_second_order_grows_the_best_and_the_worst_set(n_players, seed):
    game, first, pairs = random_game(n_players, seed), random_tensor(n_players, seed=seed + 1), random_pairs(n_players, seed)
    best = [slow_set(first.tolist(), pairs.tolist(), size) for size in range(n_players + 1)]
    worst = [slow_set((-first).tolist(), (-pairs).tolist(), size) for size in range(n_players + 1)]
    result = metrics.insertion_deletion(game, first, pairs)
    insertion, deletion = (slow_curve(game, sets, n_players) for sets in (best, worst))
    assert_close(result.insertion, torch.tensor(insertion, dtype=torch.float64))
    assert_close(result.deletion, torch.tensor(deletion, dtype=torch.float64))
    assert result.area.item() == pytest.approx(slow_area(insertion, deletion), abs=1e-12)


@pytest.mark.parametrize("n_players", [1, 4, 9])
def test_first_order_sorts_the_players(n_players):
    game, credit = random_game(n_players, 3), random_tensor(n_players, seed=4)
    order = sorted(range(n_players), key=lambda i: -credit[i].item())
    result = metrics.insertion_deletion(game, credit)
    insertion, deletion = (slow_curve(game, [seq[:k] for k in range(n_players + 1)], n_players) for seq in (order, order[::-1]))
    assert_close(result.insertion, torch.tensor(insertion, dtype=torch.float64))
    assert_close(result.deletion, torch.tensor(deletion, dtype=torch.float64))
    with_pairs = metrics.insertion_deletion(game, credit, torch.zeros(n_players, n_players, dtype=torch.float64))
    assert_close((with_pairs.insertion, with_pairs.deletion, with_pairs.area), (result.insertion, result.deletion, result.area))


def test_a_pair_by_hand():
    """`v = z0 z1 + ½ z2`: pairs find that 0 and 1 need each other; single credits, all ½, cannot."""
    first, pairs = torch.tensor([0.0, 0.0, 0.5]), torch.tensor([[0.0, 1, 0], [1, 0, 0], [0, 0, 0]])
    result = metrics.insertion_deletion(lambda z: z[:, 0] * z[:, 1] + 0.5 * z[:, 2].double(), first, pairs)
    # present: the best sets {2}, {0, 1}, all; the worst {0}, {0, 2}, all
    assert_close(result.insertion[[0, 50]], torch.tensor([0, 1], dtype=torch.float64))
    steps = torch.tensor([0, 0.5, 1, 1.5]), torch.tensor([0, 0, 0.5, 1.5])
    expected = sum(sign * torch.trapezoid(values / 1.5, dx=1 / 3) for sign, values in zip((1, -1), steps, strict=True))
    assert result.area.item() == pytest.approx(expected.item(), abs=5e-4)  # 1/3 lies between two of the 51 points


def test_the_game_is_called_once_with_distinct_coalitions():
    calls = []

    def game(present):
        calls.append(present)
        return present.double().sum(1)

    metrics.insertion_deletion(game, random_tensor(6), random_pairs(6, 0))
    (rows,) = calls
    assert rows.dtype == torch.bool and len(rows) == len(rows.unique(dim=0)) == 12


def test_no_difference_between_the_images_and_their_baselines_has_no_scale():
    assert metrics.insertion_deletion(lambda present: torch.ones(len(present)), random_tensor(3)).area.isnan()


CREDIT, PAIRS = torch.zeros(3), torch.zeros(3, 3)
CASES = {
    "a batch of credits": ((torch.zeros(2, 3), None), r"first_order \[n\] .* got torch.float32 of shape \(2, 3\). Choose one row"),
    "no credit": ((torch.zeros(0), None), r"got torch.float32 of shape \(0,\)"),
    "integer credit": ((CREDIT.long(), None), "floating-point first_order .* got torch.int64"),
    "NaN": ((CREDIT + torch.nan, None), "NaN or infinity in row 0 of first_order"),
    "pairs between the images alone": ((CREDIT, torch.zeros(1, 2)), r"pairs \[3, 3\], got .* \(1, 2\). Take all players"),
    "infinite pairs": ((CREDIT, PAIRS + torch.inf), "NaN or infinity in row 0 of pairs"),
    "pairs written once": ((CREDIT, torch.ones(3, 3).triu(1)), "symmetric pairs with a zero diagonal"),
    "credit on the diagonal": ((CREDIT, torch.eye(3)), "symmetric pairs with a zero diagonal"),
}


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize("name", CASES)
def test_credit_that_does_not_fit_is_refused(name):
    (first, pairs), message = CASES[name]
    assert_refused(lambda: metrics.insertion_deletion(lambda present: present.double().sum(1), first, pairs), message)


@pytest.mark.usefixtures("without_type_checks")
def test_a_game_without_a_value_for_each_coalition_is_refused():
    assert_refused(lambda: metrics.insertion_deletion(lambda present: present.double(), CREDIT), "one similarity per example")
