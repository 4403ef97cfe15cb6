"""Accuracy of the estimators when every embedding is a pass through a real network.

    python tutorials/measurements/superpixels.py
    python tutorials/measurements/superpixels.py --budgets 100 200 400 800 --reference 6000

Superpixels of the stereo motorcycle (43 + 43), EfficientNet-Lite0 at 224 pixels, cosine, blurred baselines. The pairs between the images
from a budget of passes for each photo are compared with a long run of the factorised estimator with other coalitions. `scale` is the slope
of the estimate on the reference: 1 means no shrinkage. The kernel cannot determine 3655 pairs from fewer coalitions, so it has a ridge.
"""

import argparse
from collections.abc import Callable, Iterator

import skimage.data
import torch
from torch import Tensor

import captum_pairwise as cp
from captum_pairwise import backbones
from captum_pairwise.estimators.gaussian.joint_process import gaussian_process
from captum_pairwise.estimators.permutation_sampling import permutation
from captum_pairwise.estimators.regression.kernel_taylor import kernel_taylor
from captum_pairwise.estimators.towers.factorisation import TowerOptions, factorise
from captum_pairwise.games.build import build_input_pairs
from captum_pairwise.games.context import ForwardContext
from captum_pairwise.games.game import CallableGame, TwoTowerGame
from captum_pairwise.results.interactions import Interactions

ROWS_OF_A_PERMUTATION = 1050  # approximate number of distinct coalitions of one photo in a permutation of both photos' players


def count_pairs(game: TwoTowerGame) -> int:
    return game.n_players * (game.n_players - 1) // 2 - 1


def build_game() -> TwoTowerGame:
    encoder = backbones.create("efficientnet_lite0")
    left, right, _ = skimage.data.stereo_motorcycle()
    photos = (encoder.preprocess(left), encoder.preprocess(right))
    (game,) = build_input_pairs(cp.SimilarityWrapper(encoder), photos, ForwardContext(description="passes")).games()
    assert isinstance(game, TwoTowerGame)
    return game


class CachedTower:
    """A tower with a cache of embeddings, which all of its copies share."""

    def __init__(self, embed: Callable[[Tensor], Tensor], cache: dict[bytes, Tensor] | None = None) -> None:
        self.embed, self.cache = embed, {} if cache is None else cache
        self.requested: set[bytes] = set()

    def __call__(self, z: Tensor) -> Tensor:
        """The embedding of each row."""
        keys = [row.numpy().tobytes() for row in z.bool()]
        new = [k for k, key in enumerate(keys) if key not in self.cache]
        if new:
            self.cache.update(zip([keys[k] for k in new], self.embed(z[new].bool()), strict=True))
        self.requested.update(keys)
        return torch.stack([self.cache[key] for key in keys])


def list_estimators(budget: int, n_players: int) -> Iterator[tuple[str, Callable[[TwoTowerGame], Interactions]]]:
    yield "factorised, process", lambda game: factorise(game, budget, TowerOptions("process"))
    yield "factorised, chains", lambda game: factorise(game, budget, TowerOptions("chains"))
    if budget < 2 * n_players + 2:  # too few for an opaque box
        return
    yield "opaque box, Gaussian process", lambda game: gaussian_process(CallableGame(game.n_query, game.n_retrieved, game.values), budget)
    yield "opaque box, kernel with a ridge of 0.01", lambda game: kernel_taylor(game, budget, ridge=0.01)
    if budget >= ROWS_OF_A_PERMUTATION:
        n_permutations = budget // ROWS_OF_A_PERMUTATION
        yield "opaque box, permutations", lambda game: permutation(game, 2 + game.n_players + n_permutations * count_pairs(game))


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description="Compare estimators on superpixels.")
    parser.add_argument("--budgets", type=int, nargs="+", default=[200])
    parser.add_argument("--reference", type=int, default=800, help="embeddings of each photo for the reference")
    arguments = parser.parse_args()
    game = build_game()
    towers = CachedTower(game.embed_query), CachedTower(game.embed_retrieved)

    def copy_game() -> tuple[TwoTowerGame, tuple[CachedTower, CachedTower]]:
        query, retrieved = (CachedTower(tower.embed, tower.cache) for tower in towers)
        return TwoTowerGame(game.n_query, game.n_retrieved, query, retrieved), (query, retrieved)

    reference = factorise(copy_game()[0], arguments.reference, TowerOptions("process"), generator=torch.Generator().manual_seed(1))
    truth = reference["between"].flatten()
    print(f"{game.n_query} + {game.n_retrieved} superpixels; reference from {arguments.reference} passes for each photo")
    print("| estimator | passes for each photo | correlation | relative MSE | scale | within 2 standard errors |")
    print("|---|---|---|---|---|---|")
    for budget in arguments.budgets:
        for name, estimate in list_estimators(budget, game.n_players):
            pair, copies = copy_game()
            interactions = estimate(pair)
            between, errors = interactions["between"].flatten(), interactions.standard_error
            correlation = torch.corrcoef(torch.stack([between, truth]))[0, 1].item()
            relative = ((between - truth).square().sum() / truth.square().sum()).item()
            scale = (between @ truth / truth.square().sum()).item()
            covered = "" if errors is None else f"{((between - truth).abs() <= 2 * errors['between'].flatten()).double().mean():.2f}"
            passes = max(len(copy.requested) for copy in copies)
            print(f"| {name} | {passes} | {correlation:.3f} | {relative:.2g} | {scale:.2f} | {covered} |", flush=True)


if __name__ == "__main__":
    main()
