"""Owen values of a tree, compared with their definition by orders, a plain copy of the recursion, and the axioms."""

import jaxtyping
import pytest
import torch
from conftest import opaque, random_game, random_tensor, relu_game, seeded
from formulas import shapley_values, value_function

from captum_pairwise.estimators.owen_values import partition_shapley
from captum_pairwise.games.game import CallableGame
from captum_pairwise.network.batching import Chunk, Evaluator
from captum_pairwise.players.trees import PartitionTree, bisection_tree


def random_nested(players, generator):
    """A random binary tree: a player, or a pair of trees."""
    if len(players) == 1:
        return players[0]
    cut = int(torch.randint(1, len(players), (), generator=generator))
    return random_nested(players[:cut], generator), random_nested(players[cut:], generator)


def leaves(nested):
    return [nested] if isinstance(nested, int) else leaves(nested[0]) + leaves(nested[1])


def depths(nested, depth=0):
    return [] if isinstance(nested, int) else [*depths(nested[0], depth + 1), depth, *depths(nested[1], depth + 1)]


def as_tree(nested):
    return PartitionTree(torch.tensor(leaves(nested)), torch.tensor(depths(nested), dtype=torch.long))


def trees(n_players, seed):
    generator = seeded(seed)
    return random_nested(torch.randperm(n_players, generator=generator).tolist(), generator)


def arrival_orders(nested):
    """All orders of arrival in which the players of each node are consecutive."""
    if isinstance(nested, int):
        yield [nested]
        return
    for first, second in (nested, nested[::-1]):
        yield from (one + other for one in arrival_orders(first) for other in arrival_orders(second))


def budget_for_all_splits(nested, n_contexts=1):
    """The number of coalitions that split every node: two for each context, with or without each sibling of the node and its ancestors."""
    return 0 if isinstance(nested, int) else 2 * n_contexts + sum(budget_for_all_splits(child, 2 * n_contexts) for child in nested)


def owen_values_by_orders(game, nested):
    """The mean marginal contribution of each player over these orders (Owen 1977, Winter 1989)."""
    value, every = value_function(game), list(arrival_orders(nested))
    total = torch.zeros(game.n_players, dtype=torch.float64)
    for order in every:
        for place, player in enumerate(order):
            total[player] += value(order[: place + 1]) - value(order[:place])
    return total / len(every)


def slow_partition(game, nested, n_samples, batch_size):
    """The recursion on sets of players; the list is sorted again in every round."""
    value, credits = value_function(game), torch.zeros(game.n_players, dtype=torch.float64)
    waiting, used = [(nested, frozenset(), 1.0)], 2

    def gain(node, context):
        return value(context | set(leaves(node))) - value(context)

    def is_leaf(entry):
        return isinstance(entry[0], int)

    while True:
        ready = sorted((one for one in waiting if not is_leaf(one)), key=lambda one: -abs(gain(*one[:2])) * one[2])
        ready = ready[: min(batch_size, n_samples - used) // 2]
        if not ready:
            break
        for entry in ready:
            waiting.remove(entry)
            (left, right), context, weight = entry
            with_left, with_right = context | set(leaves(left)), context | set(leaves(right))
            waiting += [(left, context, weight / 2), (right, context, weight / 2)]
            waiting += [(left, with_right, weight / 2), (right, with_left, weight / 2)]
            used += 2
    for node, context, weight in waiting:
        credits[leaves(node)] += gain(node, context) * weight / len(leaves(node))
    return credits, used


@pytest.mark.parametrize("n_players", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("seed", [0, 1])
def test_complete_recursion_gives_the_owen_values(n_players, seed):
    game, nested = random_game(0, n_players, seed=seed), trees(n_players, seed)
    found = partition_shapley(game, as_tree(nested), 10_000)
    torch.testing.assert_close(found.marginal[0], owen_values_by_orders(game, nested), rtol=0, atol=1e-12)
    assert found.n_evaluations.item() == 2 + budget_for_all_splits(nested)


@pytest.mark.parametrize("n_samples", [2, 3, 4, 7, 10, 30, 31, 100])
@pytest.mark.parametrize("batch_size", [2, 3, 8, 64])
def test_every_budget_matches_the_plain_recursion(n_samples, batch_size):
    game, nested = random_game(0, 9, seed=4), trees(9, seed=5)
    found = partition_shapley(game, as_tree(nested), n_samples, batch_size=batch_size)
    expected, used = slow_partition(game, nested, n_samples, batch_size)
    torch.testing.assert_close(found.marginal[0], expected, rtol=0, atol=1e-12)
    assert found.n_evaluations.item() == used <= n_samples


def test_two_players_have_their_shapley_values():
    game = random_game(1, 1, seed=2)
    found = partition_shapley(game, as_tree((0, 1)), 4)
    torch.testing.assert_close(found.marginal[0], shapley_values(game), rtol=0, atol=1e-12)


@pytest.mark.parametrize("n_samples", [2, 3, 10, 100, 1000, 5000])
def test_credit_is_complete_at_any_budget(n_samples):
    game, tree = opaque(relu_game(150, 150, seed=1)), bisection_tree(random_tensor(300, 2))
    found = partition_shapley(game, tree, n_samples)
    assert found.completeness_gap.abs().item() < 1e-12 < found.full.sub(found.empty).abs().item()
    assert found.n_evaluations.item() == n_samples - n_samples % 2
    single = partition_shapley(CallableGame(150, 150, lambda z: game.values(z).float()), tree, n_samples)
    assert single.marginal.dtype == torch.float32 and single.completeness_gap.abs().item() < 1e-6


def test_dummy_has_zero_credit():
    game = random_game(0, 6, seed=3)
    dummy = CallableGame(0, 7, lambda z: game.values(z[:, :6]))
    found = partition_shapley(dummy, as_tree(trees(7, seed=1)), 10_000).marginal[0]
    assert found[6].abs() < 1e-15 and (found[:6].abs() > 1e-3).all()


def test_players_alike_in_game_and_tree_have_equal_credit():
    both = CallableGame(0, 4, lambda z: (z[:, 0].double() + z[:, 1]).square() * (1 + z[:, 2]) + z[:, 3])
    found = partition_shapley(both, as_tree(((0, 1), (2, 3))), 100).marginal[0]
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("n_samples", [20, 10_000])
def test_credit_is_linear_if_the_same_nodes_are_split(n_samples):
    one, tree = random_game(0, 6, seed=6), as_tree(trees(6, seed=6))
    tripled = CallableGame(0, 6, lambda z: 5 - 3 * one.values(z))
    found = partition_shapley(tripled, tree, n_samples).marginal
    torch.testing.assert_close(found, -3 * partition_shapley(one, tree, n_samples).marginal, rtol=0, atol=1e-12)


def test_additive_game_is_exact_after_all_nodes_are_split():
    worth = random_tensor(6)
    game = CallableGame(0, 6, lambda z: z.double() @ worth)
    found = partition_shapley(game, as_tree(trees(6, seed=7)), 10_000)
    torch.testing.assert_close(found.marginal[0], worth, rtol=0, atol=1e-12)


@pytest.mark.parametrize("batch_size", [2, 64])
def test_no_coalition_is_evaluated_twice(batch_size):
    seen = []
    game = random_game(0, 8, seed=0)
    watched = CallableGame(0, 8, lambda z: seen.extend(map(tuple, z.tolist())) or game.values(z))
    found = partition_shapley(watched, as_tree(trees(8, seed=2)), 10_000, batch_size=batch_size)
    assert len(set(seen)) == len(seen) == found.n_evaluations.item() <= 2**8


def test_of_equal_credits_the_oldest_is_split_first():
    """All four credits below the root are equal: the first child without the second one comes first."""
    seen = []
    game = CallableGame(0, 4, lambda z: seen.extend(z.int().tolist()) or z.sum(1).double())
    partition_shapley(game, as_tree(((0, 1), (2, 3))), 6)
    assert seen == [[0, 0, 0, 0], [1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 0, 0], [0, 1, 0, 0]]


@pytest.mark.parametrize("chunk", [1, 5, 1000])
def test_rounds_have_the_batch_size(chunk):
    game, tree, rounds = random_game(0, 10, seed=8), bisection_tree(torch.arange(10.0)[:, None]), []
    chunked = CallableGame(0, 10, lambda z: rounds.append(len(z)) or Evaluator(game.values, Chunk(chunk))(z))
    found = partition_shapley(chunked, tree, 60, batch_size=16)
    assert torch.equal(found.marginal, partition_shapley(game, tree, 60, batch_size=16).marginal)
    assert rounds == [2, 2, 8, 16, 16, 16]  # the root, its four credits, then whole batches


REFUSED = {
    "no budget": ({"n_samples": 1}, "n_samples of at least 2"),
    "one at a time": ({"batch_size": 1}, "batch_size of at least 2"),
    "a tree of others": ({"tree": bisection_tree(torch.zeros(3, 1))}, "a tree of the game's 4 players, got one of 3"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_invalid_input_is_refused_before_evaluation(case, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    arguments, sentence = REFUSED[case]
    game = random_game(2, 2, seed=0)
    with pytest.raises(ValueError, match=sentence) as refused:
        partition_shapley(game, **({"tree": bisection_tree(torch.zeros(4, 1)), "n_samples": 100} | arguments))
    assert str(refused.value).startswith("Expected ") and str(refused.value).endswith(".") and game.n_evaluations == 0
