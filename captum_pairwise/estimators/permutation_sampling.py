"""The permutation estimator: Shapley–Taylor indices of any game from random orders of arrival."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from captum_pairwise.estimators.enumeration import exact
from captum_pairwise.games.game import Game
from captum_pairwise.results.interactions import Credits, Interactions, make_interactions, split_blocks


def permutation(game: Game, n_samples: int, *, generator: torch.Generator | None = None) -> Interactions:
    """Every Shapley–Taylor index of order 2, unbiased, from whole permutations within `n_samples` coalitions.

    `φ_ij = E_π[δ_ij v(A)]` with `A` the players that arrive before both (Sundararajan et al. 2020). All pairs of one order need only
    `v(prefix + j)`, for every prefix and every player after it: `n (n-1) / 2 - 1` coalitions beside those of no player, one, and all, a
    quarter of what a pair at a time needs. Standard errors are those of the mean over permutations. A budget that covers every coalition is
    exact.

    Args:
        game: the game.
        n_samples: coalitions to evaluate at most; the most whole permutations that fit are drawn.
        generator: the source of randomness; one seeded with 0 if None.

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
    each, base = n_players * (n_players - 1) // 2 - 1, n_players + 2
    if n_samples < base + each:
        raise ValueError(
            f"Expected n_samples of at least {base + each} for one permutation of {n_players} players, got {n_samples}. Raise "
            "n_samples, or take fewer players."
        )
    generator = generator if generator is not None else torch.Generator().manual_seed(0)
    n_permutations = (n_samples - base) // each
    orders = torch.stack([torch.randperm(n_players, generator=generator, device=generator.device) for _ in range(n_permutations)]).cpu()
    ends = game.values(torch.tensor([[False], [True]]).expand(2, n_players))
    singles = game.values(torch.eye(n_players, dtype=torch.bool))
    samples = _pairs(orders, _extension_values(game, orders, singles, ends), ends[0])
    errors = _standard_error(samples, game.n_query) if n_permutations > 1 else None
    return make_interactions(ends, singles - ends[0], samples.mean(0), game.n_query, game.n_evaluations, errors)


def _prefix_extensions(
    n_players: int,
) -> tuple[Bool[Tensor, "coalitions positions"], Int[Tensor, " coalitions"], Int[Tensor, " coalitions"]]:
    """In order of arrival: the coalitions `first k and the j-th`, sizes 2 to n - 1, with their `k` and `j`."""
    k, j = torch.triu_indices(n_players, n_players)
    kept = (k > 0) & (k < n_players - 1)
    k, j, position = k[kept], j[kept], torch.arange(n_players)
    return (position < k[:, None]) | (position == j[:, None]), k, j


def _extension_values(
    game: Game, orders: Int[Tensor, "permutations players"], singles: Float[Tensor, " players"], ends: Float[Tensor, "2"]
) -> Float[Tensor, "permutations players players"]:
    """`v(first k and the j-th)` for each order, entry `[k, j]`, `j ≥ k`; each distinct coalition is evaluated once."""
    n_players = game.n_players
    extensions, k, j = _prefix_extensions(n_players)
    table = singles.new_zeros(len(orders), n_players, n_players)
    table[:, 0] = singles[orders]
    table[:, -1, -1] = ends[1]
    if len(extensions):
        coalitions = extensions[:, orders.argsort(1)].transpose(0, 1).flatten(0, 1)
        distinct, row = coalitions.unique(dim=0, return_inverse=True)
        table[:, k, j] = game.values(distinct)[row].reshape(len(orders), -1)
    return table


def _pairs(
    orders: Tensor, table: Float[Tensor, "permutations players players"], empty: Tensor
) -> Float[Tensor, "permutations players players"]:
    """The discrete derivative of every pair at the prefix before its first player, symmetric, players in their own order."""
    arrived = table.diagonal(dim1=1, dim2=2)  # v(first k + 1)
    before = torch.cat([empty.expand(len(table), 1), arrived[:, :-1]], 1)
    derivative = table[:, 1:] - table[:, :-1] + (before - arrived)[:, :-1, None]
    derivative = torch.nn.functional.pad(derivative, (0, 0, 0, 1)).triu(1)
    derivative = derivative + derivative.mT
    position = orders.argsort(1)
    rows = torch.arange(len(orders))[:, None, None]
    return derivative[rows, position[:, :, None], position[:, None, :]]


def _standard_error(samples: Float[Tensor, "permutations players players"], n_query: int) -> Credits:
    """Of the mean over permutations, which are independent."""
    marginal, pairs = ((sample.std(0) / len(samples) ** 0.5) for sample in (samples.sum(2) / 2, samples))
    return Credits(marginal=marginal[None], **split_blocks(pairs, n_query))
