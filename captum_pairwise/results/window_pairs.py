"""SBSM's pixel-by-pixel matrix, kept as weighted pairs of windows. The matrix has low rank and is too large to build."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from captum_pairwise.network.autocast import disable_autocast
from captum_pairwise.players.regions import Players, pixel_shares
from captum_pairwise.players.windows import Windows
from captum_pairwise.results.interactions import DIRECTIONS, Interactions

ROWS_AT_ONCE = 2**14
Places = Int[Tensor, " samples"]  # numbers of windows


@dataclass(frozen=True, kw_only=True)
class WindowPairs:
    r"""Pairs of occluded windows for a batch of pairs of images, each weighted by how much it raises the similarity.

    They represent the matrix of query pixels by retrieved pixels (paper §A.11)

    $$C(p, p') = \sum_k w_k \, [p \in M_k] \, [p' \in M'_k] \Big/ \sum_k w_k \, [p \in M_k].$$

    It is the share of the weight over `p` that comes with windows over `p'`, and 0 if no window over `p` has weight. In the direction from
    the retrieved image to the query, the sum in the denominator runs over the windows over `p'`, which gives a different matrix.

    Attributes:
        weights: `w_k` for each pair of images.
        drawn: the number of the query window and of the retrieved window of each pair of windows, the same for the whole batch.
        query_windows: the windows of the query.
        retrieved_windows: the windows of the retrieved image.
        full: `v(N)`, the similarity of the two images.
        n_evaluations: number of pairs of occluded images that were compared; with two towers, the images embedded by either tower.
        query_players: the parts of the query that `interactions` uses.
        retrieved_players: the parts of the retrieved image that `interactions` uses.

    >>> from captum_pairwise import PairwiseSBSM
    >>> method = PairwiseSBSM(lambda query, retrieved: -(query - retrieved).abs().sum((1, 2, 3)))
    >>> pairs = method.window_pairs((torch.eye(4)[None, None], torch.zeros(1, 1, 4, 4)), sliding_window_shapes=2, strides=2)
    >>> pairs.weights.shape, pairs.query_windows.n_windows, pairs.project(torch.ones(1, 4, 4)).shape
    (torch.Size([1, 16]), 4, torch.Size([1, 4, 4]))

    See also `PairwiseSBSM`, which makes it, and `cp.metrics.label_propagation`.
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

    @disable_autocast()
    def project(self, signal: Shaped[Tensor, "batch ..."], direction: str = DIRECTIONS[0]) -> Float[Tensor, "batch height width"]:
        r"""Carry a signal over one image to the pixels of the other, $\sum_p a_p C(p, p')$.

        Args:
            signal: over an image, `[B, H, W]` or `[B, 1, H, W]`, of any size. It is area-averaged to the size of the images.
            direction: `"query->retrieved"` or `"retrieved->query"`.

        Raises:
            ValueError: the direction is unknown, or the signal is not over an image.
        """
        if direction not in DIRECTIONS:
            raise ValueError(f"Expected direction to be one of {DIRECTIONS}, got {direction!r}.")
        if signal.dim() < 3 or len(signal) != len(self.weights):
            raise ValueError(
                f"Expected a signal over each image, [{len(self.full)}, H, W], got shape {tuple(signal.shape)}. For parts see interactions."
            )
        sides = ((self.query_windows, self.drawn[0]), (self.retrieved_windows, self.drawn[1]))
        (source, out), (target, back) = sides if direction == DIRECTIONS[0] else sides[::-1]
        pixels = F.adaptive_avg_pool2d(signal.to(self.weights).reshape(len(signal), -1, *signal.shape[-2:]), source.size).mean(1)
        projected = []
        for weights, image in zip(self.weights, pixels, strict=True):
            sums = source.collect(image * _inverse_weight(source, out, weights))
            projected.append(target.deposit(_carry_signal(sums[:, None], out, back, weights, target.n_windows)[:, 0]))
        return torch.stack(projected)

    @disable_autocast()
    def interactions(self) -> Interactions:
        """The mean of `C`, in the direction from the query, over each pair of parts, as `between`, from 0 to 1.

        SBSM computes no other credit. `empty` is NaN, because SBSM evaluates no coalition without players.
        """
        return Interactions(
            n_query=self.query_players.n_players,
            empty=torch.full_like(self.full, torch.nan),
            full=self.full,
            n_evaluations=self.n_evaluations,
            between=torch.stack([self._average_parts(example) for example in range(len(self.full))]),
            query_players=self.query_players,
            retrieved_players=self.retrieved_players,
        )

    def _average_parts(self, example: int) -> Float[Tensor, "query retrieved"]:
        """The mean of `C` over each pair of parts."""
        query, retrieved, weights = self.query_windows, self.retrieved_windows, self.weights[example]
        sources = pixel_shares(self.query_players, example, query.size, weights.dtype)
        targets = pixel_shares(self.retrieved_players, example, retrieved.size, weights.dtype)
        sums = query.collect(sources * _inverse_weight(query, self.drawn[0], weights))
        return sums @ _carry_signal(retrieved.collect(targets).T, self.drawn[1], self.drawn[0], weights, query.n_windows)


def _inverse_weight(windows: Windows, places: Places, weights: Tensor) -> Float[Tensor, "height width"]:
    """One over the total weight of the windows over each pixel, or 0 if that is 0."""
    weight = windows.deposit(weights.new_zeros(windows.n_windows).index_add_(0, places.to(weights.device), weights))
    return torch.where(weight > 0, 1 / weight, 0)


def _carry_signal(
    signal: Float[Tensor, "source_windows columns"], source: Places, target: Places, weights: Tensor, n_windows: int
) -> Float[Tensor, "target_windows columns"]:
    """Carry a signal from the windows of one image to the windows drawn with them, `Σ_k w_k s(source_k) [target_k]`."""
    carried = signal.new_zeros(n_windows, signal.shape[1])
    for samples in torch.arange(len(weights), device="cpu").split(ROWS_AT_ONCE):
        sources, targets = (numbers[samples].to(signal.device) for numbers in (source, target))
        carried.index_add_(0, targets, weights[samples.to(weights.device), None] * signal[sources])
    return carried
