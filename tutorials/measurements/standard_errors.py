"""Coverage: how often are the credits within two of their standard errors, and how large are the errors compared with the true ones?

    python tutorials/measurements/standard_errors.py          # twenty minutes
    python tutorials/measurements/standard_errors.py --quick  # under a minute

Superpixels of four photos of scikit-image (128 pixels, EfficientNet-Lite0, blurred baselines, cosine), six pairs; the 7x7 maps of its last
layer, and for one pair the 14x14 maps of block 10; and the words of sentences (all-MiniLM-L6-v2, random words as background). The estimate
is a Gaussian process from 100, 200 and 800 embeddings of each side, or 400 and 800 of 14x14 maps. `said / true` is the median standard
error over the median error of normal numbers with this standard deviation: 1 is right, more is cautious. The reference of superpixels is a
process of all single superpixels, all pairs, coalitions of three to seven, and coalitions of all sizes; of maps it is long chains, which
have no bias, and whose own errors count, too; sentences are enumerated.
"""

import argparse
from collections.abc import Callable, Iterable
from functools import cache
from itertools import combinations
from statistics import mean

import skimage.data
import torch
from torch import Tensor

import captum_pairwise as cp
from captum_pairwise.estimators.draws import Draws, ends_and_singles
from captum_pairwise.estimators.towers.game_estimate import GameEstimate
from captum_pairwise.estimators.towers.models import ProcessTower
from captum_pairwise.games.build import build_input_pairs
from captum_pairwise.games.context import ForwardContext
from captum_pairwise.games.game import TwoTowerGame
from captum_pairwise.models import backbones
from captum_pairwise.results.index import BANZHAF, SHAPLEY_TAYLOR, Index
from captum_pairwise.results.interactions import Interactions

NORMAL_MEDIAN = 0.6745  # of the absolute value of a standard normal number
INDICES = (Index(SHAPLEY_TAYLOR), Index(BANZHAF, (0.5, 0.5)))
AT_ONCE = 8  # coalitions in a forward pass: small batches stay in the cache
SENTENCES = (
    "a cat sits on the warm windowsill",
    "a kitten is resting by the sunny window",
    "the stock market fell sharply this morning",
    "two dogs are playing in the snow",
)
Compared = dict[str, list[tuple[float, float, float]]]


def compare(estimate: Interactions, truth: Interactions, name: str, is_drawn: bool) -> tuple[float, float, float]:
    """The coverage of two standard errors, the ratio of said and true errors, and the relative MSE.

    A truth that is drawn has errors, too.
    """
    error, said = (estimate[name] - truth[name]).abs(), estimate.errors[name]
    said = said.hypot(truth.errors[name]) if is_drawn else said
    ratio = said.median() * NORMAL_MEDIAN / error.median()
    covered, relative = (error <= 2 * said).double().mean(), error.square().sum() / truth[name].square().sum()
    return covered.item(), ratio.item(), relative.item()


def add_comparisons(compared: Compared, estimates: Iterable[Interactions], truths: Iterable[Interactions], is_drawn: bool = False) -> None:
    """Append the maps, and the pairs of both indices."""
    for number, (estimate, truth, index) in enumerate(zip(estimates, truths, INDICES, strict=True)):
        if number == 0:
            compared.setdefault("maps", []).append(compare(estimate, truth, "given_other", is_drawn))
        compared.setdefault(f"pairs, {index.name}", []).append(compare(estimate, truth, "between", is_drawn))


def print_rows(place: str, budget: int, compared: Compared) -> None:
    for block, figures in compared.items():
        covered, ratio, relative = zip(*figures, strict=True)
        cells = f"{mean(covered):.2f} ({min(covered):.2f}) | {mean(ratio):.2f} | {mean(relative):.2g}"
        print(f"| {place} | {budget} | {block} | {len(figures)} | {cells} |", flush=True)


def load_photos(size: int, n_photos: int) -> list[Tensor]:
    encoder = make_encoder(size)
    left, right, _ = skimage.data.stereo_motorcycle()
    return [encoder.preprocess(photo) for photo in (left, right, skimage.data.cat(), skimage.data.coffee())[:n_photos]]


@cache
def make_encoder(size: int) -> backbones.ImageEncoder:
    encoder = backbones.create("efficientnet_lite0")
    encoder.size = (size, size)
    return encoder


class PhotoTower:
    """The superpixels of a photo, and embeddings of their coalitions."""

    def __init__(self, photo: Tensor, size: int) -> None:
        (game,) = build_input_pairs(cp.SimilarityWrapper(make_encoder(size)), (photo, photo.clone()), ForwardContext()).games()
        assert isinstance(game, TwoTowerGame)
        self.n_players, self._embed = game.n_query, game.embed_query

    def fit(self, rows: Tensor) -> ProcessTower:
        """The process of these coalitions."""
        return ProcessTower(torch.cat([self._embed(some) for some in rows.split(AT_ONCE)]), rows)

    def fit_reference(self, n_pairs: int, n_small: int, n_drawn: int) -> ProcessTower:
        """The process of all single players and pairs, of coalitions of three to seven, and of all sizes."""
        generator = torch.Generator().manual_seed(7)
        order = torch.rand(n_small, self.n_players, generator=generator).argsort(1).argsort(1)
        small = order < (3 + torch.arange(n_small) % 5)[:, None]
        pairs = torch.eye(self.n_players, dtype=torch.bool)[list(combinations(range(self.n_players), 2))].any(1)[:n_pairs]
        rows = torch.cat([ends_and_singles(self.n_players), pairs, small, Draws(self.n_players, generator).more(n_drawn)])
        first = {row.numpy().tobytes(): number for number, row in reversed(list(enumerate(rows)))}  # without repeated rows
        return self.fit(rows[sorted(first.values())])

    def fit_budget(self, budget: int, seed: int) -> ProcessTower:
        """The process of the coalitions that the estimator draws."""
        draws = Draws(self.n_players, torch.Generator().manual_seed(seed)).more(budget - self.n_players)
        return self.fit(torch.cat([ends_and_singles(self.n_players), draws]))


def estimate_pair(query: ProcessTower, retrieved: ProcessTower) -> list[Interactions]:
    estimate = GameEstimate((query, retrieved), 0, False)
    return [estimate.compute(index) for index in INDICES]


def measure_superpixels(budgets: list[int], size: int, n_photos: int, n_rows: tuple[int, int, int]) -> None:
    towers = [PhotoTower(photo, size) for photo in load_photos(size, n_photos)]
    references = [tower.fit_reference(*n_rows) for tower in towers]
    pairs = list(combinations(range(n_photos), 2))
    truths = {pair: estimate_pair(*(references[k] for k in pair)) for pair in pairs}
    for budget in budgets:
        fits, compared = [tower.fit_budget(budget, 1000 + k) for k, tower in enumerate(towers)], {}
        for pair in pairs:
            add_comparisons(compared, estimate_pair(*(fits[k] for k in pair)), truths[pair])
        print_rows(f"superpixels ({' + '.join(str(tower.n_players) for tower in towers)})", budget, compared)


def measure_method(place: str, budgets: list[int], explain: Callable[[int], list[Interactions]], truths: list[Interactions]) -> None:
    for budget in budgets:
        compared: Compared = {}
        for estimate, truth in zip(explain(budget), truths, strict=True):
            results = ([result.as_index(index.name) for index in INDICES] for result in (estimate, truth))
            add_comparisons(compared, *results, is_drawn=True)
        print_rows(place, budget, compared)


def measure_cells(place: str, layer: str, budgets: list[int], n_photos: int, n_reference: int) -> None:
    photos, encoder = load_photos(224, n_photos), make_encoder(224)
    model, pairs = cp.SimilarityWrapper(encoder), list(combinations(photos, 2))

    def explain(fit: str, n_samples: int, seed: int) -> list[Interactions]:
        method = cp.LayerFactorisedShapleyTaylor(model, encoder.get_submodule(layer), fit=fit)
        generator = torch.Generator().manual_seed(seed)
        return [method.interactions(pair, n_samples=n_samples, generator=generator) for pair in pairs]

    measure_method(place, budgets, lambda budget: explain("process", budget, 0), explain("chains", n_reference, 1))


def measure_sentences(budgets: list[int], n_sentences: int) -> None:
    encoder = cp.text.sentence_encoder()
    method = cp.LayerFactorisedShapleyTaylor(cp.SimilarityWrapper(encoder), encoder.embedding_layer, fit="process")

    def explain(n_samples: int) -> list[Interactions]:
        results = []
        for pair in combinations([encoder.ids([sentence]) for sentence in SENTENCES[:n_sentences]], 2):
            query, retrieved = pair
            backgrounds = [encoder.random_words(ids, 1, torch.Generator().manual_seed(0)) for ids in pair]
            masks = encoder.layer_mask(query), encoder.layer_mask(retrieved)
            results.append(method.interactions(pair, (backgrounds[0], backgrounds[1]), layer_mask=masks, n_samples=n_samples))
        return results

    measure_method("words of sentences", budgets, explain, explain(2**10))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure the coverage of two standard errors on real networks.")
    parser.add_argument("--quick", action="store_true", help="two small photos and rough references: to see that the script runs")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    print(
        "| parts | embeddings | credit | pairs of inputs | coverage (least) | said / true | relative MSE |\n|---|---|---|---|---|---|---|"
    )
    with torch.no_grad():
        measure_superpixels(
            [100] if quick else [100, 200, 800], 48 if quick else 128, 2 if quick else 4, (100, 50, 100) if quick else (10_000, 500, 2500)
        )
        measure_cells("7x7 cells", "features", [100] if quick else [100, 200, 800], 2 if quick else 4, 2000 if quick else 20_000)
        if not quick:
            measure_cells("14x14 cells", "features.network._blocks.10", [400, 800], 2, 5000)
        measure_sentences([40] if quick else [40, 60], 2 if quick else 4)
