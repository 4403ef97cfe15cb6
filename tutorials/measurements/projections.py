"""Projection of a mask: the effect of each step of a recipe, as paired differences to the plain projection.

    python tutorials/measurements/projections.py
    python tutorials/measurements/projections.py --quick
    python tutorials/measurements/projections.py --pairs pairs.csv --root folder

The query's mask is projected to the retrieved image through layers of EfficientNet-Lite0: the last one (7×7), the last one with 14×14
cells, and an earlier one with 14×14 cells. Without `--pairs` the pairs are the built-in ones, which the same objects appear in too often
for conclusions. mIoU compares as many of the upper pixels as the object has with its true mask; faithfulness 2 is the similarity of the
query's object and of these pixels, with all others blurred. Every number is a mean over the pairs and its standard error; `+` columns are
paired differences to the first row.
"""

import argparse
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from tqdm.auto import tqdm

import captum_pairwise as cp
from captum_pairwise import backbones, metrics
from captum_pairwise.datasets.builtin import builtin_pairs
from captum_pairwise.datasets.pair_list import read_pairs
from captum_pairwise.evaluation.tables.image_pair import ImagePair, Model, open_pair

LAYERS = {"7": "features", "14": "features.network._blocks.10", "early": "features.network._blocks.7"}
COLUMNS = ("mIoU", "faithfulness 2", "+ mIoU", "+ faithfulness 2")
PLAIN, CONTRAST = cp.ProjectionRecipe(), cp.ProjectionRecipe(contrast=True)
TWO_SCALES = cp.ProjectionRecipe(contrast=True, scales=(1.0, 2.0))
SUPERPIXELS = cp.ProjectionRecipe(contrast=True, n_segments=(50, 150))
WIDE_BLUR = partial(cp.blur_baseline, kernel_size=51)


@dataclass(frozen=True)
class Variant:
    """A projection: its layers, its recipe and its baseline."""

    layers: tuple[str, ...]
    recipe: cp.ProjectionRecipe = PLAIN
    baseline: str = "blur"

    def project(self, pair: ImagePair, mask: Tensor) -> Tensor:
        """The map of the retrieved image, `[1, H, W]`."""
        layers = [pair.model.encoder.get_submodule(LAYERS[name]) for name in self.layers]
        if self.baseline == "zero":  # the cosine has no slope there; without its norms the map differs by a factor
            model = cp.SimilarityWrapper(pair.model.encoder, similarity="dot")
            return cp.project_attention_through(model, layers, pair.images, mask, layer_baselines=(0, 0), recipe=self.recipe)
        baselines = (WIDE_BLUR, WIDE_BLUR) if self.baseline == "wide blur" else None
        return cp.project_attention_through(pair.model.wrapper, layers, pair.images, mask, baselines, recipe=self.recipe)


VARIANTS = {
    "7×7": Variant(("7",)),
    "7×7, contrast": Variant(("7",), CONTRAST),
    "7×7, contrast, blur 51": Variant(("7",), CONTRAST, "wide blur"),
    "7×7, contrast, zero baseline": Variant(("7",), CONTRAST, "zero"),
    "7×7, contrast, two scales": Variant(("7",), TWO_SCALES),
    "7×7 + 14×14": Variant(("7", "14")),
    "7×7 + 14×14, contrast": Variant(("7", "14"), CONTRAST),
    "7×7 + 14×14 + early 14×14, contrast": Variant(("7", "14", "early"), CONTRAST),
    "7×7 + 14×14, contrast, superpixels": Variant(("7", "14"), SUPERPIXELS),
    "7×7 + 14×14, contrast, two scales": Variant(("7", "14"), TWO_SCALES),
    "7×7 + 14×14, `OBJECT_RECIPE`": Variant(("7", "14"), cp.OBJECT_RECIPE),
    "7×7 + 14×14, `OBJECT_RECIPE`, zero baseline": Variant(("7", "14"), cp.OBJECT_RECIPE, "zero"),
}


def measure(heat_map: Tensor, pair: ImagePair, masks: tuple[Tensor, Tensor]) -> list[float]:
    """Mean IoU and faithfulness 2."""
    overlap = metrics.label_propagation(heat_map, masks[1], pair.void).mean_iou
    remaining = metrics.second_order_faithfulness(pair.model.wrapper, pair.images, heat_map, masks, void=pair.void)
    return [overlap.item(), remaining.item()]


def measure_pair(pair: ImagePair, variants: dict[str, Variant]) -> dict[str, list[float]]:
    """The numbers of all variants, and of two maps that no projection makes, by name."""
    if pair.masks is None:
        raise ValueError("Expected pairs with masks, got one without. Add the columns query_mask and retrieved_mask.")
    query_mask = pair.masks[0].float()
    maps = {name: variant.project(pair, query_mask) for name, variant in variants.items()}
    maps["every pixel of the query, 7×7"] = Variant(("7",)).project(pair, torch.ones_like(query_mask))
    maps["the true mask"] = pair.masks[1].float()
    return {name: measure(heat_map, pair, pair.masks) for name, heat_map in maps.items()}


def print_table(rows: dict[str, list[list[float]]], title: str) -> None:
    """Means and standard errors of each variant, and of its differences to the first."""
    numbers = {name: torch.tensor(values, dtype=torch.float64) for name, values in rows.items()}
    first = next(iter(numbers.values()))
    print(f"| {title} | {' | '.join(COLUMNS)} |\n|---|{'---|' * len(COLUMNS)}")
    for name, values in numbers.items():
        absolute = [metrics.mean_and_error(column) for column in values.T]
        paired = [metrics.mean_and_error(column) for column in (values - first).T]
        cells = [f"{mean:.3f} ± {error:.3f}" for mean, error in absolute] + [f"{mean:+.3f} ± {error:.3f}" for mean, error in paired]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare projections of a mask.")
    parser.add_argument("--pairs", type=Path, help="a CSV file of pairs with masks, see `datasets.read_pairs`; default: built-in pairs")
    parser.add_argument("--root", type=Path, help="the folder that its paths are relative to; default: the folder of the file")
    parser.add_argument("--quick", action="store_true", help="one pair and three projections: to see that the script runs")
    arguments = parser.parse_args()
    variants = {name: VARIANTS[name] for name in list(VARIANTS)[:: 5 if arguments.quick else 1]}
    rows: dict[str, list[list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        pairs = builtin_pairs(folder) if arguments.pairs is None else read_pairs(arguments.pairs, arguments.root)
        pairs = pairs[:1] if arguments.quick else pairs
        model = Model("efficientnet_lite0", backbones.create("efficientnet_lite0"))
        for files in tqdm(pairs):
            for name, numbers in measure_pair(open_pair(files, model), variants).items():
                rows.setdefault(name, []).append(numbers)
    print_table(rows, f"{len(pairs)} pairs")


if __name__ == "__main__":
    main()
