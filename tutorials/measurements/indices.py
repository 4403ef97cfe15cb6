"""Interaction indices: how well each predicts the similarity, orders the parts, and finds corresponding parts.

    python tutorials/measurements/indices.py
    python tutorials/measurements/indices.py --quick
    python tutorials/measurements/indices.py --players superpixels --n-samples 500 --held-out 64
    python tutorials/measurements/indices.py --pairs pairs.csv --root folder

All indices of a pair come from one sample of coalitions. Players are the 7x7 cells of the last layer, or superpixels of the images; absent
ones are blurred. Without `--pairs` the pairs are the built-in ones, which the same objects appear in too often for conclusions.

* R² at p: of predictions with all pairs, for coalitions that were not in the sample and in which each part is present with probability p.
* cross: the same at .5 without the pairs within an image. rank: Spearman's correlation at .5, with all pairs.
* AID: area between insertion and deletion, of single parts (by `marginal`) and of pairs, times `v(N) - v(∅)`, which is
  near 0 for some pairs.
* faithfulness 2, mIoU: of the query's object, projected to the retrieved image through the pairs.

Every number is a mean over the pairs and its standard error; the last rows are paired differences to the first row.
"""

import argparse
import tempfile
from dataclasses import dataclass, replace
from math import isnan, nan
from pathlib import Path

import torch
from torch import Tensor
from tqdm.auto import tqdm

import captum_pairwise as cp
from captum_pairwise import backbones, metrics
from captum_pairwise.datasets.builtin import builtin_pairs
from captum_pairwise.datasets.pair_list import Pair, read_pairs
from captum_pairwise.evaluation.tables.image_pair import ImagePair, Model, open_pair
from captum_pairwise.evaluation.tables.retrieved_map import project_object
from captum_pairwise.evaluation.tables.row_cache import RowCache
from captum_pairwise.games.build import build_input_pairs, build_layer_pairs
from captum_pairwise.games.context import ForwardContext
from captum_pairwise.games.game import EmbeddedGame
from captum_pairwise.players.regions import paint
from captum_pairwise.results.interactions import Interactions

INDICES = [("shapley-taylor", 0.5), ("shapley", 0.5), ("k-sii", 0.5), ("faith-shap", 0.5), ("chaining", 0.5)]
INDICES += [("banzhaf", p) for p in (0.3, 0.5, 0.7)] + [("moebius", 0.5), ("co-moebius", 0.5)]
PROBABILITIES = (0.3, 0.5, 0.7)
COLUMNS = ("R² .3", "R² .5", "R² .7", "cross", "rank", "AID single", "AID pairs", "faithfulness 2", "mIoU")
MAP_COLUMNS = ("faithfulness", "localisation", "AID")
NEARLY_WHOLE = 1 - 1e-6  # the probability of the other image's parts, for a Banzhaf value with the other image whole
Rows = dict[str, list[list[float]]]
HeldOut = dict[float, tuple[Tensor, Tensor]]  # by probability: coalitions [rows, players] and their similarities [1, rows]


@dataclass(frozen=True)
class Sample:
    """One pair of images: its game, an index with the sample of all others, and coalitions that were held out."""

    pair: ImagePair
    game: EmbeddedGame
    interactions: Interactions
    held_out: HeldOut

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the retrieved image."""
        height, width = self.pair.images[1].shape[2:]
        return height, width


def draw_sample(pair: ImagePair, players: str, n_samples: int, n_held_out: int) -> Sample:
    if players == "cells":
        model, layer = pair.model.wrapper, pair.model.encoder.features
        (game,) = build_layer_pairs(model, layer, pair.images, ForwardContext()).games()
        interactions = cp.LayerFactorisedInteractions(model, layer, within=True).interactions(pair.images, n_samples=n_samples)
    else:
        model = cp.SimilarityWrapper(RowCache(pair.model.encoder))
        (game,) = build_input_pairs(model, pair.images, ForwardContext(), feature_mask=pair.superpixels).games()
        method = cp.FactorisedInteractions(model, within=True)
        interactions = method.interactions(pair.images, n_samples=n_samples, feature_mask=pair.superpixels)
    assert isinstance(game, EmbeddedGame)
    return Sample(pair, game, interactions, {p: hold_out(game, p, n_held_out) for p in PROBABILITIES})


def hold_out(game: EmbeddedGame, p: float, n: int) -> tuple[Tensor, Tensor]:
    """All combinations of `n` coalitions of either image, with their similarities."""
    generator = torch.Generator().manual_seed(1)
    query, retrieved = (torch.rand(n, size, generator=generator) < p for size in (game.n_query, game.n_retrieved))
    values = game.combine(game.embed_query(query), game.embed_retrieved(retrieved))
    rows = torch.cat([query[:, None].expand(-1, n, -1), retrieved[None].expand(n, -1, -1)], 2)
    return rows.flatten(0, 1), values.double().flatten()[None]


def list_indices(interactions: Interactions) -> dict[str, Interactions]:
    """Every index, and first order alone, which predicts without pairs."""
    indices = [interactions.as_index(name, p) for name, p in INDICES]
    named = {str(one.index): one for one in indices}
    shapley, banzhaf = named["shapley"], named["banzhaf (p = 0.5)"]
    return named | {"Shapley values alone": drop_pairs(shapley), "Banzhaf values alone (p = 0.5)": drop_pairs(banzhaf)}


def drop_pairs(interactions: Interactions, within_alone: bool = False) -> Interactions:
    """The index of the pairs between the images alone, or without any pairs.

    The pairs that are dropped leave the faithful ("banzhaf") credit of their parts, so that the rest predicts best.
    """
    index, n_query = interactions.index, interactions.n_query
    pairs = interactions.second_order.clone()
    if within_alone:
        pairs[:, :n_query, n_query:] = pairs[:, n_query:, :n_query] = 0
    p = torch.zeros_like(pairs[0, 0])
    if index is not None and index.p is not None:
        p[:n_query], p[n_query:] = index.p
    first = interactions["first_order"] + pairs @ p
    constant = (interactions.empty if interactions.constant is None else interactions.constant) - pairs @ p @ p / 2
    between = interactions["between"] if within_alone else torch.zeros_like(interactions["between"])
    dropped = {"constant": constant, "first_order": first, "marginal": first, "between": between}
    return replace(interactions, within_query=None, within_retrieved=None, **dropped)


def measure_index(interactions: Interactions, sample: Sample) -> list[float]:
    """The numbers of `COLUMNS`."""
    fits = {p: metrics.surrogate_faithfulness(interactions.predict(rows).double(), v) for p, (rows, v) in sample.held_out.items()}
    scale = (interactions.full - interactions.empty).item()
    single = metrics.insertion_deletion(sample.game.values, interactions["marginal"][0]).area.item()
    numbers = [*(fit.r2.item() for fit in fits.values()), nan, fits[0.5].spearman.item(), scale * single]
    if interactions.within_query is None:
        return [*numbers, nan, nan, nan]
    rows, values = sample.held_out[0.5]
    numbers[3] = metrics.surrogate_faithfulness(drop_pairs(interactions, within_alone=True).predict(rows).double(), values).r2.item()
    pairs = metrics.insertion_deletion(sample.game.values, interactions["first_order"][0], interactions.second_order[0])
    return [*numbers, scale * pairs.area.item(), *measure_projection(interactions, sample)]


def measure_projection(interactions: Interactions, sample: Sample) -> tuple[float, float]:
    """Faithfulness 2 and mIoU."""
    pair = sample.pair
    if pair.masks is None:
        return nan, nan
    pixels = metrics.to_pixels(project_object(interactions, pair.masks[0]).heat_map, sample.size)
    remaining = metrics.second_order_faithfulness(pair.model.wrapper, pair.images, pixels, pair.masks, void=pair.void)
    return remaining.item(), metrics.label_propagation(pixels, pair.masks[1], pair.void).mean_iou.item()


def list_maps(sample: Sample, named: dict[str, Interactions]) -> dict[str, Tensor]:
    """Maps of the retrieved image, `[players]`, by name."""
    banzhaf = drop_pairs(sample.interactions.as_index("banzhaf", (NEARLY_WHOLE, 0.5)))
    maps = {"Shapley value, other image whole": sample.interactions.retrieved_map}
    maps |= {"Banzhaf value (p = 0.5), other image whole": banzhaf["first_order"][:, banzhaf.n_query :]}
    maps |= {f"both images' parts, marginal of {name}": named[name].retrieved_marginal for name in ("shapley-taylor", "banzhaf (p = 0.5)")}
    for name in ("shapley-taylor", "faith-shap", "banzhaf (p = 0.5)"):
        maps[f"sum of the pairs, {name}"] = named[name]["between"].sum(1)
    return {name: credit[0] for name, credit in maps.items()}


def measure_map(credit: Tensor, sample: Sample) -> list[float]:
    """The numbers of `MAP_COLUMNS`."""
    pair, game, players = sample.pair, sample.game, sample.interactions.retrieved_players
    assert players is not None
    pixels = metrics.to_pixels(paint(credit[None], players.ids)[:, 0], sample.size)
    drop = metrics.faithfulness(pair.model.wrapper, pair.images, pixels).item()
    overlap = nan if pair.masks is None else metrics.label_propagation(pixels, pair.masks[1], pair.void).mean_iou.item()
    query = game.embed_query(torch.ones(1, game.n_query, dtype=torch.bool))
    area = metrics.insertion_deletion(lambda present: game.combine(query, game.embed_retrieved(present))[0], credit).area
    without = sample.interactions.without_retrieved
    assert without is not None
    return [drop, overlap, (area * (sample.interactions.full - without)).item()]


def measure_pairs(pairs: list[Pair], model: Model, arguments: argparse.Namespace) -> tuple[Rows, Rows]:
    """The numbers of indices and of maps, `[pairs][columns]` by name."""
    of_indices: Rows = {}
    of_maps: Rows = {}
    for files in tqdm(pairs):
        sample = draw_sample(open_pair(files, model), arguments.players, arguments.n_samples, arguments.held_out)
        named = list_indices(sample.interactions)
        for name, interactions in named.items():
            of_indices.setdefault(name, []).append(measure_index(interactions, sample))
        for name, credit in list_maps(sample, named).items():
            of_maps.setdefault(name, []).append(measure_map(credit, sample))
    return of_indices, of_maps


def print_table(rows: Rows, columns: tuple[str, ...], title: str) -> None:
    """Means and standard errors, then those of the differences to the first row."""
    numbers = {name: torch.tensor(values, dtype=torch.float64) for name, values in rows.items()}
    first, *others = numbers
    numbers |= {f"{name}, minus {first}": numbers[name] - numbers[first] for name in others}
    print(f"\n| {title} | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for name, values in numbers.items():
        print(f"| {name} | {' | '.join(format_mean(*metrics.mean_and_error(column)) for column in values.T)} |")


def format_mean(mean: float, error: float) -> str:
    """The mean and its error; without decimals where the mean is large, and a dash where there is none."""
    if isnan(mean):
        return "–"
    return f"{mean:.3f} ± {error:.3f}" if abs(mean) < 10 else f"{mean:.0f} ± {error:.0f}"


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description="Compare interaction indices on pairs of images.")
    parser.add_argument("--pairs", type=Path, help="a CSV file of pairs with masks, see `datasets.read_pairs`; default: built-in pairs")
    parser.add_argument("--root", type=Path, help="the folder that its paths are relative to; default: the folder of the file")
    parser.add_argument("--players", choices=("cells", "superpixels"), default="cells")
    parser.add_argument("--n-samples", type=int, default=2000, help="coalitions of each image")
    parser.add_argument("--held-out", type=int, default=300, help="coalitions of each image and probability for R²")
    parser.add_argument("--quick", action="store_true", help="one pair and few coalitions: to see that the script runs")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.n_samples, arguments.held_out = 200, 50
    with tempfile.TemporaryDirectory() as folder:
        pairs = builtin_pairs(folder) if arguments.pairs is None else read_pairs(arguments.pairs, arguments.root)
        pairs = pairs[:1] if arguments.quick else pairs
        model = Model("efficientnet_lite0", backbones.create("efficientnet_lite0"))
        of_indices, of_maps = measure_pairs(pairs, model, arguments)
    print_table(of_indices, COLUMNS, f"{len(pairs)} pairs, {arguments.players}")
    print_table(of_maps, MAP_COLUMNS, "map of the retrieved image")


if __name__ == "__main__":
    main()
