"""The permutation estimator: Shapley–Taylor indices of any game from random orders of arrival."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from captum_pairwise.estimators.draws import default_generator
from captum_pairwise.estimators.enumeration import exact
from captum_pairwise.estimators.limits import refuse_small_budget
from captum_pairwise.games.game import Game
from captum_pairwise.results.interactions import Credits, Interactions, make_interactions, split_blocks

Orders = Int[Tensor, "permutations players"]
Tables = Float[Tensor, "permutations players players"]


def permutation(game: Game, n_samples: int, *, generator: torch.Generator | None = None) -> Interactions:
    """All Shapley–Taylor indices of order 2, unbiased, from full permutations within `n_samples` coalitions.

    `φ_ij = E_π[δ_ij v(A)]`, where `A` are the players that arrive before both (Sundararajan et al. 2020). All pairs of one order need only
    `v(prefix + j)` for every prefix and every player after it: `n (n-1) / 2 - 1` coalitions beside the empty one, the full one and the
    single players. This is a quarter of the coalitions that separate pairs need. Standard errors are for the mean over permutations. A
    budget for all coalitions is exact.

    Args:
        game: the game.
        n_samples: maximum number of coalitions to evaluate. As many full permutations are drawn as fit.
        generator: source of randomness; None means a generator with seed 0.

    Raises:
        ValueError: the budget does not cover one permutation.

    >>> from captum_pairwise.games.game import CallableGame
    >>> both = CallableGame(1, 1, lambda z: 5.0 * (z[:, 0] & z[:, 1]))
    >>> permutation(both, 4).between
    tensor([[[5.]]])
    """
    n_players = game.n_players
    if 2**n_players <= n_samples:
        return exact(game, n_samples)
    least, base = count_coalitions(n_players), n_players + 2
    refuse_small_budget(n_samples, least, f"one permutation of {n_players} players")
    generator = default_generator(generator)
    n_permutations = (n_samples - base) // (least - base)
    orders = torch.stack([torch.randperm(n_players, generator=generator, device=generator.device) for _ in range(n_permutations)]).cpu()
    ends = game.values(torch.tensor([[False], [True]], device="cpu").expand(2, n_players))
    singles = game.values(torch.eye(n_players, dtype=torch.bool, device="cpu"))
    samples = _pair_differences(orders, _extension_values(game, orders, singles, ends), ends[0])
    errors = _mean_error(samples, game.n_query) if n_permutations > 1 else None
    blocks = {"first_order": (singles - ends[0])[None], **split_blocks(samples.mean(0, keepdim=True), game.n_query)}
    return make_interactions(ends, game.n_query, game.n_evaluations, standard_error=errors, **blocks)


def count_coalitions(n_players: int) -> int:
    """The coalitions of one permutation, with the empty one, the full one and the single players."""
    return n_players + 2 + n_players * (n_players - 1) // 2 - 1


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


def _mean_error(samples: Tables, n_query: int) -> Credits:
    """The standard error of the mean over permutations, which are independent."""
    marginal, pairs = (sample.std(0) / len(samples) ** 0.5 for sample in (samples.sum(2) / 2, samples))
    return Credits(marginal=marginal[None], **split_blocks(pairs[None], n_query))
