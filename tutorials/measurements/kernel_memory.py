"""Time and memory of the second-order kernel's fit, compared with a dense weighted least-squares solution of the same rows.

    python tutorials/measurements/kernel_memory.py

Two towers of 49 + 49 players (two 7x7 maps) have 4753 pairs, fitted to 20 000 distinct coalitions in float64. Each solver runs in a new
process on one thread. The time to draw and evaluate the coalitions is the same for both and is not counted. `gels` is the fastest driver of
torch; the default driver on a CPU, `gelsy`, takes several times as long.
"""

import multiprocessing
import os
import resource
import sys
import time

import torch
import torch.nn.functional as F
from torch import Tensor

from captum_pairwise.estimators.regression.kernel_taylor import fit_pairs
from captum_pairwise.estimators.regression.sampling import WeightedCoalitions, distinct, taylor_law
from captum_pairwise.games.game import TwoTowerGame

CELLS, N_SAMPLES = 49, 20_000


def two_towers() -> TwoTowerGame:
    """Cosine similarity of the pooled random maps of two images."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(2, CELLS, 64, generator=generator, dtype=torch.float64).square()
    query, retrieved = (lambda z, cells=cells: F.normalize(0.2 + z.double() @ cells, dim=1) for cells in maps)
    return TwoTowerGame(CELLS, CELLS, query, retrieved)


def build_rows() -> tuple[WeightedCoalitions, Tensor, Tensor]:
    """Coalitions, their values minus the single players, and the sum of all pairs."""
    game = two_towers()
    n_players = game.n_players
    drawn = distinct(taylor_law(n_players), N_SAMPLES, torch.Generator().manual_seed(0))
    empty, full = game.values(torch.tensor([[False], [True]]).expand(2, n_players))
    first = game.values(torch.eye(n_players, dtype=torch.bool)) - empty
    return drawn, game.values(drawn.coalitions) - empty - drawn.coalitions.double() @ first, full - empty - first.sum()


def solve_normal_equations(drawn: WeightedCoalitions, left: Tensor, total: Tensor) -> Tensor:
    return fit_pairs(drawn, left, total, None, "too few", subtract_sizes=False)


def solve_dense(drawn: WeightedCoalitions, left: Tensor, total: Tensor) -> Tensor:
    i, j = torch.triu_indices(2 * CELLS, 2 * CELLS, 1)
    design = (drawn.coalitions[:, i] & drawn.coalitions[:, j]).double()
    target, root = left - total * design[:, -1], drawn.weights.sqrt()[:, None]
    design = design[:, :-1].sub_(design[:, -1:]).mul_(root)  # the last pair is the sum minus the other pairs
    free = torch.linalg.lstsq(design, root * target[:, None], driver="gels").solution[:, 0]
    return torch.cat([free, total[None] - free.sum()])


def read_peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)


def measure(name: str) -> tuple[float, float, list[float]]:
    """Seconds, GiB in addition to the rows, and the pairs."""
    rows = build_rows()
    solve = {"ours": solve_normal_equations, "dense": solve_dense}[name]
    before, start = read_peak_gib(), time.perf_counter()
    pairs = solve(*rows)
    return time.perf_counter() - start, read_peak_gib() - before, pairs.tolist()


def main() -> None:
    print(f"{2 * CELLS} players, {CELLS * (2 * CELLS - 1)} pairs, {N_SAMPLES} distinct coalitions, one thread:")
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that start below
    results = {}
    for name, solver in (("ours", "normal equations and Cholesky"), ("dense", "dense weighted lstsq (gels)")):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            results[name] = seconds, gib, _ = pool.apply(measure, (name,))
        print(f"  {solver}: {seconds:.1f} s, {gib:.2f} GiB more memory")
    (fast, little, found), (slow, much, again) = results["ours"], results["dense"]
    print(f"{slow / fast:.1f}x faster, {much / little:.1f}x less memory")
    difference, largest = (torch.tensor(found) - torch.tensor(again)).abs().max(), torch.tensor(again).abs().max()
    print(f"largest difference of the results: {difference:.1e}, of pairs up to {largest:.1e}")


if __name__ == "__main__":
    main()
