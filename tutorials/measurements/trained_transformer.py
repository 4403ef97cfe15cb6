"""Are gradients right for a trained transformer? Pairs of 144 + 144 tokens along a path, against the factorised estimator.

    python tutorials/measurements/trained_transformer.py

A small vision transformer of timm (needs `pip install timm`) learns the digits of scikit-learn in two minutes. Then six pairs of new images
are compared, by the tokens before its last block and before the one before, with blurred baselines and cosine similarity. "Together" is the
share that the pairs predict of what both images change together, on coalitions that neither method has seen (`measure_pairs`).
"""

import argparse
import time
from statistics import median
from typing import Any

import timm
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

import captum_pairwise as cp
from captum_pairwise.estimators.prediction_fit import measure_pairs
from captum_pairwise.games.build import build_layer_pairs
from captum_pairwise.games.context import ForwardContext
from captum_pairwise.games.game import EmbeddedGame

SIDE, PATCH, N_TRAINING, BATCH = 48, 4, 1500, 64
PAIRS = ((1500, 1510), (1501, 1511), (1502, 1512), (1503, 1514), (1505, 1506), (1520, 1531))
METHODS = {"gradients": cp.LayerIntegratedHessians, "factorised": cp.LayerFactorisedInteractions}


def load_images() -> tuple[Tensor, Tensor]:
    digits: Any = load_digits()
    images = torch.from_numpy(digits.images).float()[:, None] / 8 - 1
    return interpolate(images, (SIDE, SIDE), mode="bilinear").expand(-1, 3, -1, -1).contiguous(), torch.from_numpy(digits.target)


def train_network(images: Tensor, labels: Tensor, n_steps: int) -> nn.Module:
    sizes: dict[str, Any] = {"img_size": SIDE, "patch_size": PATCH, "embed_dim": 64, "depth": 4, "num_heads": 4}
    network = timm.models.VisionTransformer(**sizes, num_classes=10)
    optimizer = torch.optim.AdamW(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=n_steps)
    generator = torch.Generator().manual_seed(0)
    for _ in range(n_steps):
        rows = torch.randint(N_TRAINING, (BATCH,), generator=generator)
        loss = cross_entropy(network(images[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    network.eval().requires_grad_(False)
    right = (network(images[N_TRAINING:]).argmax(1) == labels[N_TRAINING:]).double().mean()
    print(f"right on new images: {100 * right:.0f} %")
    network.reset_classifier(0)
    return network


def compare(network: nn.Module, images: Tensor, layer_name: str, n_pairs: int) -> None:
    model, layer = cp.SimilarityWrapper(network), network.get_submodule(layer_name)
    seconds: dict[str, list[float]] = {name: [] for name in METHODS}
    for query, retrieved in PAIRS[:n_pairs]:
        inputs, results = (images[query, None], images[retrieved, None]), {}
        grid = cp.token_grid(SIDE // PATCH, SIDE // PATCH)
        mask = (grid, grid)
        (game,) = build_layer_pairs(model, layer, inputs, ForwardContext(), layer_mask=mask).games()
        assert isinstance(game, EmbeddedGame)
        for name, method in METHODS.items():
            start = time.process_time()
            results[name] = method(model, layer, index="banzhaf").interactions(inputs, layer_mask=mask)
            seconds[name].append(time.process_time() - start)
        shares = [measure_pairs(game, result, 128, torch.Generator().manual_seed(1)) for result in results.values()]
        pairs, maps = (torch.stack([result[block].flatten() for result in results.values()]) for block in ("between", "given_other"))
        correlations = [torch.corrcoef(block)[0, 1] for block in (pairs, maps)]
        cells = [f"{value:.2f}" for value in (*shares, *correlations)]
        print(f"| `{layer_name}` | {query}, {retrieved} | {' | '.join(cells)} |", flush=True)
    print(f"`{layer_name}`: " + ", ".join(f"{name} {median(times):.1f} s" for name, times in seconds.items()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Compare gradients and coalitions on a trained vision transformer.")
    parser.add_argument("--quick", action="store_true", help="few steps of training and one pair: to see that the script runs")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    torch.manual_seed(0)
    digits = load_images()
    trained = train_network(*digits, n_steps=5 if quick else 600)
    print("| layer | images | together: gradients | factorised | correlation of pairs | of maps |\n|---|---|---|---|---|---|")
    with torch.no_grad():
        for name in ("blocks.2",) if quick else ("blocks.2", "blocks.1"):
            compare(trained, digits[0], name, 1 if quick else len(PAIRS))
