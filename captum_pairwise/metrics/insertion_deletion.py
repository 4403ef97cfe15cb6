"""Area between insertion and deletion: the similarity with the best parts of each number present, and with the worst."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from captum_pairwise.games.checks import check_finite, check_values, describe_value

N_POINTS = 51
CoalitionValues = Callable[[Tensor], Tensor]  # similarities [rows] of coalitions [rows, players]


@dataclass(frozen=True)
class InsertionDeletion:
    r"""Two curves over the share of the parts that are present, and the area between them.

    Attributes:
        fractions: the share of the parts that are present, 51 points from 0 to 1; curves are interpolated between the numbers of parts.
        insertion: $(v - v(\emptyset)) / (v(N) - v(\emptyset))$ where the most important parts are present; they are removed last.
        deletion: the same where the least important parts are present; the most important are removed first.
        area: $\int (\text{insertion} - \text{deletion})$, by trapezoids; more is better, and a random order has 0 on average.

    >>> values, credit = lambda present: present.double().sum(1), torch.ones(4, dtype=torch.float64)
    >>> curves = insertion_deletion(values, credit)  # equal parts: the order makes no difference
    >>> curves.fractions.shape, torch.equal(curves.insertion, curves.deletion), curves.area.item()
    (torch.Size([51]), True, 0.0)

    See also `insertion_deletion`.
    """

    fractions: Float[Tensor, " points"]
    insertion: Float[Tensor, " points"]
    deletion: Float[Tensor, " points"]
    area: Float[Tensor, ""]


@torch.no_grad()
def insertion_deletion(
    values: CoalitionValues, first_order: Float[Tensor, " players"], pairs: Float[Tensor, "players players"] | None = None
) -> InsertionDeletion:
    r"""The area between insertion and deletion (AID) of one pair of images (the protocol of FIxLIP, Baniecki et al. 2025).

    Without pairs, the best (worst) $k$ parts are those of the largest (smallest) credit. With pairs, a set grows from each part by the part
    with the largest (smallest) gain $a_v + \sum_{u \in S} a_{uv}$, and of the $n$ sets of each size the one with the largest (smallest) sum
    $\sum_{i \in S} a_i + \sum_{ij \subseteq S} a_{ij}$ is taken. Of equal ones the first is taken.

    Args:
        values: the similarity of each row of presences `[rows, players]`, called once with at most `2 n` rows.
        first_order: the credit of each part `[n]`, query parts first: `first_order` of `cp.Interactions` if pairs are given, else its
            `marginal`.
        pairs: the credit of every two parts `[n, n]`, symmetric with a zero diagonal, as `cp.Interactions.second_order`.

    Raises:
        ValueError: the credit has another shape or is not finite, or `values` does not return a finite number per row.

    >>> area = insertion_deletion(lambda present: present.double() @ torch.tensor([3.0, 1.0]).double(), torch.tensor([3.0, 1.0]))
    >>> area.insertion[25], area.deletion[25], area.area  # with half of the parts
    (tensor(0.7500, dtype=torch.float64), tensor(0.2500, dtype=torch.float64), tensor(0.2500, dtype=torch.float64))

    See also `surrogate_faithfulness`, and `insertion_curve` for pixels.
    """
    _check_credits(first_order, pairs)
    best, worst = (_find_sets(sign * first_order, None if pairs is None else sign * pairs) for sign in (1, -1))
    similarity = check_values(values(torch.cat([best, worst[1:-1]])), 2 * len(first_order)).cpu().double()
    empty, full = similarity[0], similarity[len(first_order)]
    insertion, worse = ((similarity - empty) / (full - empty)).split([len(best), len(worst) - 2])
    deletion = torch.cat([insertion[:1], worse, insertion[-1:]])
    sizes, points = np.linspace(0, 1, len(best)), np.linspace(0, 1, N_POINTS)
    insertion, deletion = (torch.from_numpy(np.interp(points, sizes, curve.numpy())) for curve in (insertion, deletion))
    fractions = torch.from_numpy(points)
    return InsertionDeletion(fractions, insertion, deletion, torch.trapezoid(insertion - deletion, fractions))


def _check_credits(first_order: object, pairs: object) -> None:
    """Refuse credit that is not of the players of one game."""
    if not isinstance(first_order, Tensor) or first_order.dim() != 1 or not first_order.is_floating_point() or len(first_order) == 0:
        raise ValueError(
            f"Expected floating-point first_order [n] of the players of one pair, got {describe_value(first_order)}. Choose one row."
        )
    check_finite(first_order, "first_order")
    if pairs is None:
        return
    shape = (len(first_order), len(first_order))
    if not isinstance(pairs, Tensor) or pairs.shape != shape or not pairs.is_floating_point():
        raise ValueError(f"Expected floating-point pairs {list(shape)}, got {describe_value(pairs)}. Take all players, query parts first.")
    check_finite(pairs, "pairs")
    if not torch.equal(pairs, pairs.T) or pairs.diagonal().any():
        raise ValueError("Expected symmetric pairs with a zero diagonal, got others. Write each pair in both places, once.")


def _find_sets(first_order: Float[Tensor, " players"], pairs: Float[Tensor, "players players"] | None) -> Bool[Tensor, "sizes players"]:
    """The best set of each size, from none to all players."""
    n_players = len(first_order)
    if pairs is None:
        rank = first_order.argsort(descending=True, stable=True).argsort()
        return rank < torch.arange(n_players + 1, device=rank.device)[:, None]
    gains, present = first_order.double(), torch.eye(n_players, dtype=torch.bool, device=pairs.device)
    gain, total, best = gains + pairs.double(), gains.clone(), [torch.zeros_like(present[0])]  # gain[s, v] of v for the set from s
    for _ in range(n_players):
        best.append(present[total.argmax()].clone())
        added = gain.masked_fill(present, -torch.inf).argmax(1, keepdim=True)
        total += gain.gather(1, added)[:, 0]
        present.scatter_(1, added, True)
        gain += pairs.double()[added[:, 0]]
    return torch.stack(best)
