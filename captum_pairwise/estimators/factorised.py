"""The factorised estimator: Shapley–Taylor indices of a two-tower game from coalitions of each tower alone."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from captum_pairwise.estimators.chains import Sample, Steps, draw, find_steps
from captum_pairwise.estimators.coalitions import all_coalitions
from captum_pairwise.estimators.exact import enumerated_summary
from captum_pairwise.estimators.tower import Path, TowerSummary, combine, combine_between, diagonal_path
from captum_pairwise.game import TwoTowerGame, memory_of
from captum_pairwise.interactions import Credits, Interactions

Embeddings = Float[Tensor, "coalitions channels"]
Share = Callable[[TowerSummary, TowerSummary, Path], Credits]
# how two summaries make credits, and which of these are then sampled
SAMPLED: dict[Share, tuple[str, ...]] = {combine: ("marginal", "between"), combine_between: ("first_order", "marginal", "between")}


def factorised(game: TwoTowerGame, n_samples: int, *, share: Share = combine, generator: torch.Generator | None = None) -> Interactions:
    """Shapley–Taylor indices between the images, exact first order and Shapley values, from `n_samples` embeddings per tower.

    The slope of a tower is a mean over coalition sizes, `E_p[u(A∪i) - u(A)] = Σ_a P_p(|A|=a) D_i^a`. Chains of growing coalitions give
    a sample of `D_i^a` for every two embedded coalitions that differ by one player; a size at which a player was never seen to
    enter is interpolated. A tower whose coalitions all fit the budget is enumerated; with both, the result is exact. The
    standard errors leave out one group of chains at a time (jackknife), tower by tower: 0 where all was enumerated, NaN where there is one
    group, too small (by a fifth or so) with two or three, and too large where most coalitions were drawn.

    Args:
        game: the game.
        n_samples: embeddings per tower, beside those of the full and the empty image.
        share: `combine` for Shapley–Taylor indices, `combine_between` for the credit of pairs between the images alone.
        generator: the source of randomness; one seeded with 0 if None.

    Raises:
        ValueError: the budget is too small for the number of players.

    >>> bilinear = TwoTowerGame(2, 1, lambda z: z * torch.tensor([1.0, 2.0]), lambda z: 5.0 * z.expand(-1, 2))
    >>> factorised(bilinear, 2).between
    tensor([[[ 5.],
             [10.]]])
    """
    generator = generator if generator is not None else torch.Generator().manual_seed(0)
    path = diagonal_path(game.n_players)
    query = _tower_estimate(game.embed_query, game.n_query, n_samples, path, generator)
    retrieved = _tower_estimate(game.embed_retrieved, game.n_retrieved, n_samples, path, generator)
    credits = share(query.summary, retrieved.summary, path)
    return Interactions(
        n_query=game.n_query,
        empty=(query.summary.empty @ retrieved.summary.empty)[None],
        full=(query.summary.full @ retrieved.summary.full)[None],
        first_order=credits.first_order,
        marginal=credits.marginal,
        between=credits.between,
        standard_error=_standard_error(credits, query, retrieved, path, share),
        n_evaluations=torch.tensor([game.n_evaluations]),
    )


@dataclass(frozen=True)
class _TowerEstimate:
    """A tower's summary, and the summaries without each group of chains in turn: none of a tower that was enumerated."""

    summary: TowerSummary
    leave_one_out: Callable[[], Iterator[TowerSummary]]


def _tower_estimate(
    embed: Callable[[Tensor], Tensor], n_players: int, n_samples: int, path: Path, generator: torch.Generator
) -> _TowerEstimate:
    if 2**n_players <= n_samples + 2:
        return _TowerEstimate(enumerated_summary(embed(all_coalitions(n_players)), path), lambda: iter(()))
    ends = embed(torch.tensor([[False], [True]]).expand(2, n_players))
    _refuse_beyond_memory(ends, n_players, path)
    sample = draw(n_players, n_samples, generator)
    embeddings, steps = torch.cat([ends, embed(sample.coalitions[2:])]), find_steps(sample.coalitions)
    every_step, every_row = slice(None), slice(None)
    step_sums, row_sums = _step_sums(embeddings, steps, every_step), _row_sums(embeddings, sample, every_row)

    drawn_by = torch.maximum(sample.group[steps.before], sample.group[steps.after])  # the group that completed the step

    def leave_one_out() -> Iterator[TowerSummary]:
        for group in range(sample.n_groups):
            rows = sample.group == group
            fewer_steps = step_sums - _step_sums(embeddings, steps, drawn_by == group)
            yield _summary(embeddings, fewer_steps, row_sums - _row_sums(embeddings, sample, rows), path)

    return _TowerEstimate(_summary(embeddings, step_sums, row_sums, path), leave_one_out)


def _refuse_beyond_memory(ends: Embeddings, n_players: int, path: Path) -> None:
    """Both towers hold the sums of their steps, twice to leave groups out, and their slopes."""
    needed = 2 * ends[0].nbytes * n_players * (2 * n_players + 2 * len(path.nodes))
    has = memory_of(ends.device)
    if needed > has:
        raise ValueError(
            f"Expected fewer players: the interactions of {n_players} players with {ends.shape[1]} channels need {needed / 2**30:.0f} GiB, "
            f"and there are {has / 2**30:.0f} GiB. Group them with a coarser mask, or take a deeper layer."
        )


Selection = Bool[Tensor, " rows"] | slice


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


def _summary(embeddings: Embeddings, step_sums: Tensor, row_sums: Tensor, path: Path) -> TowerSummary:
    """Read the expectations at each node off the sums; rows 0, 1 and 2.. of a sample are nobody, all, and the single players."""
    return TowerSummary(
        empty=embeddings[0],
        full=embeddings[1],
        singles=embeddings[2 : 2 + len(step_sums)],
        slopes=_expectations(step_sums, path),
        means=_expectations(row_sums, path)[0],
    )


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


def _standard_error(credits: Credits, query: _TowerEstimate, retrieved: _TowerEstimate, path: Path, share: Share) -> Credits:
    """The jackknife over groups of chains, one tower at a time: the towers were drawn independently, so variances add.

    A tower that was enumerated adds nothing; one with a single group of chains, of which nothing is known, NaN.
    """
    without = [
        [share(part, retrieved.summary, path) for part in query.leave_one_out()],
        [share(query.summary, part, path) for part in retrieved.leave_one_out()],
    ]

    def error(name: str) -> Tensor:
        variance = torch.zeros_like(credits[name])
        for replicates in filter(None, without):
            stack = torch.stack([replicate[name] for replicate in replicates])
            variance = variance + ((len(stack) - 1) * stack.var(0, correction=0) if len(stack) > 1 else torch.nan)
        return variance**0.5

    return Credits(**{name: error(name) for name in SAMPLED[share]})
