"""What an estimator returns: credits of single players and of pairs of players."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from safetensors.torch import save_file
from torch import Tensor

from captum_pairwise.files.atomic import write_atomically
from captum_pairwise.files.tensors import make_file_error, read_tensors
from captum_pairwise.players.regions import Players, average

AXES = {
    "first_order": ("players",),
    "marginal": ("players",),
    "between": ("query", "retrieved"),
    "within_query": ("query", "query"),
    "within_retrieved": ("retrieved", "retrieved"),
}
SIDES = ("query", "retrieved")  # the two images of a pair, in this order everywhere
PLAYERS = ("query_players", "retrieved_players")
NOTE, WHAT = "captum_pairwise", "what `Interactions.save` wrote"  # by which a file is known
DIRECTIONS = ("query->retrieved", "retrieved->query")


@dataclass(frozen=True, kw_only=True)
class Credits:
    r"""Numbers about players and pairs of players of a batch of games; what nobody computed is None, never zeros.

    Attributes:
        first_order: $\phi_i$, query players first.
        marginal: the credit of a player when each pair's is shared equally, $\phi_i + \frac{1}{2} \sum_j \phi_{ij}$: Shapley values for
            Shapley–Taylor indices, integrated gradients for integrated Hessians.
        between: $\phi_{ij}$ of a query player and a retrieved player.
        within_query: $\phi_{ij}$ of two query players, symmetric with a zero diagonal; each entry is the whole of the unordered pair.
        within_retrieved: the same of two retrieved players.
    """

    first_order: Float[Tensor, "batch players"] | None = None
    marginal: Float[Tensor, "batch players"] | None = None
    between: Float[Tensor, "batch query retrieved"] | None = None
    within_query: Float[Tensor, "batch query query"] | None = None
    within_retrieved: Float[Tensor, "batch retrieved retrieved"] | None = None

    def __getitem__(self, name: str) -> Float[Tensor, "batch ..."]:
        """The block of this name.

        Raises:
            ValueError: nobody computed it.
        """
        block = getattr(self, name)
        if block is None:
            raise ValueError(f"Expected {name} to have been computed, but this estimate is without it.")
        return block


@dataclass(frozen=True, kw_only=True, repr=False)
class Interactions(Credits):
    """Credits of a batch of pairs of images, with what is needed to judge and to draw them.

    `marginal` is filled in where all the other blocks are given.

    Attributes:
        n_query: players of the query; the rest are the retrieved image's.
        empty: `v(∅)`, the similarity of the two baselines.
        full: `v(N)`, the similarity of the two images.
        n_evaluations: coalitions evaluated for each pair; of two towers, embedded by either.
        standard_error: the standard errors of what was sampled, or None.
        query_players: which player owns what of the query, or None.
        retrieved_players: the same for the retrieved image.

    Raises:
        ValueError: the shapes do not fit together.

    >>> additive = Interactions(
    ...     n_query=1,
    ...     empty=torch.zeros(1),
    ...     full=torch.tensor([3.0]),
    ...     n_evaluations=torch.tensor([4]),
    ...     first_order=torch.tensor([[1.0, 2.0]]),
    ...     between=torch.zeros(1, 1, 1),
    ...     within_query=torch.zeros(1, 1, 1),
    ...     within_retrieved=torch.zeros(1, 1, 1),
    ... )
    >>> additive.marginal, additive.completeness_gap
    (tensor([[1., 2.]]), tensor([0.]))
    """

    n_query: int
    empty: Float[Tensor, " batch"]
    full: Float[Tensor, " batch"]
    n_evaluations: Int[Tensor, " batch"]
    standard_error: Credits | None = None
    query_players: Players | None = None
    retrieved_players: Players | None = None

    def __post_init__(self) -> None:
        _refuse_other_shapes(self)
        blocks = (self.first_order, self.between, self.within_query, self.within_retrieved)
        if self.marginal is None and all(block is not None for block in blocks):
            object.__setattr__(self, "marginal", self["first_order"] + self.second_order.sum(2) / 2)

    def __repr__(self) -> str:
        known = [name for name in AXES if getattr(self, name) is not None]
        return f"Interactions(pairs={len(self.full)}, n_query={self.n_query}, known={known})"

    @property
    def second_order(self) -> Float[Tensor, "batch players players"]:
        """Every pair, `[B, n, n]`: symmetric, with a zero diagonal."""
        between = self["between"]
        upper = torch.cat([self["within_query"], between], 2)
        lower = torch.cat([between.mT, self["within_retrieved"]], 2)
        return torch.cat([upper, lower], 1)

    @property
    def completeness_gap(self) -> Float[Tensor, " batch"]:
        """`v(N) - v(∅)` minus all credit given: 0 for an efficient method that has converged."""
        return self.full - self.empty - self["marginal"].sum(1)

    @property
    def query_marginal(self) -> Float[Tensor, "batch query"]:
        """The marginal credit of the query's players."""
        return self["marginal"][:, : self.n_query]

    @property
    def retrieved_marginal(self) -> Float[Tensor, "batch retrieved"]:
        """The marginal credit of the retrieved image's players."""
        return self["marginal"][:, self.n_query :]

    def project(self, signal: Shaped[Tensor, "batch ..."], direction: str = "query->retrieved") -> Float[Tensor, "batch players"]:
        r"""Carry a signal over one image to the players of the other, $\sum_i a_i \phi_{ij}$.

        Args:
            signal: `[B, n]`, a weight for each player, or a mask over the image `[B, H, W]`, averaged over each player.
            direction: `"query->retrieved"` or `"retrieved->query"`.

        Raises:
            ValueError: the direction is neither, or a mask came and the players are not known.
        """
        if direction not in DIRECTIONS:
            raise ValueError(f"Expected direction to be one of {DIRECTIONS}, got {direction!r}.")
        forward = direction == DIRECTIONS[0]
        between = self["between"] if forward else self["between"].mT
        signal = signal.to(between)
        if signal.dim() > 2:
            players = self.query_players if forward else self.retrieved_players
            if players is None or players.ids.dim() != 4:
                raise ValueError("Expected a weight for each player [B, n], because these players have no known place in an image.")
            signal = average(signal, players)
        return project(between, signal)

    def save(self, path: str | Path) -> None:
        """Write everything to a safetensors file, which is whole or not there."""
        errors, players = self.standard_error or Credits(), {name: getattr(self, name) for name in PLAYERS}
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        tensors |= {f"standard_error.{name}": value for name, value in vars(errors).items() if value is not None}
        tensors |= {f"{name}.ids": one.ids for name, one in players.items() if one is not None}
        numbers = {"n_query": self.n_query} | {name: one.shape for name, one in players.items() if one is not None}
        tensors = {name: value.clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}
        with write_atomically(Path(path)) as draft:
            save_file(tensors, draft, {NOTE: json.dumps(numbers)})

    @staticmethod
    def load(path: str | Path) -> "Interactions":
        """Read what `save` wrote.

        Raises:
            ValueError: the file holds something else, or is damaged.
        """
        tensors, note = read_tensors(path, NOTE, WHAT)
        try:
            return _parse_tensors(dict(tensors), json.loads(note))
        except (ValueError, TypeError, KeyError) as error:
            raise make_file_error(path, WHAT, str(error)) from error


def _parse_tensors(tensors: dict[str, Any], numbers: dict[str, Any]) -> Interactions:
    """Interactions of the tensors and numbers of a file, which may be anybody's."""
    errors = {name: tensors.pop(f"standard_error.{name}") for name in AXES if f"standard_error.{name}" in tensors}
    players = {name: Players(tensors.pop(f"{name}.ids"), tuple(map(int, numbers[name]))) for name in PLAYERS if name in numbers}
    for name, some in players.items():
        if some.ids.dtype != torch.int64 or some.ids.numel() == 0 or not -1 <= some.ids.min() <= some.ids.max() < some.n_players:
            raise ValueError(f"its {name} are not the ids of {some.n_players}")
    return Interactions(n_query=numbers["n_query"], standard_error=Credits(**errors) if errors else None, **players, **tensors)


def _refuse_other_shapes(known: Interactions) -> None:
    """Refuse blocks that are not of one batch of games with the same players."""
    if isinstance(known.n_query, bool) or not isinstance(known.n_query, int) or known.n_query < 0:
        raise ValueError(f"Expected n_query to be the number of players of the query, got {known.n_query!r}. Count them.")
    sizes = {"batch": len(known.full) if known.full.dim() else -1, "query": known.n_query}
    ends = {name: () for name in ("full", "empty", "n_evaluations")}
    for credits, what in ((known, ""), (known.standard_error or Credits(), "standard_error.")):
        for name, axes in (AXES if what else ends | AXES).items():
            block = getattr(credits, name)
            if block is not None and not _has_axes(block, ("batch", *axes), sizes):
                raise ValueError(
                    f"Expected {what}{name} of shape [{', '.join(('batch', *axes))}], got {list(block.shape)} where {sizes} are known. "
                    "Give all blocks of one batch of pairs, query players first."
                )


def _has_axes(block: Tensor, axes: tuple[str, ...], sizes: dict[str, int]) -> bool:
    """Whether a block has these axes, of the sizes that are known; those that are not yet are then known."""
    named = [
        ("retrieved", size - sizes["query"]) if axis == "players" else (axis, size) for axis, size in zip(axes, block.shape, strict=False)
    ]
    return block.dim() == len(axes) and all(size >= 0 and sizes.setdefault(axis, size) == size for axis, size in named)


def split_blocks(second_order: Float[Tensor, "players players"], n_query: int) -> dict[str, Any]:
    """The blocks of a matrix of all pairs, by name, a batch of one: what `Interactions.second_order` puts together."""
    return {
        "between": second_order[None, :n_query, n_query:],
        "within_query": second_order[None, :n_query, :n_query],
        "within_retrieved": second_order[None, n_query:, n_query:],
    }


def make_interactions(
    ends: Float[Tensor, "2"],
    first: Float[Tensor, " players"],
    second: Float[Tensor, "players players"],
    n_query: int,
    n_evaluations: int,
    standard_error: Credits | None = None,
) -> Interactions:
    """The interactions of one game of which `v(∅)` and `v(N)`, every player and every pair are known."""
    return Interactions(
        n_query=n_query,
        empty=ends[:1],
        full=ends[1:],
        n_evaluations=torch.tensor([n_evaluations]),
        first_order=first[None],
        standard_error=standard_error,
        **split_blocks(second, n_query),
    )


def project(
    between: Float[Tensor, "batch query retrieved"], query_signal: Float[Tensor, "batch query"]
) -> Float[Tensor, "batch retrieved"]:
    r"""Carry weights of query players to the retrieved players, $\sum_i a_i \phi_{ij}$ (paper §5.3)."""
    return torch.einsum("bi,bij->bj", query_signal, between)


def stack_interactions(pairs: Sequence[Interactions]) -> Interactions:
    """One batch of the interactions of several pairs with the same numbers of players."""

    def joined(parts: Sequence[Credits]) -> dict[str, Any]:
        names = [name for name, value in vars(parts[0]).items() if isinstance(value, Tensor)]
        return {name: torch.cat([getattr(part, name) for part in parts]) for name in names}

    errors = [pair.standard_error for pair in pairs if pair.standard_error is not None]
    return Interactions(
        n_query=pairs[0].n_query,
        standard_error=Credits(**joined(errors)) if len(errors) == len(pairs) else None,
        **joined(pairs),
    )


def renumber_players(
    pair: Interactions, query_ids: Int[Tensor, " query"], retrieved_ids: Int[Tensor, " retrieved"], n_query: int, n_retrieved: int
) -> Interactions:
    """Number the players of one pair anew, with 0 for the ids that nobody has: a player without a part is a dummy."""
    if (len(query_ids), len(retrieved_ids)) == (n_query, n_retrieved):
        return pair
    ids = {"query": query_ids, "retrieved": retrieved_ids, "players": torch.cat([query_ids, n_query + retrieved_ids])}
    sizes = {"query": n_query, "retrieved": n_retrieved, "players": n_query + n_retrieved}

    def placed(credits: Credits) -> dict[str, Any]:
        blocks = {name: getattr(credits, name) for name in AXES}
        return {name: _scatter_block(block, AXES[name], ids, sizes) for name, block in blocks.items() if block is not None}

    kept = {name: getattr(pair, name) for name in ("empty", "full", "n_evaluations")}
    errors = Credits(**placed(pair.standard_error)) if pair.standard_error is not None else None
    return Interactions(n_query=n_query, standard_error=errors, **kept, **placed(pair))


def _scatter_block(block: Tensor, axes: tuple[str, ...], ids: dict[str, Tensor], sizes: dict[str, int]) -> Tensor:
    larger = block.new_zeros(1, *(sizes[axis] for axis in axes))
    index = torch.meshgrid(*(ids[axis] for axis in axes), indexing="ij")
    larger[0][index] = block[0]
    return larger
