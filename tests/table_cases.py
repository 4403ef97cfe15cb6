"""A tiny encoder, tiny pairs of images and a row for the tests of the tables, which other processes import."""

from collections import OrderedDict
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from torch import nn

from captum_pairwise.datasets.pair_list import Pair, read_pairs, write_pairs
from captum_pairwise.evaluation.rows import read_rows
from captum_pairwise.evaluation.tables.image_pair import Model, open_pair
from captum_pairwise.evaluation.tables.method_runs import MethodRun
from captum_pairwise.evaluation.tables.settings import PRESETS, change_settings
from captum_pairwise.evaluation.tables.study import TableRow
from captum_pairwise.models.backbones import ImageEncoder

SIZE = 32
SMALL = ("window=8", "stride=8", "n_segments=4", "first=16", "second=40", "first_layer=60", "second_layer=1500", "n_steps=4", "n_nodes=3")
SMALL += ("n_embeddings=16", "n_layer_embeddings=40", "sampling=distinct", "n_maps=4", "n_curve_steps=3", "n_slow=0", "n_columns=2")
SETTINGS = change_settings(PRESETS["quick"], SMALL)
ROW = TableRow("net", "w", "sam", "s", "q.png", "r.png", "cat", "", "qm.png", "rm.png", faithfulness=0.25, inefficiency=0.5)


def encoder() -> ImageEncoder:
    """To a map of 4×4 positions; weights come from the random state, which the command seeds."""
    layers = {
        "one": nn.Conv2d(3, 8, 3, stride=4, padding=1),
        "relu": nn.ReLU(),
        "two": nn.Conv2d(8, 6, 3, stride=2, padding=1),
        "last": nn.ReLU(),
    }
    return ImageEncoder(nn.Sequential(OrderedDict(layers)), size=(SIZE, SIZE))


def coarse() -> ImageEncoder:
    """To a map of 2×2 positions."""
    return ImageEncoder(nn.Sequential(encoder().features, nn.AvgPool2d(2)), size=(SIZE, SIZE))


def with_head() -> ImageEncoder:
    """The encoder with a linear layer after pooling."""
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5))
    return ImageEncoder(encoder().features, size=(SIZE, SIZE), head=head)


def write_cases(folder, n_pairs: int = 3, with_masks: bool = True):
    """Write random photos with a bright square each, whose mask is known; returns the pairs.csv."""
    draws, pairs = np.random.default_rng(0), []
    for number in range(n_pairs):
        files = []
        for side in ("query", "retrieved"):
            row, column = draws.integers(0, SIZE - 12, 2)
            photo, mask = draws.integers(0, 120, (SIZE, SIZE, 3)), np.zeros((SIZE, SIZE), np.uint8)
            photo[row : row + 12, column : column + 12], mask[row : row + 12, column : column + 12] = [250, 200, 40 * number], 255
            image_file, mask_file = folder / f"{side}, {number}.png", folder / f"{side} {number} mask.png"
            Image.fromarray(photo.astype(np.uint8)).save(image_file)
            Image.fromarray(mask).save(mask_file)
            files.append((image_file, mask_file if with_masks else None))
        (query, query_mask), (retrieved, retrieved_mask) = files
        pairs.append(Pair(query, retrieved, "square", query_mask, retrieved_mask))
    write_pairs(pairs, folder / "pairs.csv")
    return folder / "pairs.csv"


def make_model(make=encoder):
    """A model with the weights of seed 0."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Model("tiny", make().eval())


def open_case(folder, make=encoder, with_masks=True):
    """One pair of images and a model."""
    return open_pair(read_pairs(write_cases(folder, 1, with_masks))[0], make_model(make), SETTINGS.n_segments)


def start_run(pair, settings=SETTINGS):
    """A run with the random source of seed 0."""
    return MethodRun(pair, settings, torch.Generator().manual_seed(0))


def command_line(folder, *more, n_pairs=3, out=None, methods=("sam", "vesm", "random")):
    """The arguments of a run: the quick preset, made small, for the tiny encoder and its pairs."""
    file = folder / "pairs.csv"
    if not file.exists():
        write_cases(folder, n_pairs)
    out = out if out is not None else folder / "out"
    always = ["--pairs", str(file), "--backbones", "tiny=table_cases:encoder", "--preset", "quick", "--set", *SMALL]
    return ["tables", *always, "--device", "cpu", "--out", str(out), "--methods", *methods, *more]


def read_all_rows(out):
    """The rows of all processes."""
    return [row for file in sorted((out / "rows").glob("*.csv")) for row in read_rows(file, TableRow)]


def read_results(out):
    """The rows of results.csv."""
    return read_rows(out / "results.csv", TableRow)


def remove_time(row):
    """A row without its seconds, as text: equal to the last bit, where NaN is not equal to itself."""
    return repr(replace(row, seconds=0.0))
