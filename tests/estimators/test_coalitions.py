from itertools import combinations

import jaxtyping
import pytest
import torch
from conftest import random_game, random_tensor, seeded, shapiqs_index
from formulas import dividend, first_order, interaction_index, jagged_credit, shapley_values, subsets, taylor_pairs, value_function

import captum_pairwise as cp
from captum_pairwise.estimators import coalitions
from captum_pairwise.estimators.coalitions import all_coalitions
from captum_pairwise.results.index import NAMES, parse_index


def enumerated(game):
    return game.values(all_coalitions(game.n_players))


@pytest.mark.parametrize("n_players", [1, 2, 5])
def test_dividends_match_eq_4_and_sum_to_the_values(n_players):
    game = random_game(n_players, 0, seed=n_players)
    dividends = cp.harsanyi_dividends(enumerated(game))
    value = value_function(game)
    for coalition in subsets(range(n_players)):
        mask = sum(2**player for player in coalition)
        assert dividends[mask].item() == pytest.approx(dividend(value, coalition), abs=1e-12)
        inside = [sum(2**player for player in part) for part in subsets(coalition)]
        assert dividends[inside].sum().item() == pytest.approx(value(coalition), abs=1e-12)


@pytest.mark.parametrize("n_players", [1, 2, 6])
def test_indices_match_eq_1_and_the_mixed_differences(n_players):
    game = random_game(n_players, 0, seed=n_players)
    values = enumerated(game)
    empty, first, second = cp.shapley_taylor(values)
    assert empty == values[0]
    torch.testing.assert_close(cp.shapley_values(values), shapley_values(game), rtol=0, atol=1e-12)
    torch.testing.assert_close(first, first_order(game), rtol=0, atol=1e-12)
    torch.testing.assert_close(second, taylor_pairs(game), rtol=0, atol=1e-12)


def test_shapley_taylor_is_efficient_and_projects_to_shapley_values():
    values = enumerated(random_game(7, 0, seed=3))
    empty, first, second = cp.shapley_taylor(values)
    assert (empty + first.sum() + second.sum() / 2).item() == pytest.approx(values[-1].item(), abs=1e-12)
    torch.testing.assert_close(first + second.sum(1) / 2, cp.shapley_values(values), rtol=0, atol=1e-12)


INDICES = [(name, 0.5) for name in NAMES] + [("banzhaf", 0.2), ("banzhaf", (0.3, 0.8))]


@pytest.mark.parametrize("sizes", [(4, 4), (3, 5), (1, 1), (2, 0)])
@pytest.mark.parametrize(("name", "p"), INDICES)
def test_each_index_matches_its_definition(name, p, sizes):
    game, index = random_game(*sizes, seed=sum(sizes)), parse_index(name, p)
    constant, first, second = coalitions.interaction_index(enumerated(game), index, game.n_query)
    expected = interaction_index(game, name, index.probabilities)
    assert constant.item() == pytest.approx(expected[0], abs=1e-9)
    torch.testing.assert_close(first, expected[1], rtol=0, atol=1e-9)
    torch.testing.assert_close(second, expected[2], rtol=0, atol=1e-9)


SHAPIQ = {
    "shapley-taylor": "STII",
    "shapley": "SII",
    "k-sii": "k-SII",
    "faith-shap": "FSII",
    "chaining": "CHII",
    "banzhaf": "FBII",
    "moebius": "Moebius",
    "co-moebius": "Co-Moebius",
}


@pytest.mark.filterwarnings("ignore:CHII is not defined", "ignore:invalid value encountered")  # at the empty coalition
@pytest.mark.parametrize("sizes", [(4, 4), (3, 5)])
@pytest.mark.parametrize("name", NAMES)
def test_shapiq_computes_the_same_index(name, sizes):
    game = random_game(*sizes, seed=sum(sizes))
    constant, first, second = coalitions.interaction_index(enumerated(game), parse_index(name), game.n_query)
    expected, n_players = shapiqs_index(game, 2, SHAPIQ[name]), game.n_players
    pairs = [[expected[(i, j)] if i != j else 0.0 for j in range(n_players)] for i in range(n_players)]
    torch.testing.assert_close(second, torch.tensor(pairs, dtype=torch.float64), rtol=0, atol=1e-8)
    singles = torch.tensor([expected[(i,)] for i in range(n_players)], dtype=torch.float64)
    torch.testing.assert_close(first, singles, rtol=0, atol=1e-8)
    if name != "co-moebius":  # shapiq calls v(∅) its baseline
        assert constant.item() == pytest.approx(expected.baseline_value, abs=1e-8)


def test_the_banzhaf_index_of_shapiq_has_the_same_pairs():
    game = random_game(3, 4, seed=0)
    second, expected = coalitions.interaction_index(enumerated(game), parse_index("banzhaf"), 3)[2], shapiqs_index(game, 2, "BII")
    assert all(second[i, j].item() == pytest.approx(expected[(i, j)], abs=1e-8) for i, j in combinations(range(7), 2))


def test_efficient_indices_sum_to_the_gain_and_the_others_do_not():
    values = enumerated(random_game(3, 3, seed=5))
    for name in NAMES:
        index = parse_index(name)
        constant, first, second = coalitions.interaction_index(values, index, 3)
        assert index.is_efficient == (abs(constant + first.sum() + second.sum() / 2 - values[-1]) < 1e-12)


def test_single_precision_loses_no_digits():
    values = enumerated(random_game(6, 6, seed=6)).float()
    for name in NAMES:
        index = parse_index(name)
        _, first, second = coalitions.interaction_index(values, index, 6)
        expected = coalitions.interaction_index(values.double(), index, 6)
        assert second.dtype == torch.float32
        torch.testing.assert_close(first.double(), expected[1], rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(second.double(), expected[2], rtol=1e-6, atol=1e-7)


def test_result_is_independent_of_the_block_size(monkeypatch):
    values = enumerated(random_game(6, 0, seed=1))
    index = parse_index("banzhaf", (0.2, 0.6))
    whole = coalitions.interaction_index(values, index, 3)
    monkeypatch.setattr(coalitions, "ROWS_AT_ONCE", 7)
    for one, other in zip(coalitions.interaction_index(values, index, 3), whole, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("function", [cp.harsanyi_dividends, cp.shapley_values, cp.shapley_taylor, lambda v: cp.jagged_credit(v, [(0,)])])
def test_length_that_is_not_a_power_of_two_is_refused(function):
    with pytest.raises(ValueError, match=r"2\*\*n"):
        function(torch.zeros(6))


def test_shapiq_agrees():
    game = random_game(3, 3, seed=5)
    index = shapiqs_index(game, order=2)
    second = cp.shapley_taylor(enumerated(game))[2]
    for i in range(6):
        for j in range(i + 1, 6):
            assert index[(i, j)] == pytest.approx(second[i, j].item(), abs=1e-12)


def coalitions_up_to(n_players, size):
    """Every coalition of one to `size` players."""
    return [coalition for k in range(1, size + 1) for coalition in combinations(range(n_players), k)]


def random_third(n_players, seed):
    """A random third of all coalitions."""
    every = coalitions_up_to(n_players, n_players)
    return [coalition for coalition, kept in zip(every, torch.rand(len(every), generator=seeded(seed)) < 1 / 3, strict=True) if kept]


@pytest.mark.parametrize(
    "wanted",
    [*(random_third(5, seed) for seed in range(4)), coalitions_up_to(5, 1), coalitions_up_to(5, 5), [(0, 1), (1, 2, 3), (4,)], [(2,)]],
)
def test_jagged_credit_matches_its_formula(wanted):
    game = random_game(5, 0, seed=9)
    empty, credit, left_over = cp.jagged_credit(enumerated(game), wanted)
    slow_credit, slow_left_over = jagged_credit(value_function(game), map(frozenset, wanted), 5)
    assert empty == enumerated(game)[0]
    assert credit.tolist() == pytest.approx(list(slow_credit.values()), abs=1e-12)
    assert left_over.item() == pytest.approx(slow_left_over, abs=1e-12)


def test_jagged_credit_of_single_players_is_their_shapley_value():
    game = random_game(6, 0, seed=1)
    _, credit, left_over = cp.jagged_credit(enumerated(game), coalitions_up_to(6, 1))
    torch.testing.assert_close(credit, shapley_values(game), rtol=0, atol=1e-12)
    assert left_over == 0


def test_jagged_credit_of_single_players_and_pairs_is_shapley_taylor():
    game = random_game(6, 0, seed=2)
    _, credit, left_over = cp.jagged_credit(enumerated(game), coalitions_up_to(6, 2))
    torch.testing.assert_close(credit[:6], first_order(game), rtol=0, atol=1e-12)
    torch.testing.assert_close(credit[6:], taylor_pairs(game)[tuple(torch.triu_indices(6, 6, 1))], rtol=0, atol=1e-12)
    assert left_over == 0


@pytest.mark.parametrize("order", [1, 2, 3, 6])
def test_jagged_credit_up_to_a_size_matches_shapiq(order):
    game = random_game(6, 0, seed=3)
    index = shapiqs_index(game, order)
    _, credit, _ = cp.jagged_credit(enumerated(game), coalitions_up_to(6, order))
    assert credit.tolist() == pytest.approx([index[coalition] for coalition in coalitions_up_to(6, order)], abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_jagged_credit_and_left_over_sum_to_the_value(seed):
    values, wanted = random_tensor(2**6, seed=seed), random_third(6, seed)
    empty, credit, left_over = cp.jagged_credit(values, wanted)
    assert (empty + credit.sum() + left_over).item() == pytest.approx(values[-1].item(), abs=1e-12)
    assert left_over != 0 and cp.jagged_credit(values, {*wanted, *coalitions_up_to(6, 1)})[2] == 0


def test_dividends_without_a_wanted_coalition_are_left_over():
    empty, credit, left_over = cp.jagged_credit(enumerated(random_game(3, 0, seed=5)), [(0, 1, 2)])
    dividends = cp.harsanyi_dividends(enumerated(random_game(3, 0, seed=5)))
    assert (empty, credit) == (dividends[0], dividends[-1])
    assert left_over.item() == pytest.approx(dividends[1:-1].sum().item(), abs=1e-12)


def test_jagged_credit_is_linear_in_the_game():
    one, other, wanted = random_tensor(2**5, seed=0), random_tensor(2**5, seed=1), random_third(5, seed=0)
    joined, first, second = (torch.cat([part.reshape(-1) for part in cp.jagged_credit(v, wanted)]) for v in (one - 3 * other, one, other))
    torch.testing.assert_close(joined, first - 3 * second, rtol=0, atol=1e-12)


def test_jagged_credit_of_a_dummy_is_its_own_value_and_leaves_other_credits_unchanged():
    wanted, without = random_third(6, seed=1), [coalition for coalition in random_third(6, seed=1) if 5 not in coalition]
    assert any(5 in coalition and len(coalition) > 1 for coalition in wanted)
    values = random_tensor(2**5, seed=2)
    found = dict(zip([*wanted, (5,)], cp.jagged_credit(torch.cat([values, values + 0.5]), [*wanted, (5,)])[1].tolist(), strict=True))
    expected = dict(zip(without, cp.jagged_credit(values, without)[1].tolist(), strict=True))
    for coalition, credit in found.items():
        alone = 0.5 if coalition == (5,) else 0.0
        assert credit == pytest.approx(alone if 5 in coalition else expected[coalition], abs=1e-12)


def test_renaming_players_renames_jagged_credit():
    values, names, wanted = random_tensor(2**5, seed=4), [3, 0, 4, 1, 2], random_third(5, seed=2)
    members = all_coalitions(5)
    renamed = torch.empty_like(values)
    renamed[(members * 2 ** torch.tensor(names)).sum(1)] = values  # player i is called names[i]
    found = cp.jagged_credit(renamed, [tuple(names[player] for player in coalition) for coalition in wanted])
    for one, other in zip(found, cp.jagged_credit(values, wanted), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_wanted_coalitions_may_be_rows():
    values, wanted = random_tensor(2**5, seed=6), random_third(5, seed=3)
    rows = torch.tensor([[player in coalition for player in range(5)] for coalition in wanted])
    for one, other in zip(cp.jagged_credit(values, rows), cp.jagged_credit(values, wanted), strict=True):
        assert torch.equal(one, other)


def test_jagged_credit_is_independent_of_the_block_size(monkeypatch):
    values, wanted = random_tensor(2**6, seed=7), random_third(6, seed=4)
    whole = cp.jagged_credit(values, wanted)
    for entries in (1, 7 * len(wanted)):
        monkeypatch.setattr(coalitions, "ENTRIES_AT_ONCE", entries)
        for one, other in zip(cp.jagged_credit(values, wanted), whole, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


UNWANTED = {
    "a stranger": ([(0, 3)], r"players 0 to 2, got \[3\]"),
    "a negative number": ([(-1,)], r"got \[-1\]"),
    "nobody": ([(0,), ()], "at least one player each"),
    "twice the same": ([(0, 1), (1, 0)], r"distinct .* got \[3, 3\]"),
    "no coalition": ([], "distinct wanted coalitions"),
    "numbers for booleans": (torch.eye(3), r"booleans \[k, 3\], got torch.float32"),
    "rows of another game": (torch.eye(4, dtype=torch.bool), r"booleans \[k, 3\], .*\(4, 4\)"),
}


@pytest.mark.parametrize("case", UNWANTED)
def test_invalid_wanted_coalitions_are_refused(case, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # the test is about the package's own messages
    wanted, sentence = UNWANTED[case]
    with pytest.raises(ValueError, match=sentence):
        cp.jagged_credit(torch.zeros(8), wanted)
