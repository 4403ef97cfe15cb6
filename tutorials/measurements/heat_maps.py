"""Heat maps of single parts: the map with the other image whole, compared with the Shapley values of both images together.

    python tutorials/measurements/heat_maps.py
    python tutorials/measurements/heat_maps.py --pairs pairs.csv --root folder

Maps of the retrieved image of each pair, at the last layer of a network. Without `--pairs` these are the built-in pairs, which the same
objects appear in too often for conclusions. `faithfulness` is the fall of the similarity when the upper 30 % of the pixels are blurred,
`localisation` the mean IoU of the object's mask and of as many of the upper pixels. Every number is a mean over the pairs and its standard
error; the last rows are paired differences to the first row.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import captum_pairwise as cp
from captum_pairwise import backbones, metrics
from captum_pairwise.datasets.builtin import builtin_pairs
from captum_pairwise.datasets.pair_list import Pair, read_pairs
from captum_pairwise.evaluation.tables.image_pair import ImagePair, Model, open_pair

COLUMNS = ("faithfulness", "localisation", "cells below 0", "credit below 0")
JOINT = "joint marginal, blur"
N_SAMPLES, N_STEPS = 500, 8


def explain(pair: ImagePair) -> dict[str, Tensor]:
    """The maps of the retrieved image, `[1, H, W]` each, by name."""
    model, layer = pair.model.wrapper, pair.model.encoder.features
    factorised = cp.LayerFactorisedShapleyTaylor(model, layer).interactions(pair.images, n_samples=N_SAMPLES)
    path = cp.LayerIntegratedHessians(model, layer).interactions(pair.images, n_steps=N_STEPS)
    closed_form = cp.LayerPairwiseSAM(model, layer).interactions(pair.images)
    assert factorised.retrieved_players is not None
    shape = factorised.retrieved_players.shape
    maps = {
        JOINT: factorised.retrieved_marginal,
        "other image whole, blur (factorised)": factorised.retrieved_map,
        "other image whole, blur (path)": path.retrieved_map,
        "other image whole, zero (closed form)": closed_form.retrieved_map,
    }
    return {name: credit.reshape(1, *shape) for name, credit in maps.items()}


def measure(heat_map: Tensor, pair: ImagePair) -> list[float]:
    """The numbers of the columns."""
    height, width = pair.images[1].shape[2:]
    pixels = metrics.to_pixels(heat_map, (height, width))
    drop = metrics.faithfulness(pair.model.wrapper, pair.images, pixels).item()
    overlap = torch.nan if pair.masks is None else metrics.label_propagation(pixels, pair.masks[1], pair.void).mean_iou.item()
    negative = -heat_map.clamp(max=0)
    return [drop, overlap, (heat_map < 0).double().mean().item(), (negative.sum() / heat_map.abs().sum()).item()]


def print_rows(measured: dict[str, Tensor], describe: Callable[[str], str]) -> None:
    """The rows of the table, from numbers `[pairs, columns]`."""
    for name, numbers in measured.items():
        means = [metrics.mean_and_error(column) for column in numbers.T]
        print(f"| {describe(name)} | {' | '.join(f'{mean:.3f} ± {error:.3f}' for mean, error in means)} |")


def measure_pairs(pairs: list[Pair], model: Model) -> dict[str, Tensor]:
    """The numbers of all pairs, `[pairs, columns]`, by the name of the map."""
    rows: dict[str, list[list[float]]] = {}
    for files in pairs:
        pair = open_pair(files, model)
        for name, heat_map in explain(pair).items():
            rows.setdefault(name, []).append(measure(heat_map, pair))
    return {name: torch.tensor(numbers, dtype=torch.float64) for name, numbers in rows.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare heat maps of the retrieved image.")
    parser.add_argument("--pairs", type=Path, help="a CSV file of pairs with masks, see `datasets.read_pairs`; default: built-in pairs")
    parser.add_argument("--root", type=Path, help="the folder that its paths are relative to; default: the folder of the file")
    parser.add_argument("--backbone", default="efficientnet_lite0")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pairs = builtin_pairs(folder) if arguments.pairs is None else read_pairs(arguments.pairs, arguments.root)
        measured = measure_pairs(pairs, Model(arguments.backbone, backbones.create(arguments.backbone)))
    print(f"| {len(pairs)} pairs | {' | '.join(COLUMNS)} |")
    print(f"|---|{'---|' * len(COLUMNS)}")
    print_rows(measured, str)
    differences = {name: numbers - measured[JOINT] for name, numbers in measured.items() if name != JOINT}
    print_rows(differences, lambda name: f"{name}, minus the {JOINT}")


if __name__ == "__main__":
    main()
