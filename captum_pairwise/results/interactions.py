"""Results of the estimators: credits of single players and of pairs of players."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from captum_pairwise.files.tensors import make_file_error
from captum_pairwise.players.regions import Players, average
from captum_pairwise.results.block_shapes import refuse_mismatched_shapes
from captum_pairwise.results.credits import WITHOUT_MAPS, Between, Credits, get_blocks
from captum_pairwise.results.index import Index, Probability, parse_index
from captum_pairwise.results.result_files import CONTENT, read_result, write_result
from captum_pairwise.results.surrogate import predict_coalitions

ENDS = ("full", "empty", "without_query", "without_retrieved")  # similarities of the images and of their baselines
NUMBERS = (*ENDS, "constant", "constant_error", "r2")  # one for each pair of images
SIDES = ("query", "retrieved")  # the two images of a pair, in this order everywhere
DIRECTIONS = ("query->retrieved", "retrieved->query")
IndexSource = Callable[[Index], "Interactions"]  # computes another index of one pair of images from its sample


@dataclass(frozen=True, kw_only=True, repr=False)
class Interactions(Credits):
    """Credits of a batch of pairs of images in units of the similarity, with the values and the players that belong to them.

    A heat map is of single parts while the other image is whole; the pairs are of parts of both images, with the others absent as the index
    says. In games in which at most two parts act together, all indices have the same pairs, and the map value of a part is its own credit
    (`first_order` of an efficient index), the whole credit of its pairs with the other image (`between`), and half of the credit of its
    pairs within its own image. Joint effects of three or more parts are shared differently by the map and by each index. In
    `LayerPairwiseSAM` and `JaggedShapleyTaylor`, which have no pairs within an image, a map value is always the sum of the part's own
    credit and all of its pairs. `marginal` has only half of each pair, because the other half belongs to the other image; it is computed
    if all the other blocks are given.

    Attributes:
        n_query: number of query players; all others are players of the retrieved image.
        empty: `v(∅)`, the similarity of the two baselines.
        full: `v(N)`, the similarity of the two images.
        without_query: similarity of the query's baseline and the retrieved image, or None; `query_map` sums to `full - without_query`.
        without_retrieved: similarity of the query and the baseline of the retrieved image, or None.
        n_evaluations: number of coalitions evaluated for each pair of images; with two towers, the coalitions embedded by either tower.
        standard_error: standard errors of the sampled blocks, or None.
        query_players: the parts of the query image, or None.
        retrieved_players: the parts of the retrieved image, or None.
        index: the interaction index, or None for credit that is none, as of LIME.
        constant: the constant of the prediction; for most indices, and if it is None, `v(∅)`.
        constant_error: its standard error, or None.
        r2: the share of the similarity's variance over coalitions that `predict` explains, the first sign of trust; None if unknown.
        r2_law: the coalitions of `r2`, in words.
        sources: for each pair of images, the function that computes another index from the same sample; None if it was not kept.

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

    See also `explain`, `viewer` and `cp.visualization.pair_figure`.
    """

    n_query: int
    empty: Float[Tensor, " batch"]
    full: Float[Tensor, " batch"]
    n_evaluations: Int[Tensor, " batch"]
    without_query: Float[Tensor, " batch"] | None = None
    without_retrieved: Float[Tensor, " batch"] | None = None
    standard_error: Credits | None = None
    query_players: Players | None = None
    retrieved_players: Players | None = None
    index: Index | None = None
    constant: Float[Tensor, " batch"] | None = None
    constant_error: Float[Tensor, " batch"] | None = None
    r2: Float[Tensor, " batch"] | None = None
    r2_law: str = ""
    sources: tuple[IndexSource, ...] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        numbers = {name: getattr(self, name) for name in (*NUMBERS, "n_evaluations")}
        refuse_mismatched_shapes(self, self.standard_error, self.n_query, numbers)
        blocks = (self.first_order, self.between, self.within_query, self.within_retrieved)
        if self.marginal is None and all(block is not None for block in blocks):
            object.__setattr__(self, "marginal", self["first_order"] + self.second_order.sum(2) / 2)

    def __repr__(self) -> str:
        return f"Interactions(pairs={len(self.full)}, n_query={self.n_query}, known={list(get_blocks(self))})"

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the sources, which hold games and networks."""
        return {**vars(self), "sources": None}

    def as_index(self, index: str, p: Probability = 0.5) -> "Interactions":
        """The credits of another index, from the same sample: nothing runs through the network again.

        Args:
            index: `"shapley-taylor"`, `"shapley"`, `"k-sii"`, `"faith-shap"`, `"chaining"`, `"banzhaf"`, `"moebius"` or `"co-moebius"`.
            p: of `"banzhaf"`, the probability that a part is present, or one for each image.

        Raises:
            ValueError: the index is unknown, or the sample was not kept: after `load` or a copy, or by a method that has none.
        """
        wanted = parse_index(index, p)
        if self.sources is None:
            raise ValueError(f"Expected a result that keeps its sample, got one that does not. Pass index={index!r} to the method.")
        pairs = stack_interactions([source(wanted) for source in self.sources])
        return replace(pairs, query_players=self.query_players, retrieved_players=self.retrieved_players)

    def predict(self, coalitions: Bool[Tensor, "rows players"]) -> Float[Tensor, "batch rows"]:
        r"""The similarity of the pair if only some parts are present, by its credits: the surrogate of the model.

        $$\hat v(S) = a_\emptyset + \sum_{i \in S} a_i + \sum_{ij \subseteq S} a_{ij}$$

        with all pairs that were computed. Which index predicts best depends on how many parts are absent; `r2` says how well.

        Args:
            coalitions: a row for each coalition, True for the players that are present, the query's first.

        Raises:
            ValueError: the coalitions have other players or are no booleans, or the credit of single players is unknown.
        """
        constant = self.empty if self.constant is None else self.constant
        return predict_coalitions(constant, self, coalitions, self.n_query)

    @property
    def second_order(self) -> Float[Tensor, "batch players players"]:
        """The credit of every pair, `[B, n, n]`, symmetric with a zero diagonal."""
        between = self["between"]
        upper = torch.cat([self["within_query"], between], 2)
        lower = torch.cat([between.mT, self["within_retrieved"]], 2)
        return torch.cat([upper, lower], 1)

    @property
    def errors(self) -> Credits:
        """The standard errors of the sampled blocks, as `standard_error`.

        Raises:
            ValueError: there are none.
        """
        if self.standard_error is None:
            raise ValueError("Expected standard errors, but nothing of this result was sampled, or its method has none. Check the gap.")
        return self.standard_error

    @property
    def completeness_gap(self) -> Float[Tensor, " batch"]:
        """`v(N)` minus the constant and the sum of all credits. It is 0 for an efficient index that has converged.

        The constant is `v(∅)`, but for `"banzhaf"` and `"co-moebius"`.
        """
        return self.full - (self.empty if self.constant is None else self.constant) - self["marginal"].sum(1)

    @property
    def query_map(self) -> Float[Tensor, "batch query"]:
        """The heat map of the query: what each of its players adds while the retrieved image is whole (paper eq. 2)."""
        return self["given_other"][:, : self.n_query]

    @property
    def retrieved_map(self) -> Float[Tensor, "batch retrieved"]:
        """The heat map of the retrieved image: what each of its players adds while the query is whole (paper eq. 2)."""
        return self["given_other"][:, self.n_query :]

    @property
    def map_gaps(self) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """The gap of each map: `v(N)`, minus the similarity without that image, minus the sum of the map.

        Raises:
            ValueError: the maps were not computed.
        """
        if self.without_query is None or self.without_retrieved is None:
            raise ValueError(f"Expected the similarities without each image, but this result does not have them. {WITHOUT_MAPS}")
        query, retrieved = self.full - self.without_query, self.full - self.without_retrieved
        return query - self.query_map.sum(1), retrieved - self.retrieved_map.sum(1)

    @property
    def query_marginal(self) -> Float[Tensor, "batch query"]:
        """The marginal credit of the query players."""
        return self["marginal"][:, : self.n_query]

    @property
    def retrieved_marginal(self) -> Float[Tensor, "batch retrieved"]:
        """The marginal credit of the retrieved players."""
        return self["marginal"][:, self.n_query :]

    def project(self, signal: Shaped[Tensor, "batch ..."], direction: str = "query->retrieved") -> Float[Tensor, "batch players"]:
        r"""Carry a signal over one image to the players of the other, $\sum_i a_i \phi_{ij}$.

        Args:
            signal: a weight for each player `[B, n]`, or a mask over the image `[B, H, W]`, which is averaged over each player.
            direction: `"query->retrieved"` or `"retrieved->query"`.

        Raises:
            ValueError: the direction is unknown, or the signal is a mask and the players are not parts of an image.
        """
        if direction not in DIRECTIONS:
            raise ValueError(f"Expected direction to be one of {DIRECTIONS}, got {direction!r}.")
        forward = direction == DIRECTIONS[0]
        between = self["between"] if forward else self["between"].mT
        signal = signal.to(between)
        if signal.dim() > 2:
            players = self.query_players if forward else self.retrieved_players
            if players is None or players.ids.dim() != 4:
                raise ValueError(
                    f"Expected a weight for each player [B, n], got shape {tuple(signal.shape)}. A mask needs players in an image."
                )
            signal = average(signal, players)
        return project(between, signal)

    def save(self, path: str | Path) -> None:
        """Write everything to a safetensors file. An interrupted write leaves no partial file."""
        write_result(path, vars(self))

    @staticmethod
    def load(path: str | Path) -> "Interactions":
        """Read a file that `save` wrote.

        Raises:
            ValueError: the file holds something else, or is damaged.
        """
        fields = read_result(path)
        try:
            return Interactions(**fields)
        except (ValueError, TypeError) as error:
            raise make_file_error(path, CONTENT, str(error)) from error


def split_blocks(second_order: Float[Tensor, "batch players players"], n_query: int) -> dict[str, Any]:
    """The three blocks of matrices of all pairs, by name. It is the inverse of `Interactions.second_order`."""
    return {
        "between": second_order[:, :n_query, n_query:],
        "within_query": second_order[:, :n_query, :n_query],
        "within_retrieved": second_order[:, n_query:, n_query:],
    }


def make_interactions(ends: Float[Tensor, "2"], n_query: int, n_evaluations: int, **blocks: Any) -> Interactions:
    """The interactions of one game, from `v(∅)` and `v(N)` and the blocks, each a batch of one."""
    return Interactions(n_query=n_query, empty=ends[:1], full=ends[1:], n_evaluations=torch.tensor([n_evaluations], device="cpu"), **blocks)


def project(between: Between, query_signal: Float[Tensor, "batch query"]) -> Float[Tensor, "batch retrieved"]:
    r"""Carry weights `[B, n_q]` of query players to the retrieved players `[B, n_r]`, $\sum_i a_i \phi_{ij}$ (paper §5.3).

    >>> project(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), torch.tensor([[1.0, 0.5]]))
    tensor([[2.5000, 4.0000]])

    See also `Interactions.project`, which takes masks too, and `project_attention`, which needs no matrix.
    """
    return torch.einsum("bi,bij->bj", query_signal, between)


def stack_interactions(pairs: Sequence[Interactions]) -> Interactions:
    """One batch of the interactions of several pairs with the same numbers of players, with the blocks that all of them have."""

    def concatenate(parts: Sequence[Credits]) -> dict[str, Any]:
        names = [name for name in vars(parts[0]) if all(isinstance(getattr(part, name), Tensor) for part in parts)]
        return {name: torch.cat([getattr(part, name) for part in parts]) for name in names}

    errors = [pair.standard_error for pair in pairs if pair.standard_error is not None]
    standard_error = Credits(**concatenate(errors)) if len(errors) == len(pairs) else None
    sources = [pair.sources for pair in pairs if pair.sources is not None]
    return Interactions(
        n_query=pairs[0].n_query,
        standard_error=standard_error,
        index=pairs[0].index,
        r2_law=pairs[0].r2_law,
        sources=tuple(source for group in sources for source in group) if len(sources) == len(pairs) else None,
        **concatenate(pairs),
    )
