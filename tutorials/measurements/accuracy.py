"""Accuracy and time of the factorised estimator.

    python tutorials/measurements/accuracy.py

Relative mean squared error of the pairs between the images, for a Gaussian process (the default) and for chains of coalitions. Random
ReLU towers (8 + 7 and 16 + 16 players) are compared with the exact indices; the result is the median over 6 and 4 seeds. The 7x7 maps of
EfficientNet-Lite0 (49 + 49 players, the stereo motorcycle, blurred baselines) are compared with the mean of ten runs of chains with
20 000 embeddings, pairs and heat maps.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import skimage.data
import torch
from torch import Tensor, nn

import captum_pairwise as cp
from captum_pairwise import backbones

FITS = ("process", "chains")


def relative_error(estimate: Tensor, truth: Tensor) -> float:
    return ((estimate - truth).square().sum() / truth.square().sum()).item()


def measure_seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def relu_network(n_players: int, seed: int) -> nn.Module:
    """Three layers with biases, so that the embedding of the zero baseline is not zero."""
    torch.manual_seed(seed)
    layers = [nn.Linear(n_players, 20), nn.Linear(20, 20), nn.Linear(20, 20)]
    for layer in layers:
        nn.init.normal_(layer.weight, std=(2 / layer.in_features) ** 0.5)
        nn.init.normal_(layer.bias, std=0.5)
    return nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2]).double()


@torch.no_grad()
def measure_random_towers(n_query: int, n_retrieved: int, budgets: tuple[int, ...], n_seeds: int) -> None:
    print(f"random ReLU towers, {n_query} + {n_retrieved} players, median of {n_seeds} seeds:")
    models = [cp.SimilarityWrapper(relu_network(n_query, 2 * seed), relu_network(n_retrieved, 2 * seed + 1)) for seed in range(n_seeds)]
    pairs = [(torch.randn(1, n_query, dtype=torch.float64), torch.randn(1, n_retrieved, dtype=torch.float64)) for _ in models]
    truths = [
        cp.ExactShapleyTaylor(model).interactions(pair, n_samples=2**16)["between"] for model, pair in zip(models, pairs, strict=True)
    ]
    for n_samples in budgets:
        errors = {}
        for fit in FITS:
            errors[fit] = [
                relative_error(cp.FactorisedShapleyTaylor(model, fit=fit).interactions(pair, n_samples=n_samples)["between"], truth)
                for model, pair, truth in zip(models, pairs, truths, strict=True)
            ]
        figures = ", ".join(f"{median(errors[fit]):.1e} ({fit})" for fit in FITS)
        print(f"  {n_samples:5d} embeddings per tower: relative MSE {figures}")


@torch.no_grad()
def measure_real_features(budgets: tuple[int, ...], n_runs: int) -> None:
    encoder = backbones.create("efficientnet_lite0")
    left, right, _ = skimage.data.stereo_motorcycle()
    pair = (encoder.preprocess(left), encoder.preprocess(right))
    model = cp.SimilarityWrapper(encoder)
    long = cp.LayerFactorisedShapleyTaylor(model, encoder.features, fit="chains")
    runs = [long.interactions(pair, n_samples=20_000, generator=torch.Generator().manual_seed(seed)) for seed in range(1, n_runs + 1)]
    truth = {name: torch.stack([run[name] for run in runs]).mean(0) for name in ("between", "given_other")}
    passes = median(measure_seconds(lambda: [encoder(image) for image in pair]) for _ in range(5))
    print(f"EfficientNet-Lite0, 49 + 49 cells (two network passes: {passes:.2f} s):")
    for n_samples in budgets:
        for fit in FITS:
            method = cp.LayerFactorisedShapleyTaylor(model, encoder.features, fit=fit)
            interactions = method.interactions(pair, n_samples=n_samples)
            pairs, maps = (relative_error(interactions[name], truth[name]) for name in ("between", "given_other"))
            seconds = median(measure_seconds(lambda m=method, n=n_samples: m.attribute(pair, n_samples=n)) for _ in range(3)) - passes
            print(
                f"  {n_samples:5d} embeddings per tower, {fit:7s}: relative MSE {pairs:.1e} (pairs), {maps:.1e} (heat maps), "
                f"{seconds:.2f} s in addition to the two passes"
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed, small budgets and a rough reference: to see that the script runs")
    quick = parser.parse_args().quick
    measure_random_towers(8, 7, (50,) if quick else (50, 100, 250), n_seeds=1 if quick else 6)
    measure_random_towers(16, 16, (100,) if quick else (100, 500, 1000, 4000), n_seeds=1 if quick else 4)
    measure_real_features((100,) if quick else (100, 250, 500, 1000, 2000), n_runs=1 if quick else 10)
