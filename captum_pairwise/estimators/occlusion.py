"""SBSM (paper §A.11): the decrease of the value by an occluded window of one image, and the increase by a window of each image."""

import warnings

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from captum_pairwise.estimators.draws import default_generator
from captum_pairwise.games.game import Game, TwoTowerGame
from captum_pairwise.players.windows import Windows

ROWS_AT_ONCE = 2**16
ROUNDING = 16  # error of a value by rounding, in units in the last place
Coalitions = Bool[Tensor, "_ _"]  # the present players of one image while each of its windows is occluded
Drawn = Int[Tensor, "2 samples"]
Samples = Float[Tensor, " samples"]
Scalar = Float[Tensor, ""]


def sbsm(game: Game, windows: Windows) -> Float[Tensor, "height width"]:
    """The mean decrease of the value over all windows that occlude a pixel (paper eq. 10).

    `Σ_k w_k [p ∈ M_k] / Σ_k [p ∈ M_k]` with `w_k = max(v(N) - v(N without window k), 0)`, and 0 for pixels without a window. The paper
    prints `min[d(M q, r) - d(q, r), 0]`, but its text wants a large `w` if the occlusion makes the images less similar, as do Dong et
    al. (2019). A decrease within rounding errors is kept, however small. If there is no larger one, the map is 0, with a warning.

    Args:
        game: a game whose players are the bands of the windows.
        windows: the windows.

    >>> from captum_pairwise.games.game import CallableGame
    >>> from captum_pairwise.players.windows import sliding_windows
    >>> of_two_rows = CallableGame(3, 0, lambda z: (z * torch.tensor([5.0, -1.0, 0.0])).sum(1))
    >>> sbsm(of_two_rows, sliding_windows(2, 3, (1, 3), (1, 3)))
    tensor([[5., 5., 5.],
            [0., 0., 0.]])
    """
    occluded = windows.occlusions()
    values = game.values(torch.cat([torch.ones_like(occluded[:1]), occluded]))
    decreases = (values[0] - values[1:]).clamp(min=0)
    if not (decreases > _rounding_error(values.abs().max())).any():
        warnings.warn(
            "No window lowers the similarity when occluded, so SBSM gives only zeros. Pass `baselines` unlike the image.", stacklevel=2
        )
        decreases = torch.zeros_like(decreases)
    covered = windows.deposit(torch.ones_like(decreases))
    return torch.where(covered > 0, windows.deposit(decreases) / covered, 0)


def _rounding_error(largest: Scalar) -> Scalar:
    """The largest difference by rounding between values that are sums of terms as large as `largest`."""
    return ROUNDING * torch.finfo(largest.dtype).eps * largest


def draw_window_pairs(n_query: int, n_retrieved: int, n_samples: int, generator: torch.Generator | None = None) -> Drawn:
    """Uniform pairs of a query window and a retrieved window, drawn with replacement; each pair once if `n_samples` covers all.

    Raises:
        ValueError: there is no sample.

    >>> draw_window_pairs(2, 1, 10).tolist()
    [[0, 1], [0, 0]]
    """
    if n_samples < 1:
        raise ValueError(f"Expected n_samples of at least 1, got {n_samples}. Take thousands of pairs of windows, the default is 20000.")
    if n_query * n_retrieved <= n_samples:
        return torch.cartesian_prod(torch.arange(n_query, device="cpu"), torch.arange(n_retrieved, device="cpu")).T.reshape(2, -1)
    generator = default_generator(generator)
    drawn = [torch.randint(n, (n_samples,), generator=generator, device=generator.device) for n in (n_query, n_retrieved)]
    return torch.stack(drawn).cpu()


def measure_rises(game: Game, query: Coalitions, retrieved: Coalitions, drawn: Drawn) -> tuple[Samples, Scalar]:
    """The increase of the value by each pair of occlusions, `w_k = max(v(A_k, B_k) - v(N), 0)` (paper eq. 11), and `v(N)`.

    The paper prints `min[d(q, r) - d(M q, M' r), 0]`, but its text, and eq. 10, want occlusions that make the images more similar. For a
    distance `d` that is `max(d(q, r) - d(M q, M' r), 0)`; here the value is a similarity. An increase within rounding errors counts as 0.

    Args:
        game: the game.
        query: for every window of the query, the players that are present when it is occluded.
        retrieved: the same for the retrieved image.
        drawn: the pairs of windows.

    >>> from captum_pairwise.games.game import CallableGame
    >>> decreasing = CallableGame(1, 1, lambda z: -z.sum(1).float())
    >>> measure_rises(decreasing, torch.tensor([[False], [True]]), torch.tensor([[True], [False]]), draw_window_pairs(2, 2, 4))
    (tensor([1., 2., 0., 1.]), tensor(-2.))
    """
    values, full, largest = _evaluate_occlusions(game, query, retrieved, drawn)
    rise = values - full
    weights = torch.where(rise > _rounding_error(largest), rise, 0)
    if not weights.any():
        warnings.warn(
            "No pair of windows raises the similarity when occluded, so SBSM gives only zeros (usual for near duplicates).", stacklevel=2
        )
    return weights, full


def _evaluate_occlusions(game: Game, query: Coalitions, retrieved: Coalitions, drawn: Drawn) -> tuple[Samples, Scalar, Scalar]:
    """`v(A_k, B_k)`, `v(N)`, and a bound of the terms in them. Each tower of a two-tower game embeds each drawn window once.

    Terms of an inner product may be far larger than the product: the terms of a Euclidean distance cancel.
    """
    if not isinstance(game, TwoTowerGame):
        rows = torch.cat([query[drawn[0]], retrieved[drawn[1]]], 1)
        values = game.values(torch.cat([torch.ones_like(rows[:1]), rows]))
        return values[1:], values[0], values.abs().max()
    towers, largest = [], torch.ones((), dtype=torch.float64, device="cpu")
    for embed, windows, chosen in ((game.embed_query, query, drawn[0]), (game.embed_retrieved, retrieved, drawn[1])):
        used, place = chosen.unique(return_inverse=True)
        embeddings = embed(torch.cat([torch.ones_like(windows[:1]), windows[used]]))
        towers.append((embeddings[0], embeddings[1:], place.to(embeddings.device)))
        largest = largest.to(embeddings) * embeddings.norm(dim=1).max()
    (full_query, u, a), (full_retrieved, w, b) = towers
    return _multiply_pairs(u, w, a, b), full_query @ full_retrieved, largest


def _multiply_pairs(u: Float[Tensor, "a channels"], w: Float[Tensor, "b channels"], a: Tensor, b: Tensor) -> Samples:
    """`<u_a, w_b>` for each pair, from the table of all pairs if many of them are wanted."""
    if 8 * len(a) > len(u) * len(w):
        return (u @ w.T)[a, b]
    return torch.cat([(u[i] * w[j]).sum(1) for i, j in zip(a.split(ROWS_AT_ONCE), b.split(ROWS_AT_ONCE), strict=True)])
