"""Pairs of 196 + 196 tokens of a vision transformer: time, and agreement with a converged run.

    python tutorials/measurements/transformer.py

ViT-S/16 of timm with random weights (needs `pip install timm`), tokens of block 10 of 12, cosine similarity, blurred baselines, two photos
of scikit-image, one thread. Times are processor seconds, medians of three runs, as ratios to the two passes of the photos. Chains of
growing coalitions, which have no bias, are the reference of the Shapley–Taylor pairs; their standard error, relative to the pairs, is
printed.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import skimage.data
import timm
import torch
from torch import Tensor
from torch.nn.functional import interpolate

import captum_pairwise as cp

N_CHAINED = 1600
N_NODES = 4


def load_photo(image: np.ndarray, size: int) -> Tensor:
    photo = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    return interpolate(photo, (size, size), mode="bilinear", antialias=True)


def measure(work: Callable[[], Any], repeats: int) -> tuple[Any, float]:
    seconds, result = [], work()
    for _ in range(repeats):
        start = time.process_time()
        result = work()
        seconds.append(time.process_time() - start)
    return result, median(seconds)


def compare(encoder: torch.nn.Module, photos: tuple[Tensor, Tensor], n_chained: int, repeats: int) -> None:
    model, layer = cp.SimilarityWrapper(encoder), encoder.get_submodule("blocks.9")
    hessians = partial(cp.LayerIntegratedHessians, model, layer)
    methods = {
        "`LayerIGSAM`, maps alone": lambda: cp.LayerIGSAM(model, layer).attribute(photos, n_steps=N_NODES),
        'Taylor (`weight="taylor"`)': lambda: hessians(weight="taylor").interactions(photos, n_steps=N_NODES),
        'Banzhaf (`index="banzhaf"`)': lambda: hessians(index="banzhaf").interactions(photos, n_steps=N_NODES),
        "Taylor, all directions (`tolerance=None`)": lambda: hessians(weight="taylor", tolerance=None).interactions(
            photos, n_steps=N_NODES
        ),
        "`explain`, with its checks": lambda: cp.explain(encoder, photos[0][0], photos[1][0]).interactions,
    }
    chains = cp.LayerFactorisedShapleyTaylor(model, layer, fit="chains").interactions(photos, n_samples=n_chained)
    truth = chains["between"].flatten()
    print(f"chains of {n_chained} coalitions: relative standard error {chains.errors['between'].norm() / truth.norm():.1e}")
    print("| path of 4 nodes | ratio to two passes | said error | correlation with chains |\n|---|---|---|---|")
    for name, work in methods.items():
        _, two_passes = measure(lambda: [encoder(photo) for photo in photos], 3)
        result, seconds = measure(work, 1 if "None" in name else repeats)
        cells = ["–", "–"]
        if isinstance(result, cp.Interactions):
            pairs = result["between"].flatten()
            said = "0" if result.standard_error is None else f"{result.errors['between'].norm() / pairs.norm():.1e}"
            is_taylor = name.startswith("Taylor")
            cells = [said, f"{torch.corrcoef(torch.stack([pairs, truth]))[0, 1]:.6f}" if is_taylor else "–"]
        print(f"| {name} | {seconds / two_passes:.1f} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Compare methods for the tokens of a vision transformer.")
    parser.add_argument(
        "--quick", action="store_true", help="a narrow network, few coalitions and single runs: to see that the script runs"
    )
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    torch.manual_seed(0)
    name, size = ("vit_tiny_patch16_224", 144) if quick else ("vit_small_patch16_224", 224)
    network = timm.create_model(name, num_classes=0, img_size=size).eval().requires_grad_(False)
    images = tuple(load_photo(image, size) for image in (skimage.data.cat(), skimage.data.coffee()))
    with torch.no_grad():
        compare(network, (images[0], images[1]), 170 if quick else N_CHAINED, 1 if quick else 3)
