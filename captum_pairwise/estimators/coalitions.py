"""Indices of games given by the values of all coalitions. Bit `i` of the position of a value tells if player `i` is present."""

from collections.abc import Iterable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from captum_pairwise.estimators.index_path import make_index_path
from captum_pairwise.games.checks import check_finite
from captum_pairwise.results.index import CO_MOEBIUS, SHAPLEY_TAYLOR, Index

ROWS_AT_ONCE = 2**18
ENTRIES_AT_ONCE = 2**22
Coalitions = Bool[Tensor, "coalitions players"]
Values = Float[Tensor, " coalitions"]
Wanted = Bool[Tensor, "wanted players"] | Iterable[Iterable[int]]


def all_coalitions(n_players: int, device: torch.device | str = "cpu", start: int = 0, most: int | None = None) -> Coalitions:
    """All coalitions, row `S` at bit mask `S`; or at most `most` of them, from row `start` on.

    >>> all_coalitions(2).int().tolist()
    [[0, 0], [1, 0], [0, 1], [1, 1]]
    """
    stop = 2**n_players if most is None else min(2**n_players, start + most)
    masks = torch.arange(start, stop, device=device)
    return (masks[:, None] >> torch.arange(n_players, device=device)) & 1 == 1


def _infer_n_players(values: Tensor) -> int:
    n_players = values.numel().bit_length() - 1
    if values.dim() != 1 or values.numel() != 2**n_players:
        raise ValueError(f"Expected the values of all 2**n coalitions in the order of bit masks, got shape {tuple(values.shape)}.")
    check_finite(values, "the values of all coalitions")
    return n_players


def harsanyi_dividends(values: Values) -> Values:
    r"""The Harsanyi dividend of each coalition (paper eq. 4, with $d(\emptyset) = v(\emptyset)$).

    $$d(S) = \sum_{T \subseteq S} (-1)^{|S| - |T|} \, v(T)$$

    The paper's eq. 4 has no term for the empty set. Without this term it is wrong if $v(\emptyset) \ne 0$.

    Args:
        values: `v(S)` of all `2**n` coalitions `[2**n]`, in the order of their bit masks: `v(∅)`, `v({0})`, `v({1})`, `v({0, 1})`, …

    Raises:
        ValueError: the length is not a power of two, or a value is not finite.

    >>> harsanyi_dividends(torch.tensor([1.0, 2.0, 3.0, 7.0])).tolist()
    [1.0, 1.0, 2.0, 3.0]
    """
    n_players = _infer_n_players(values)
    dividends = values.clone()
    for player in range(n_players):  # along each axis of the cube, subtract the face without the player
        faces = dividends.view(-1, 2, 2**player)
        faces[:, 1] -= faces[:, 0]
    return dividends


def shapley_values(values: Values) -> Float[Tensor, " players"]:
    r"""The Shapley values, $\phi_i = \sum_{T \ni i} d(T) / |T|$ (paper eq. 1, from the dividends).

    Args:
        values: as for `harsanyi_dividends`.

    Raises:
        ValueError: the length is not a power of two, or a value is not finite.

    >>> shapley_values(torch.tensor([1.0, 2.0, 3.0, 7.0])).tolist()
    [2.5, 3.5]
    """
    members = all_coalitions(_infer_n_players(values), values.device).to(values.dtype)
    share = harsanyi_dividends(values) / members.sum(1).clamp(min=1)
    return share @ members


def shapley_taylor(values: Values) -> tuple[Float[Tensor, ""], Float[Tensor, " players"], Float[Tensor, "players players"]]:
    r"""The Shapley–Taylor indices of order 2 (paper eq. 5): $v(\emptyset)$, the indices of players, and the indices of pairs.

    $$\phi_i = v(\{i\}) - v(\emptyset), \qquad \phi_{ij} = \sum_{T \supseteq \{i, j\}} d(T) \Big/ \binom{|T|}{2}$$

    Args:
        values: as for `harsanyi_dividends`.

    Returns:
        `(empty, first [n], second [n, n])`; `second` is symmetric with a zero diagonal, and each entry is the full index of its pair.

    Raises:
        ValueError: the length is not a power of two, or a value is not finite.

    >>> empty, first, second = shapley_taylor(torch.tensor([1.0, 2.0, 3.0, 7.0]))
    >>> empty.item(), first.tolist(), second.tolist()
    (1.0, [1.0, 2.0], [[0.0, 3.0], [3.0, 0.0]])
    """
    return interaction_index(values, Index(SHAPLEY_TAYLOR), _infer_n_players(values))


def interaction_index(
    values: Values, index: Index, n_query: int
) -> tuple[Float[Tensor, ""], Float[Tensor, " players"], Float[Tensor, "players players"]]:
    r"""An interaction index of order 2: the constant of its prediction, the credit of players, and the credit of pairs.

    $$\phi_{ij} = \int_0^1 f(p) \, \mathbb{E}_p[\delta_{ij} v] \, dp = \sum_{T \supseteq \{i, j\}} d(T) \int_0^1 f(p) \, p^{|T| - 2} \, dp$$

    The nodes of `IndexPath` give the integrals. Weighted Banzhaf has the probabilities of the players of $T$ but `i` and `j` in their
    place. The dividends are summed in float64, because they are large numbers of both signs.

    Args:
        values: as for `harsanyi_dividends`, with the query's players as the lower bits.
        index: the index.
        n_query: the number of the query's players, whose probability is `index.p[0]`.

    Returns:
        `(constant, first [n], second [n, n])`, as from `shapley_taylor`.

    Raises:
        ValueError: the length is not a power of two, or a value is not finite.

    >>> constant, first, second = interaction_index(torch.tensor([1.0, 2.0, 3.0, 7.0]), Index("shapley"), 1)
    >>> constant.item(), first.tolist(), second.tolist()
    (1.0, [2.5, 3.5], [[0.0, 3.0], [3.0, 0.0]])
    """
    n_players, dividends = _infer_n_players(values), harsanyi_dividends(values.double())
    shares = _tabulate_shares(index, n_players).to(dividends.device)
    p = torch.ones_like(dividends[:n_players])
    if index.p is not None:
        p[:n_query], p[n_query:] = index.p
    constant, first, second = dividends.new_zeros(()), torch.zeros_like(p), dividends.new_zeros(n_players, n_players)
    for start in range(0, len(values), ROWS_AT_ONCE):
        members = all_coalitions(n_players, values.device, start, ROWS_AT_ONCE)
        weighted = dividends[start : start + ROWS_AT_ONCE] * torch.where(members, p, 1.0).prod(1)
        of_constant, of_players, of_pairs = shares[:, members.sum(1)] * weighted
        members = members.to(dividends)
        constant += of_constant.sum()
        first += of_players @ members
        second += members.T @ (of_pairs[:, None] * members)
    second = (second + second.T) / 2 / (p[:, None] * p)  # symmetric to the last digit
    return constant.to(values), (first / p).to(values), second.fill_diagonal_(0).to(values)


def _tabulate_shares(index: Index, n_players: int) -> Float[Tensor, "3 sizes"]:
    """The share of a dividend of each size in the constant, in each of its players and in each of its pairs.

    They are the moments of the index. Those of `"banzhaf"` are factors of the probabilities of the players.
    """
    size, least = torch.arange(n_players + 1, dtype=torch.float64, device="cpu"), torch.arange(3, device="cpu")[:, None]
    if index.p is not None:
        shares = torch.stack([(size - 1) * (size - 2) / 2, 2 - size, torch.ones_like(size)])
    else:
        path, constant = make_index_path(index, n_players), torch.full_like(size, index.name == CO_MOEBIUS)
        constant[0] = 1
        powers = path.query[:, None] ** (size - least[1:, None]).clamp(min=0)
        shares = torch.stack([constant, path.players @ powers[0], path.pairs @ powers[1]])
    return torch.where(size >= least, shares, 0.0)


def jagged_credit(values: Values, wanted: Wanted) -> tuple[Float[Tensor, ""], Float[Tensor, " wanted"], Float[Tensor, ""]]:
    r"""The “jagged” fair credit of the wanted coalitions (paper §5.1): each dividend is shared among the wanted coalitions inside it.

    $\phi(C) = \sum_T d(T) / m(T)$ over all $T \supseteq C$ for which no larger wanted coalition inside `T` contains `C`. `m(T)` is the
    number of such maximal wanted coalitions inside `T`. If all single players are wanted, these are the Shapley values. If all
    coalitions of up to `k` players are wanted, these are the Shapley–Taylor indices of order `k`. The dividend of a `T` without a
    wanted coalition inside is left over. If all single players are wanted, nothing is left over.

    The credit is linear in the game. $v(\emptyset) + \sum_C \phi(C)$ plus the left-over part is $v(N)$. A dummy player gets
    $v(\{i\}) - v(\emptyset)$ alone and 0 in larger coalitions, and it does not change the credit of others. Two players with the same
    effect get the same credit if swapping them maps wanted coalitions to wanted coalitions.

    Args:
        values: as for `harsanyi_dividends`.
        wanted: one row for each wanted coalition, true for its players; or the numbers of its players, as in `[(0,), (1,), (0, 1)]`.

    Returns:
        `(empty, credit [k], left over)`, with the credits in the order of `wanted`.

    Raises:
        ValueError: the length of `values` is not a power of two, a value is not finite, or a wanted coalition is empty, given twice, or has
            players that are not in the game.

    >>> empty, credit, left_over = jagged_credit(torch.tensor([1.0, 2.0, 3.0, 7.0]), [(0,), (0, 1)])
    >>> empty.item(), credit.tolist(), left_over.item()
    (1.0, [1.0, 3.0], 2.0)
    """
    dividends, masks = harsanyi_dividends(values), _coalition_masks(wanted, _infer_n_players(values)).to(values.device)
    is_larger = (masks & masks[:, None] == masks[:, None]) & (masks != masks[:, None])  # [C, larger than C]
    credit, left_over = values.new_zeros(len(masks)), values.new_zeros(())
    for rows in torch.arange(len(values), device=values.device).split(max(1, ENTRIES_AT_ONCE // len(masks))):
        is_inside = rows[:, None] & masks == masks
        is_maximal = is_inside & ((is_inside.float() @ is_larger.T.float()) == 0)
        n_shares, dividend = is_maximal.sum(1), dividends[rows]
        credit += (dividend / n_shares.clamp(min=1)) @ is_maximal.to(dividend)
        left_over += dividend[(n_shares == 0) & (rows > 0)].sum()
    return values[0], credit, left_over


def _coalition_masks(wanted: Wanted, n_players: int) -> Int[Tensor, " wanted"]:
    """The bit mask of each wanted coalition."""
    if isinstance(wanted, Tensor):
        if wanted.dtype != torch.bool or wanted.dim() != 2 or wanted.shape[1] != n_players:
            raise ValueError(f"Expected wanted coalitions as rows of booleans [k, {n_players}], got {wanted.dtype} {tuple(wanted.shape)}.")
        masks = (wanted.long().cpu() << torch.arange(n_players, device="cpu")).sum(1)
    else:
        members = [set(coalition) for coalition in wanted]
        unknown = set().union(*members) - set(range(n_players))
        if unknown:
            raise ValueError(f"Expected wanted coalitions of the players 0 to {n_players - 1}, got {sorted(unknown)}. Remove them.")
        masks = torch.tensor([sum(1 << player for player in coalition) for coalition in members], dtype=torch.long, device="cpu")
    if len(masks) == 0 or (masks == 0).any() or len(masks.unique()) < len(masks):
        raise ValueError(f"Expected distinct wanted coalitions of at least one player each, got {masks.tolist()} as bit masks.")
    return masks
