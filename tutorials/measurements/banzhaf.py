"""The weighted Banzhaf index from few embeddings: the factorised estimator against the regression of FIxLIP.

    python tutorials/measurements/banzhaf.py

Relative mean squared error of the pairs between the images of random ReLU towers, 16 + 16 players (game C of the convergence study), every
player present with probability 1/2: the mean over 6 games and 5 draws. FIxLIP (Baniecki et al. 2025) solves one least squares over the grid
of all masks of one side and all masks of the other; its solution is a product of two regressions, one a tower: `fit="regression"`.
The factorised estimator has standard errors: the share of the pairs within two of them should be about .95.
"""

import argparse
from dataclasses import replace

import torch
from torch import Tensor

from captum_pairwise.estimators.towers.factorisation import factorise
from captum_pairwise.estimators.towers.sampled_tower import TowerOptions
from captum_pairwise.evaluation.convergence.random_games import Lookup, TableGame, cosine_game
from captum_pairwise.games.game import TwoTowerGame
from captum_pairwise.results.index import parse_index

N_PLAYERS = 16
BUDGETS = (50, 100, 250, 500)
OPTIONS = TowerOptions(index=parse_index("banzhaf", 0.5))
REGRESSION = replace(OPTIONS, fit="regression")


def relative_error(estimate: Tensor, truth: Tensor) -> float:
    return ((estimate - truth).square().sum() / truth.square().sum()).item()


def build(table: TableGame) -> TwoTowerGame:
    query, retrieved = (Lookup(embeddings) for embeddings in table.tables)
    return TwoTowerGame(table.n_query, table.n_retrieved, query, retrieved)


def measure(n_samples: int, n_games: int, n_draws: int) -> None:
    regressions, estimates, covered = [], [], []
    for seed in range(n_games):
        table = cosine_game(seed, N_PLAYERS, N_PLAYERS)
        truth = factorise(build(table), 2**N_PLAYERS, OPTIONS)["between"][0]
        for draw in range(n_draws):
            regression, found = (
                factorise(build(table), n_samples, options, generator=torch.Generator().manual_seed(draw))  # a game keeps its embeddings
                for options in (REGRESSION, OPTIONS)
            )
            regressions.append(relative_error(regression["between"][0], truth))
            estimates.append(relative_error(found["between"][0], truth))
            covered.append(((found["between"][0] - truth).abs() < 2 * found.errors["between"][0]).double().mean().item())
    regression, factorised, share = (sum(numbers) / len(numbers) for numbers in (regressions, estimates, covered))
    print(f"  {n_samples:3d} embeddings per tower: regression {regression:.3f}, factorised {factorised:.4f}, within 2 errors {share:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one game and one draw: to see that the script runs")
    quick = parser.parse_args().quick
    print("relative MSE of the pairs, Banzhaf index with p = 0.5, 16 + 16 players:")
    for budget in BUDGETS[:2] if quick else BUDGETS:
        measure(budget, *((1, 1) if quick else (6, 5)))
