"""SBSM's matrix of pixels by pixels, as weighted pairs of windows: far too large to be built, and of low rank."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from captum_pairwise.players.regions import Players, pixel_shares
from captum_pairwise.players.windows import Windows
from captum_pairwise.results.interactions import DIRECTIONS, Interactions

ROWS_AT_ONCE = 2**14


@dataclass(frozen=True, kw_only=True)
class WindowPairs:
    r"""Pairs of occluding windows of a batch of pairs of images, and by how much each raises the similarity.

    $$C(p, p') = \sum_k w_k \, [p \in M_k] \, [p' \in M'_k] \Big/ \sum_k w_k \, [p \in M_k]$$

    is the matrix they stand for, of query pixels by retrieved pixels: of the weight of the windows over `p`, the share that comes with
    windows over `p'` (paper §A.11). It is 0 where no window over `p` has weight. Seen from the retrieved image the sum below runs over the
    windows over `p'`, and the matrix is another.

    Attributes:
        weights: `w_k`, of each pair of images.
        drawn: the numbers of the query window and of the retrieved window of each pair, the same for the whole batch.
        query_windows: where the query's windows lie.
        retrieved_windows: the same of the retrieved image.
        full: `v(N)`, the similarity of the two images.
        n_evaluations: pairs of occluded images compared; of two towers, images embedded by either.
        query_players: the parts that `interactions` speaks of.
        retrieved_players: the same of the retrieved image.
    """

    weights: Float[Tensor, "batch samples"]
    drawn: Int[Tensor, "2 samples"]
    query_windows: Windows
    retrieved_windows: Windows
    full: Float[Tensor, " batch"]
    n_evaluations: Int[Tensor, " batch"]
    query_players: Players
    retrieved_players: Players

    def __repr__(self) -> str:
        return f"WindowPairs(pairs={len(self.full)}, samples={self.drawn.shape[1]})"

    def project(self, signal: Shaped[Tensor, "batch ..."], direction: str = DIRECTIONS[0]) -> Float[Tensor, "batch height width"]:
        r"""Carry a signal over one image to the pixels of the other, $\sum_p a_p C(p, p')$.

        Args:
            signal: over an image, `[B, H, W]` or `[B, 1, H, W]`, of any size; it is area-averaged to the size of the images.
            direction: `"query->retrieved"` or `"retrieved->query"`, which takes the matrix as seen from the retrieved image.

        Raises:
            ValueError: the direction is neither, or the signal is not over an image.
        """
        if direction not in DIRECTIONS:
            raise ValueError(f"Expected direction to be one of {DIRECTIONS}, got {direction!r}.")
        if signal.dim() < 3 or len(signal) != len(self.weights):
            raise ValueError(
                f"Expected a signal over each image, [{len(self.weights)}, H, W], got shape {tuple(signal.shape)}. For a weight of each "
                "part call `.interactions().project(...)`."
            )
        sides = ((self.query_windows, self.drawn[0]), (self.retrieved_windows, self.drawn[1]))
        (source, out), (target, back) = sides if direction == DIRECTIONS[0] else sides[::-1]
        pixels = F.adaptive_avg_pool2d(signal.to(self.weights).reshape(len(signal), -1, *signal.shape[-2:]), source.size).mean(1)
        projected = []
        for weights, one in zip(self.weights, pixels, strict=True):
            seen = source.collect(one * _inverse_weight(source, out, weights))
            projected.append(target.deposit(_carry_signal(seen[:, None], out, back, weights, target.n_windows)[:, 0]))
        return torch.stack(projected)

    def interactions(self) -> Interactions:
        """The mean of `C`, as seen from the query, over each pair of parts: `between`, from 0 to 1. SBSM credits nothing else.

        `empty` is NaN: no coalition of SBSM's is without any part.
        """
        between = torch.stack([self._between(example) for example in range(len(self.full))])
        return Interactions(
            n_query=self.query_players.n_players,
            empty=torch.full_like(self.full, torch.nan),
            full=self.full,
            n_evaluations=self.n_evaluations,
            between=between,
            query_players=self.query_players,
            retrieved_players=self.retrieved_players,
        )

    def _between(self, example: int) -> Float[Tensor, "query retrieved"]:
        query, retrieved, weights = self.query_windows, self.retrieved_windows, self.weights[example]
        sources = pixel_shares(self.query_players, example, query.size, weights.dtype)
        targets = pixel_shares(self.retrieved_players, example, retrieved.size, weights.dtype)
        seen = query.collect(sources * _inverse_weight(query, self.drawn[0], weights))
        return seen @ _carry_signal(retrieved.collect(targets).T, self.drawn[1], self.drawn[0], weights, query.n_windows)


def _inverse_weight(windows: Windows, places: Int[Tensor, " samples"], weights: Tensor) -> Float[Tensor, "height width"]:
    """One over the weight of the windows over each pixel; 0 where there is none."""
    weight = windows.deposit(weights.new_zeros(windows.n_windows).index_add_(0, places.to(weights.device), weights))
    return torch.where(weight > 0, 1 / weight, 0)


def _carry_signal(
    signal: Float[Tensor, "source_windows columns"],
    source: Int[Tensor, " samples"],
    target: Int[Tensor, " samples"],
    weights: Float[Tensor, " samples"],
    n_windows: int,
) -> Float[Tensor, "target_windows columns"]:
    """Signals of the windows of one image at those that they were drawn with, `Σ_k w_k s(source_k) [target_k]`."""
    carried = signal.new_zeros(n_windows, signal.shape[1])
    for some in torch.arange(len(weights)).split(ROWS_AT_ONCE):
        index = [places[some].to(signal.device) for places in (source, target)]
        carried.index_add_(0, index[1], weights[some.to(weights.device), None] * signal[index[0]])
    return carried
