"""What a tower does along the path, by means over the steps of chains of growing coalitions."""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from captum_pairwise.estimators.quadrature import Path
from captum_pairwise.estimators.towers.chains import Sample, Steps, find_steps
from captum_pairwise.estimators.towers.summary import Curves, TowerSummary, Variance

Embeddings = Float[Tensor, "coalitions channels"]
Selection = Bool[Tensor, " rows"] | slice
EVERY = slice(None)


def chain_summary(sample: Sample, embeddings: Embeddings, path: Path) -> TowerSummary:
    """The summary of a tower from the embeddings of chains.

    A slope is a mean over coalition sizes, `E_p[u(A∪i) - u(A)] = Σ_a P_p(|A|=a) D_i^a`, and every two embedded coalitions that differ by
    one player are a sample of `D_i^a`; a size at which a player was never seen to enter is interpolated. The variances leave out one group
    of chains at a time (jackknife): NaN where there is one group, too small (by a fifth or so) with two or three, and too large where
    most coalitions were drawn.
    """
    steps = find_steps(sample.coalitions)
    step_sums, row_sums = _step_sums(embeddings, steps, EVERY), _row_sums(embeddings, sample, EVERY)
    drawn_by = torch.maximum(sample.group[steps.before], sample.group[steps.after])  # the group that completed the step

    def fewer_steps(group: int) -> Tensor:
        return _expectations(step_sums - _step_sums(embeddings, steps, drawn_by == group), path)

    def fewer_rows(group: int) -> Tensor:
        return _expectations(row_sums - _row_sums(embeddings, sample, sample.group == group), path)

    return TowerSummary(
        empty=embeddings[0],
        full=embeddings[1],
        singles=embeddings[2 : 2 + len(step_sums)],
        slopes=Curves(_expectations(step_sums, path), _jackknife(lambda: map(fewer_steps, range(sample.n_groups)))),
        mean=Curves(_expectations(row_sums, path), _jackknife(lambda: map(fewer_rows, range(sample.n_groups)))),
    )


def _jackknife(leave_one_out: Callable[[], Iterator[Float[Tensor, "rows nodes channels"]]]) -> Variance:
    """The variance from the curves without each group of chains in turn."""

    def variance(others: Tensor, weights: Tensor) -> Tensor:
        weighted = (weights.to(others)[:, None] * others).flatten(1).T
        replicates = torch.stack([curves.flatten(1) @ weighted for curves in leave_one_out()])
        spread = (replicates - replicates.mean(0)).square().mean(0)  # `var` warns where there is nobody
        return (len(replicates) - 1) * spread if len(replicates) > 1 else replicates[0] * torch.nan

    return variance


def _with_count(rows: Float[Tensor, "rows channels"]) -> Float[Tensor, "rows counted_channels"]:
    """Append a column of ones, so that a sum of rows also counts them."""
    return torch.cat([rows, torch.ones_like(rows[:, :1])], 1)


def _step_sums(embeddings: Embeddings, steps: Steps, chosen: Selection) -> Float[Tensor, "players sizes counted_channels"]:
    """The sum, and the number, of the steps `u(A∪i) - u(A)` for each player and size of `A`."""
    n_players = len(steps.player.unique())
    cells = (steps.player * n_players + steps.size)[chosen].to(embeddings.device)
    moves = embeddings[steps.after[chosen]] - embeddings[steps.before[chosen]]
    sums = embeddings.new_zeros(n_players**2, embeddings.shape[1] + 1).index_add_(0, cells, _with_count(moves))
    return sums.reshape(n_players, n_players, -1)


def _row_sums(embeddings: Embeddings, sample: Sample, chosen: Selection) -> Float[Tensor, "1 sizes counted_channels"]:
    """The sum, and the number, of the embeddings of each size."""
    sizes = sample.coalitions.sum(1)[chosen].to(embeddings.device)
    sums = embeddings.new_zeros(sample.coalitions.shape[1] + 1, embeddings.shape[1] + 1)
    return sums.index_add_(0, sizes, _with_count(embeddings[chosen]))[None]


def _expectations(sums: Float[Tensor, "rows sizes counted_channels"], path: Path) -> Float[Tensor, "rows nodes channels"]:
    """`Σ_a P_p(a) mean_a` at each node, for every row."""
    weights = _size_probabilities(sums.shape[1] - 1, path) @ _interpolation(sums[..., -1].cpu())
    return weights.to(sums) @ sums[..., :-1]


def _interpolation(counts: Float[Tensor, "rows sizes"]) -> Float[Tensor, "rows sizes sizes"]:
    """The matrices that take sums to means, and fill sizes without a sample linearly from those around them."""
    counts = counts.double()
    size = torch.arange(counts.shape[1]).expand(counts.shape)
    last = torch.where(counts > 0, size, -1).cummax(1).values
    following = torch.where(counts > 0, size, len(size[0])).flip(1).cummin(1).values.flip(1)
    below = torch.where(last < 0, following, last)
    above = torch.where(following == len(size[0]), below, following)
    share = (size - below).to(counts) / (above - below).clamp(min=1)
    matrices = counts.new_zeros(*counts.shape, counts.shape[1])
    matrices.scatter_add_(2, below[..., None], 1 - share[..., None])
    matrices.scatter_add_(2, above[..., None], share[..., None])
    return matrices / counts.clamp(min=1)[:, None]


def _size_probabilities(n_players: int, path: Path) -> Float[Tensor, "nodes sizes"]:
    """The binomial probability of each size `0…n` when every one of `n` players is in with probability `p`."""
    binomial = torch.distributions.Binomial(n_players, path.nodes[:, None])
    return binomial.log_prob(torch.arange(n_players + 1, dtype=path.nodes.dtype)).exp()
