"""Time and accuracy of the gradient methods: pairs from a few Jacobians, and projection of a part of one photo to the other photo.

    python tutorials/measurements/gradients.py
    python tutorials/measurements/gradients.py --out folder

Integrated Hessians of EfficientNet-Lite0's 7×7 maps of the stereo motorcycle with several numbers of nodes are compared with 64 nodes and
with the Shapley–Taylor index. Then the front wheel of the left view is projected on the right view through layers of several resolutions.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import skimage.data
import torch
from matplotlib.figure import Figure
from torch import Tensor

import captum_pairwise as cp
from captum_pairwise import backbones, visualization

Result = TypeVar("Result")
WHEEL = (slice(105, 190), slice(150, 205))  # rows and columns of the 224×224 photo


def measure(run: Callable[..., Result], *arguments: Any, **more: Any) -> tuple[Result, float]:
    started = time.perf_counter()
    return run(*arguments, **more), time.perf_counter() - started


def relative_error(estimate: Tensor, truth: Tensor) -> float:
    return ((estimate - truth).norm() / truth.norm()).item()


def compare_nodes(model: cp.SimilarityWrapper, layer: torch.nn.Module, pair: tuple[Tensor, Tensor]) -> None:
    """Print a row for each weight and number of nodes."""
    _, passes = measure(model, *pair)
    blurred = tuple(map(cp.blur_baseline, pair))
    _, of_blurs = measure(model, *blurred)
    print(f"both photos through the network: {passes:.2f} s; their blurs, the baselines: {of_blurs:.2f} s")
    exact = cp.LayerFactorisedShapleyTaylor(model, layer).interactions(pair, n_samples=4000)["between"]
    print("| weight | nodes | seconds in addition to these passes | error against 64 nodes | tail rows | correlation with Shapley–Taylor |")
    print("|---|---|---|---|---|---|")
    for weight in ("hessian", "taylor"):
        method = cp.LayerIntegratedHessians(model, layer, weight=weight)
        truth = method.interactions(pair, n_steps=64)["between"]
        for n_steps in (4, 8, 16):
            interactions, seconds = measure(method.interactions, pair, n_steps=n_steps)
            correlation = torch.corrcoef(torch.stack([interactions["between"].flatten(), exact.flatten()]))[0, 1]
            error, seconds = relative_error(interactions["between"], truth), max(0.0, seconds - passes - of_blurs)
            print(f"| {weight} | {n_steps} | {seconds:.3f} | {error:.0e} | {interactions.n_evaluations.item()} | {correlation:.4f} |")
    print("Network passes for each row: 4. The paper draws 40 000 samples.")


def project_attention(model: cp.SimilarityWrapper, pair: tuple[Tensor, Tensor], attention: Tensor) -> dict[str, Tensor]:
    """Project the attention through layers of several resolutions, each to a map over the pixels; print the time."""
    features = model.query_encoder.get_submodule("features")
    stage = features.get_submodule("network._blocks.10")
    chosen = {"7×7": ([features], 6), "14×14": ([stage], 6), "7×7 and 14×14": ([features, stage], 6), "pixels": ([None], 48)}
    maps = {}
    for name, (layers, n_steps) in chosen.items():
        maps[name], seconds = measure(cp.project_attention_through, model, layers, pair, attention, n_steps=n_steps)
        error = relative_error(maps[name], cp.project_attention_through(model, layers, pair, attention, n_steps=96))
        print(f"projection through {name}, {n_steps} steps: {seconds:.2f} s, with the photos' passes; error against 96 steps {error:.0e}")
    return maps


def draw(pair: tuple[Tensor, Tensor], attention: Tensor, maps: dict[str, Tensor]) -> Figure:
    query, retrieved = (photo[0].permute(1, 2, 0).double().numpy() for photo in pair)
    figure = Figure(figsize=(3 * (1 + len(maps)), 3.3), layout="constrained", dpi=110)
    axes = figure.subplots(1, 1 + len(maps))
    axes[0].imshow(visualization.overlay(query, attention[0].double().numpy()))
    for panel, projection in zip(axes[1:], maps.values(), strict=True):
        scale = float(projection.abs().quantile(0.999))  # otherwise one pixel sets the scale
        panel.imshow(visualization.overlay(retrieved, projection[0].double().numpy(), scale))
    for panel, name in zip(axes, ("attention", *maps), strict=True):
        panel.set_title(name)
        panel.set_axis_off()
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description="Integrated Hessians, and projection without the matrix.")
    parser.add_argument("--out", type=Path, default=Path("explanation"), help="folder for the picture")
    arguments = parser.parse_args()
    encoder = backbones.create("efficientnet_lite0")
    model = cp.SimilarityWrapper(encoder)
    left, right, _ = skimage.data.stereo_motorcycle()
    pair = encoder.preprocess(left), encoder.preprocess(right)
    with torch.no_grad():
        model(*pair)  # the first pass is slow
        compare_nodes(model, encoder.features, pair)
    attention = torch.zeros(1, *pair[0].shape[2:])
    attention[0][WHEEL] = 1
    maps = project_attention(model, pair, attention)
    arguments.out.mkdir(parents=True, exist_ok=True)
    picture = arguments.out / "projection.png"
    draw(pair, attention, maps).savefig(picture)
    print(f"picture: {picture}")


if __name__ == "__main__":
    main()
