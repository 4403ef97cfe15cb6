"""The permutation estimator: interaction indices of any game from random orders of arrival."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from captum_pairwise.estimators.draws import default_generator, empty_and_full
from captum_pairwise.estimators.enumeration import exact
from captum_pairwise.estimators.limits import refuse_small_budget
from captum_pairwise.estimators.size_weights import refuse_two_probabilities, weigh_sizes
from captum_pairwise.games.game import Game
from captum_pairwise.results.credits import Credits
from captum_pairwise.results.index import CO_MOEBIUS, MOEBIUS, TAYLOR_INDEX, Index
from captum_pairwise.results.interactions import Interactions, make_interactions, split_blocks

ENDS = (MOEBIUS, CO_MOEBIUS)  # indices of coalitions with all other players absent, or all present
Orders = Int[Tensor, "permutations players"]
Tables = Float[Tensor, "permutations players players"]


def permutation(game: Game, n_samples: int, *, index: Index = TAYLOR_INDEX, generator: torch.Generator | None = None) -> Interactions:
    """The index of all pairs and players, unbiased, from full permutations within `n_samples` coalitions.

    The Shapley–Taylor index is `φ_ij = E_π[δ_ij v(A)]`, where `A` are the players that arrive before both (Sundararajan et al. 2020). All
    pairs of one order need only `v(prefix + j)` for every prefix and every player after it: `n (n-1) / 2 - 1` coalitions beside the empty
    one, the full one and the single players. This is a quarter of the coalitions that separate pairs need. Other indices weight each
    difference by the ratio of the probabilities of `|A|`; the result computes them from the same values. Standard errors are for the mean
    over permutations. `"moebius"` and `"co-moebius"` need one coalition for each pair and are exact. So is a budget for all coalitions.

    Args:
        game: the game.
        n_samples: maximum number of coalitions to evaluate. As many full permutations are drawn as fit.
        index: the interaction index.
        generator: source of randomness; None means a generator with seed 0.

    Raises:
        ValueError: the budget does not cover one permutation, or the index has a probability for each image.

    >>> from captum_pairwise.games.game import CallableGame
    >>> both = CallableGame(1, 1, lambda z: 5.0 * (z[:, 0] & z[:, 1]))
    >>> permutation(both, 4).between
    tensor([[[5.]]])
    """
    n_players = game.n_players
    if 2**n_players <= n_samples:
        return exact(game, n_samples, index)
    refuse_two_probabilities(index)
    least, base = count_coalitions(n_players, index), n_players + 2
    refuse_small_budget(n_samples, least, f"one permutation of {n_players} players")
    if index.name in ENDS:
        return _evaluate_end(game, index)
    generator = default_generator(generator)
    n_permutations = (n_samples - base) // (least - base)
    orders = torch.stack([torch.randperm(n_players, generator=generator, device=generator.device) for _ in range(n_permutations)]).cpu()
    ends = game.values(empty_and_full(n_players))
    singles = game.values(torch.eye(n_players, dtype=torch.bool, device="cpu"))
    differences = _pair_differences(orders, _extension_values(game, orders, singles, ends), ends[0])
    return OrderSample(orders, differences, singles, ends, game.n_query, game.n_evaluations).compute(index)


def count_coalitions(n_players: int, index: Index = TAYLOR_INDEX) -> int:
    """The coalitions of one permutation, with the empty one, the full one and the single players; or all of an index at an end."""
    return n_players + 2 + n_players * (n_players - 1) // 2 - (index.name not in ENDS)


@dataclass(frozen=True)
class OrderSample:
    """The mixed differences of all pairs in some orders.

    Attributes:
        orders: the players in the order of arrival.
        differences: `δ_ij v(A)` for the players `A` before both.
        singles: the values of single players.
        ends: `v(∅)` and `v(N)`.
        n_query: number of query players.
        n_evaluations: coalitions evaluated.
    """

    orders: Orders
    differences: Tables
    singles: Float[Tensor, " players"]
    ends: Float[Tensor, "2"]
    n_query: int
    n_evaluations: int

    def compute(self, index: Index) -> Interactions:
        """The interactions of this index, a batch of one, without heat maps.

        Raises:
            ValueError: the index needs other coalitions, or has a probability for each image.
        """
        refuse_two_probabilities(index)
        if index.name in ENDS:
            raise ValueError(
                f"Expected an index that random orders estimate, got {index.name!r}. Pass it to the constructor of the method."
            )
        pairs, players, constants = self._weigh_differences(index)
        empty, singles = self.ends[0].cpu().double(), self.singles.cpu().double()
        first, constant = singles - empty + players.sum(2), empty + constants.sum((1, 2))
        parts = {"first_order": first, "marginal": first + pairs.sum(2) / 2, "pairs": pairs, "constant": constant}
        means = {name: part.mean(0).to(self.ends)[None] for name, part in parts.items()}
        blocks = {"constant": means["constant"], "first_order": means["first_order"], **split_blocks(means["pairs"], self.n_query)}
        if len(self.orders) > 1:  # the orders are independent
            errors = {name: (part.std(0) / len(part) ** 0.5).to(self.ends)[None] for name, part in parts.items()}
            blocks |= {"constant_error": errors.pop("constant")}
            blocks["standard_error"] = Credits(**split_blocks(errors.pop("pairs"), self.n_query), **errors)
        return make_interactions(self.ends, self.n_query, self.n_evaluations, index=index, sources=(self.compute,), **blocks)

    def _weigh_differences(self, index: Index) -> list[Tables]:
        """The share of each difference in its pair, in each of its two players, and in the constant, by the size of `A`."""
        n_players, position = self.orders.shape[1], self.orders.argsort(1)
        size = torch.minimum(position[:, :, None], position[:, None, :]).clamp(max=n_players - 2)  # the diagonal has no meaning
        weights, drawn = weigh_sizes(index, n_players), weigh_sizes(TAYLOR_INDEX, n_players).pairs
        differences = self.differences.cpu().double()
        return [(by_size / drawn)[size] * differences for by_size in (weights.pairs, weights.players, weights.constant)]


def _evaluate_end(game: Game, index: Index) -> Interactions:
    """The Möbius or the co-Möbius index: the differences at the empty or at the full coalition, exactly."""
    n_players, is_full = game.n_players, index.name == CO_MOEBIUS
    i, j = torch.triu_indices(n_players, n_players, 1, device="cpu")
    single = torch.eye(n_players, dtype=torch.bool, device="cpu")
    flips = torch.cat([torch.zeros_like(single[:1]), ~torch.zeros_like(single[:1]), single, single[i] | single[j]])
    values = game.values(flips ^ is_full)
    start, ones, twos = values[0], values[2 : 2 + n_players], values[2 + n_players :]
    second = values.new_zeros(n_players, n_players)
    second[i, j] = second[j, i] = twos - ones[i] - ones[j] + start
    first = start - ones if is_full else ones - start
    ends = values[[1, 0]] if is_full else values[:2]
    blocks = {"first_order": first[None], "constant": start[None], **split_blocks(second[None], game.n_query)}
    return make_interactions(ends, game.n_query, game.n_evaluations, index=index, **blocks)


def _extension_values(game: Game, orders: Orders, singles: Float[Tensor, " players"], ends: Float[Tensor, "2"]) -> Tables:
    """`v(first k players and the j-th)` for each order, entry `[k, j]`, `j ≥ k`. Each distinct coalition is evaluated once."""
    n_players = game.n_players
    table = singles.new_zeros(len(orders), n_players, n_players)
    table[:, 0] = singles[orders]
    table[:, -1, -1] = ends[1]
    k, j = torch.triu_indices(n_players, n_players, device="cpu")
    is_new = (k > 0) & (k < n_players - 1)  # coalitions of 2 to n - 1 players
    k, j, position = k[is_new], j[is_new], torch.arange(n_players, device="cpu")
    if len(k):
        extensions = (position < k[:, None]) | (position == j[:, None])  # in order of arrival
        coalitions = extensions[:, orders.argsort(1)].transpose(0, 1).flatten(0, 1)
        distinct, row = coalitions.unique(dim=0, return_inverse=True)
        table[:, k, j] = game.values(distinct)[row].reshape(len(orders), -1)
    return table


def _pair_differences(orders: Orders, table: Tables, empty: Tensor) -> Tables:
    """The mixed difference of every pair at the prefix before its first player, symmetric, with the players in their own order."""
    prefix_values = table.diagonal(dim1=1, dim2=2)  # v(first k + 1 players)
    before = torch.cat([empty.expand(len(table), 1), prefix_values[:, :-1]], 1)
    difference = table[:, 1:] - table[:, :-1] + (before - prefix_values)[:, :-1, None]
    difference = torch.nn.functional.pad(difference, (0, 0, 0, 1)).triu(1)
    difference = difference + difference.mT
    position = orders.argsort(1)
    return difference[torch.arange(len(orders), device="cpu")[:, None, None], position[:, :, None], position[:, None, :]]
