"""How accurate the factorised estimator is, and how long it takes.

    python tutorials/accuracy.py

Relative mean squared error of the pairs between the images: on random ReLU towers (8 + 7 players) against the exact indices, median over 6
seeds; on the 7x7 maps of EfficientNet-Lite0 (49 + 49 players, the stereo motorcycle, blurred baselines) against the mean of ten runs of
20 000 embeddings.
"""

import time
from collections.abc import Callable
from statistics import median

import skimage.data
import torch
from torch import Tensor, nn

import captum_pairwise as cp
from captum_pairwise import backbones


def relative_error(found: Tensor, truth: Tensor) -> float:
    return ((found - truth).square().sum() / truth.square().sum()).item()


def seconds_of(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def relu_network(n_players: int, seed: int) -> nn.Module:
    """Three layers from masked inputs to an embedding that is not zero at the zero baseline."""
    torch.manual_seed(seed)
    layers = [nn.Linear(n_players, 20), nn.Linear(20, 20), nn.Linear(20, 20)]
    for layer in layers:
        nn.init.normal_(layer.weight, std=(2 / layer.in_features) ** 0.5)
        nn.init.normal_(layer.bias, std=0.5)
    return nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2]).double()


@torch.no_grad()
def on_random_towers() -> None:
    print("random ReLU towers, 8 + 7 players, median of 6 seeds:")
    for n_samples in (50, 100, 250, 1000, 4000):
        errors = []
        for seed in range(6):
            model = cp.SimilarityWrapper(relu_network(8, 2 * seed), relu_network(7, 2 * seed + 1))
            pair = (torch.randn(1, 8, dtype=torch.float64), torch.randn(1, 7, dtype=torch.float64))
            truth = cp.ExactShapleyTaylor(model).interactions(pair)["between"]
            found = cp.FactorisedShapleyTaylor(model).interactions(pair, n_samples=n_samples)
            errors.append(relative_error(found["between"], truth))
        print(f"  {n_samples:5d} embeddings per tower: relative MSE {median(errors):.1e}")


@torch.no_grad()
def on_real_features() -> None:
    encoder = backbones.create("efficientnet_lite0")
    left, right, _ = skimage.data.stereo_motorcycle()
    pair = (encoder.preprocess(left), encoder.preprocess(right))
    method = cp.LayerFactorisedShapleyTaylor(cp.SimilarityWrapper(encoder), encoder.features)
    runs = [method.interactions(pair, n_samples=20_000, generator=torch.Generator().manual_seed(seed)) for seed in range(1, 11)]
    truth = torch.stack([run["between"] for run in runs]).mean(0)
    passes = median(seconds_of(lambda: [encoder(image) for image in pair]) for _ in range(5))
    print(f"EfficientNet-Lite0, 49 + 49 cells (two network passes: {passes:.2f} s):")
    for n_samples in (100, 250, 1000, 2000, 5000):
        error = relative_error(method.interactions(pair, n_samples=n_samples)["between"], truth)
        seconds = median(seconds_of(lambda n=n_samples: method.attribute(pair, n_samples=n)) for _ in range(5)) - passes
        print(f"  {n_samples:5d} embeddings per tower: relative MSE {error:.1e}, {seconds:.2f} s beyond the two passes")


if __name__ == "__main__":
    on_random_towers()
    on_real_features()
