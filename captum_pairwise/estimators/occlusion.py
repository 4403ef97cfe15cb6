"""How much occluding a window of one image lowers the value, and a window of each of two images raises it (SBSM, paper §A.11)."""

import warnings

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from captum_pairwise.games.game import Game, TwoTowerGame
from captum_pairwise.players.windows import Windows

ROWS_AT_ONCE = 2**16
ROUNDING = 16  # units in the last place that a value may be off


def sbsm(game: Game, windows: Windows) -> Float[Tensor, "height width"]:
    """How much the value falls when a window over a pixel is occluded, the mean over these windows (paper eq. 10).

    `Σ_k w_k [p ∈ M_k] / Σ_k [p ∈ M_k]` with `w_k = max(v(N) - v(N without window k), 0)`, and 0 where no window lies. The paper prints
    `min[d(M q, r) - d(q, r), 0]`; its text wants `w` large where the occlusion takes the images apart, and so does Dong et al. (2019).
    A fall that rounding explains stays, as small as it is; if there is no other the map is 0, with a warning.

    Args:
        game: a game whose players are the bands of the windows.
        windows: where they lie.

    >>> from captum_pairwise.games.game import CallableGame
    >>> from captum_pairwise.players.windows import sliding_windows
    >>> of_two_rows = CallableGame(3, 0, lambda z: (z * torch.tensor([5.0, -1.0, 0.0])).sum(1))
    >>> sbsm(of_two_rows, sliding_windows(2, 3, (1, 3), (1, 3)))
    tensor([[5., 5., 5.],
            [0., 0., 0.]])
    """
    occluded = windows.occlusions()
    values = game.values(torch.cat([torch.ones_like(occluded[:1]), occluded]))
    falls = (values[0] - values[1:]).clamp(min=0)
    if not (falls > _noise(values.abs().max())).any():
        warnings.warn(
            "No window lowers the similarity when occluded, so SBSM gives no credit to this image, all zeros. Images that already show "
            "the fill are like that; `baselines` chooses another.",
            stacklevel=2,
        )
        falls = torch.zeros_like(falls)
    covered = windows.deposit(torch.ones_like(falls))
    return torch.where(covered > 0, windows.deposit(falls) / covered, 0)


def _noise(largest: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """The largest difference that rounding explains between values that are sums of terms as large as this."""
    return ROUNDING * torch.finfo(largest.dtype).eps * largest


def draw_window_pairs(n_query: int, n_retrieved: int, n_samples: int, generator: torch.Generator | None = None) -> Int[Tensor, "2 samples"]:
    """Uniform pairs of a query window and a retrieved window, drawn with replacement; each pair once if the number covers them all.

    Raises:
        ValueError: there is no sample.

    >>> draw_window_pairs(2, 1, 10).tolist()
    [[0, 1], [0, 0]]
    """
    if n_samples < 1:
        raise ValueError(f"Expected n_samples of at least 1, got {n_samples}. Take thousands of pairs of windows, the default is 20000.")
    if n_query * n_retrieved <= n_samples:
        return torch.cartesian_prod(torch.arange(n_query), torch.arange(n_retrieved)).T.reshape(2, -1)
    generator = generator if generator is not None else torch.Generator().manual_seed(0)
    drawn = [torch.randint(n, (n_samples,), generator=generator, device=generator.device) for n in (n_query, n_retrieved)]
    return torch.stack(drawn).cpu()


def measure_rises(
    game: Game,
    query: Bool[Tensor, "query_windows query_players"],
    retrieved: Bool[Tensor, "retrieved_windows retrieved_players"],
    drawn: Int[Tensor, "2 samples"],
) -> tuple[Float[Tensor, " samples"], Float[Tensor, ""]]:
    """How much each pair of occlusions raises the value, `w_k = max(v(A_k, B_k) - v(N), 0)` (paper eq. 11), and `v(N)`.

    The paper prints `min[d(q, r) - d(M q, M' r), 0]`; its text, and eq. 10, want the occlusions that make the images more alike. For a
    distance `d` that is `max(d(q, r) - d(M q, M' r), 0)`, and the value is a similarity. What rounding explains counts as no rise.

    Args:
        game: the game.
        query: the players present when a window of the query is occluded, for every window.
        retrieved: the same of the retrieved image.
        drawn: the pairs of windows.

    >>> from captum_pairwise.games.game import CallableGame
    >>> the_more_the_less = CallableGame(1, 1, lambda z: -z.sum(1).float())
    >>> measure_rises(the_more_the_less, torch.tensor([[False], [True]]), torch.tensor([[True], [False]]), draw_window_pairs(2, 2, 4))
    (tensor([1., 2., 0., 1.]), tensor(-2.))
    """
    values, full, largest = _values(game, query, retrieved, drawn)
    rise = values - full
    weights = torch.where(rise > _noise(largest), rise, 0)
    if not weights.any():
        warnings.warn(
            "No pair of windows raises the similarity when occluded, so SBSM gives no credit to this pair of images, all zeros. Near "
            "duplicates are like that: nothing makes them more alike.",
            stacklevel=2,
        )
    return weights, full


def _values(
    game: Game, query: Bool[Tensor, "..."], retrieved: Bool[Tensor, "..."], drawn: Int[Tensor, "2 samples"]
) -> tuple[Float[Tensor, " samples"], Float[Tensor, ""], Float[Tensor, ""]]:
    """`v(A_k, B_k)`, `v(N)`, and how large a term of them may be; each tower of a two-tower game embeds each drawn window once.

    Terms of an inner product may be far larger than it is: those of a Euclidean distance cancel.
    """
    if not isinstance(game, TwoTowerGame):
        rows = torch.cat([query[drawn[0]], retrieved[drawn[1]]], 1)
        values = game.values(torch.cat([torch.ones_like(rows[:1]), rows]))
        return values[1:], values[0], values.abs().max()
    towers, largest = [], torch.ones(())
    for embed, windows, chosen in ((game.embed_query, query, drawn[0]), (game.embed_retrieved, retrieved, drawn[1])):
        used, place = chosen.unique(return_inverse=True)
        embeddings = embed(torch.cat([torch.ones_like(windows[:1]), windows[used]]))
        towers.append((embeddings[0], embeddings[1:], place.to(embeddings.device)))
        largest = largest.to(embeddings) * embeddings.norm(dim=1).max()
    (whole_query, u, a), (whole_retrieved, w, b) = towers
    return _products(u, w, a, b), whole_query @ whole_retrieved, largest


def _products(
    u: Float[Tensor, "query_windows channels"], w: Float[Tensor, "retrieved_windows channels"], a: Tensor, b: Tensor
) -> Float[Tensor, " samples"]:
    """`<u_a, w_b>` for each pair, read off the table of all pairs where most are wanted."""
    if 8 * len(a) > len(u) * len(w):
        return (u @ w.T)[a, b]
    rows = zip(a.split(ROWS_AT_ONCE), b.split(ROWS_AT_ONCE), strict=True)
    return torch.cat([(u[i] * w[j]).sum(1) for i, j in rows])
