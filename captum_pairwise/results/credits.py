"""Credits of players and of pairs of players, by name."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

AXES = {
    "first_order": ("players",),
    "marginal": ("players",),
    "given_other": ("players",),
    "between": ("query", "retrieved"),
    "within_query": ("query", "query"),
    "within_retrieved": ("retrieved", "retrieved"),
}
Between = Float[Tensor, "batch query retrieved"]
WITHOUT_MAPS = (
    "LIME and SBSM have no heat maps of pairs, and a small n_samples is spent on the pairs alone. Raise n_samples, or take "
    "FactorisedShapleyTaylor or KernelShapley."
)


@dataclass(frozen=True, kw_only=True)
class Credits:
    r"""Credits of players and of pairs of players, for a batch of games. A block that was not computed is None, never zeros.

    Attributes:
        first_order: $\phi_i$, query players first.
        marginal: a player's own credit and half of the credit of each of its pairs, $\phi_i + \frac{1}{2} \sum_j \phi_{ij}$. For
            efficient indices these are the Shapley values, for integrated Hessians the integrated gradients.
        given_other: the Shapley value (or integrated gradient) of a player in the game of its own image, with the whole other image
            present (paper eq. 2). This is the heat map of each image.
        between: $\phi_{ij}$ of a query player and a retrieved player.
        within_query: $\phi_{ij}$ of two query players, symmetric with a zero diagonal. Each entry is the full credit of the unordered pair.
        within_retrieved: the same of two retrieved players.
    """

    first_order: Float[Tensor, "batch players"] | None = None
    marginal: Float[Tensor, "batch players"] | None = None
    given_other: Float[Tensor, "batch players"] | None = None
    between: Between | None = None
    within_query: Float[Tensor, "batch query query"] | None = None
    within_retrieved: Float[Tensor, "batch retrieved retrieved"] | None = None

    def __getitem__(self, name: str) -> Float[Tensor, "batch ..."]:
        """The block of this name.

        Raises:
            ValueError: the block was not computed.
        """
        block = getattr(self, name)
        if block is None:
            advice = WITHOUT_MAPS if name == "given_other" else "Take a method that computes it, or compute it in yours."
            raise ValueError(f"Expected {name} to have been computed, but this result does not have it. {advice}")
        return block


def get_blocks(credits: Credits) -> dict[str, Tensor]:
    """The blocks that were computed, by name."""
    return {name: block for name in AXES if (block := getattr(credits, name)) is not None}


def sum_pairs(blocks: Mapping[str, Tensor], weights: Float[Tensor, "*batch players"]) -> Float[Tensor, "*batch players"]:
    r"""$\sum_j w_j \phi_{ij}$ of each player over the pairs that are known.

    Args:
        blocks: the pairs by the name of their block, with `"between"`; other blocks but those within an image are not read.
        weights: $w_j$, the query's players first.
    """
    query, retrieved = weights.tensor_split([blocks["between"].shape[-2]], -1)
    sums = [torch.einsum("...ij,...j->...i", blocks["between"], retrieved), torch.einsum("...ij,...i->...j", blocks["between"], query)]
    for side, (name, own) in enumerate({"within_query": query, "within_retrieved": retrieved}.items()):
        if name in blocks:
            sums[side] = sums[side] + torch.einsum("...ij,...j->...i", blocks[name], own)
    return torch.cat(sums, -1)
