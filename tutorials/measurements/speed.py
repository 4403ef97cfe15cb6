"""Speed: the passes, the time and the error of each method, compared with two passes of the network.

    python tutorials/measurements/speed.py

EfficientNet-Lite0's last layer (7x7 cells, so 49 + 49 players), cosine similarity, blurred baselines, both views of the stereo motorcycle,
one thread. A pass is one photo or one baseline through the layer. Times are processor seconds, medians of five runs, or of three if a run
takes more than two seconds; just before each run the two passes of the photos are timed. The error is the relative MSE to the mean of four
runs of chains with 100 000 coalitions, of the same index. Maps are compared with the credit of each image's parts while the other image is
whole; Captum's path moves both images together, so its maps are compared with the marginal credit of both images' game. The others get the
cells as their game, if they are installed: shap the retrieved image's, shapiq those of both. Larger photos have more cells.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import captum.attr as ca
import numpy as np
import skimage.data
import torch
from torch import Tensor

import captum_pairwise as cp
from captum_pairwise.games.build import build_layer_pairs
from captum_pairwise.games.context import ForwardContext
from captum_pairwise.games.game import Game, make_one_image_games
from captum_pairwise.interop import as_shapiq_game
from captum_pairwise.models import backbones
from captum_pairwise.results.index import BANZHAF, SHAPLEY_TAYLOR

SIDE, N_CELLS, STRIDE = 7, 49, 32  # cells of a side, of an image, and pixels of a cell's side
Default = cp.LayerFactorisedShapleyTaylor
Methods = dict[str, Callable[[], "Estimate"]]
NO_CREDITS = torch.zeros(0)


class Case(NamedTuple):
    """An encoder, its similarity, pairs of photos, and the number of images in each run of the layer of either tower."""

    encoder: backbones.ImageEncoder
    model: cp.SimilarityWrapper
    photos: tuple[Tensor, Tensor]
    rows: list[int]


class Estimate(NamedTuple):
    """The credits of a method: pairs, and maps of both images in one row or of the retrieved image alone."""

    pairs: Tensor
    maps: Tensor
    index: str = SHAPLEY_TAYLOR
    target: str = "given_other"


def make_case(size: int = STRIDE * SIDE, n_pairs: int = 1) -> Case:
    """Both views of the motorcycle; further pairs are the same photos, shifted."""
    encoder = backbones.create("efficientnet_lite0")
    encoder.size = (size, size)
    photos = [encoder.preprocess(photo) for photo in skimage.data.stereo_motorcycle()[:2]]
    query, retrieved = (torch.cat([photo.roll(6 * k, 2 + side) for k in range(n_pairs)]) for side, photo in enumerate(photos))
    case = Case(encoder, cp.SimilarityWrapper(encoder), (query, retrieved), [])
    for layer in {encoder.features, *case.model.tower_layers(encoder.features)}:
        layer.register_forward_hook(lambda module, inputs, output: case.rows.append(len(output)))
    return case


def measure(work: Callable[[], object], case: Case, repeats: int, clock: Callable[[], float] = time.process_time) -> tuple[Any, ...]:
    """The result and the passes of a work, and medians over runs: its seconds, those of the two passes before it, and the ratio."""
    runs, result, two_passes = [], None, torch.no_grad()(partial(case.model, *(photo[:1] for photo in case.photos)))
    for _ in range(repeats):
        times = [clock()]
        for step in (two_passes, two_passes, two_passes, work):
            case.rows.clear()
            result = step()
            times.append(clock())
        *passes, seconds = (after - before for before, after in pairwise(times))
        runs.append((seconds, median(passes), seconds / median(passes)))
    return result, sum(case.rows), *(median(numbers) for numbers in zip(*runs, strict=True))


def list_own_methods(case: Case) -> Methods:
    place, blurs = (case.model, case.encoder.features), (cp.blur_baseline, cp.blur_baseline)

    def explain(method: Any, index: str = SHAPLEY_TAYLOR, **options: Any) -> Estimate:
        result = method.interactions(case.photos, **options)
        return Estimate(result["between"][0], result["given_other"][0], index)

    sam, gradients, process = cp.LayerPairwiseSAM(*place), cp.LayerIGSAM(*place), Default(*place, fit="process")
    banzhaf, regression = (cp.LayerFactorisedInteractions(*place, fit=fit) for fit in (None, "regression"))
    return {
        "`LayerPairwiseSAM`, zero baseline": partial(explain, sam, ""),  # no index: a zero map has no cosine
        "`LayerPairwiseSAM`, blur": partial(explain, sam, baselines=blurs),
        "`LayerIGSAM`": lambda: Estimate(
            NO_CREDITS, torch.cat([credits["marginal"][0] for credits in gradients.interactions(case.photos)])
        ),
        '`LayerIntegratedHessians(weight="taylor")`': partial(explain, cp.LayerIntegratedHessians(*place, weight="taylor")),
        "`LayerFactorisedShapleyTaylor`, default": partial(explain, Default(*place)),
        '… `fit="chains"`, 2000 coalitions': partial(explain, Default(*place, fit="chains"), n_samples=2000),
        '… `fit="process"`, 490 coalitions': partial(explain, process, n_samples=490),
        '… `fit="process"`, 2000 coalitions': partial(explain, process, n_samples=2000),
        "`LayerFactorisedInteractions`, default (Banzhaf)": partial(explain, banzhaf, BANZHAF),
        '… `fit="regression"` (FIxLIP), 490 coalitions': partial(explain, regression, BANZHAF, n_samples=490),
        '… `fit="regression"` (FIxLIP), 4000 coalitions': partial(explain, regression, BANZHAF, n_samples=4000),
    }


def list_captum_methods(case: Case, quick: bool) -> Methods:
    layers, blurs = case.model.tower_layers(case.encoder.features), [cp.blur_baseline(photo) for photo in case.photos]

    def integrate() -> Estimate:
        method, n_steps = ca.LayerIntegratedGradients(case.model, list(layers)), 2 if quick else 50
        maps: Any = method.attribute(case.photos, tuple(blurs), n_steps=n_steps, internal_batch_size=8)
        return Estimate(NO_CREDITS, torch.cat([credits.detach().sum(1).flatten() for credits in maps]), target="marginal")

    @torch.no_grad()
    def ablate() -> Estimate:
        mask: Any = torch.arange(N_CELLS).view(1, 1, SIDE, SIDE) // (SIDE if quick else 1)
        methods = zip([ca.LayerFeatureAblation(case.model, layer) for layer in layers], map(case.encoder.feature_maps, blurs), strict=True)
        maps: Any = [method.attribute(case.photos, zero, layer_mask=mask, perturbations_per_eval=7) for method, zero in methods]
        return Estimate(NO_CREDITS, torch.cat([credits[0, 0].flatten() for credits in maps]))

    return {"Captum `LayerIntegratedGradients`, 50 steps": integrate, "Captum `LayerFeatureAblation`": ablate}


def make_game(case: Case) -> Game:
    return next(build_layer_pairs(case.model, case.encoder.features, case.photos, ForwardContext()).games())


def list_shap_methods(case: Case, quick: bool) -> Methods:
    shap: Any = import_module("shap")
    budget, shape = 200 if quick else 2000, (SIDE, SIDE, 1)

    @torch.no_grad()
    def explain(run: Callable[..., np.ndarray]) -> Estimate:
        game = make_one_image_games(make_game(case))[1]
        credits = run(lambda rows: game.values(torch.from_numpy(rows.reshape(len(rows), N_CELLS) > 0.5)).double().numpy())
        return Estimate(NO_CREDITS, torch.from_numpy(credits.flatten()))

    def explain_by_kernel(value: object) -> np.ndarray:
        return shap.KernelExplainer(value, np.zeros((1, N_CELLS))).shap_values(np.ones(N_CELLS), nsamples=budget, l1_reg=0, silent=True)

    def explain_by_tree(value: object) -> np.ndarray:
        explainer = shap.PartitionExplainer(value, shap.maskers.Image(0, shape))
        return explainer(np.ones((1, *shape)), max_evals=budget, batch_size=64, silent=True).values

    names = {"shap `KernelExplainer`, 2000 evaluations": explain_by_kernel, "shap `PartitionExplainer`, 2000 evaluations": explain_by_tree}
    return {name: partial(explain, run) for name, run in names.items()}


def list_shapiq_methods(case: Case, quick: bool) -> Methods:
    """Methods of all pairs of the 98 cells; shapiq's permutations give 0 for each pair at these budgets, and SVARMIQ takes minutes."""
    shapiq: Any = import_module("shapiq")

    @torch.no_grad()
    def explain(make: Callable[..., Any], index: str, budget: int) -> Estimate:
        method, game = make(n=2 * N_CELLS, max_order=2, random_state=0), as_shapiq_game(make_game(case))
        values = method.approximate(150 if quick else budget, game).get_n_order_values(2)
        return Estimate(torch.from_numpy(values)[:N_CELLS, N_CELLS:], NO_CREDITS, index)

    return {
        "shapiq `SHAPIQ`, 1000 evaluations": partial(explain, partial(shapiq.SHAPIQ, index="STII"), SHAPLEY_TAYLOR, 1000),
        "shapiq `SHAPIQ`, 5000 evaluations": partial(explain, partial(shapiq.SHAPIQ, index="STII"), SHAPLEY_TAYLOR, 5000),
        "shapiq `RegressionFBII` (Banzhaf), 5500 evaluations": partial(explain, shapiq.RegressionFBII, BANZHAF, 5500),
    }


def make_truths(case: Case, n_samples: int, n_runs: int) -> dict[str, dict[str, Tensor]]:
    """The credits of each index from long runs; prints their own error."""
    long, truths = Default(case.model, case.encoder.features, fit="chains"), {}
    runs = [long.interactions(case.photos, n_samples=n_samples, generator=torch.Generator().manual_seed(k + 1)) for k in range(n_runs)]
    for index in (SHAPLEY_TAYLOR, BANZHAF):
        of_index = [run.as_index(index) for run in runs]
        stacks = {name: torch.stack([run[name][0] for run in of_index]) for name in ("between", "given_other", "marginal")}
        truths[index] = {name: stack.mean(0) for name, stack in stacks.items()}
        errors = {name: (stack.var(0).sum() / n_runs / stack.mean(0).square().sum()).item() for name, stack in stacks.items()}
        print(f"error of the reference, {index}: " + ", ".join(f"{error:.1e} ({name})" for name, error in errors.items()))
    return truths


def compare_methods(quick: bool) -> None:
    case = make_case()
    truths, methods = make_truths(case, *((2000, 2) if quick else (100_000, 4))), list_own_methods(case) | list_captum_methods(case, quick)
    for package, list_methods in (("shap", list_shap_methods), ("shapiq", list_shapiq_methods)):
        methods |= list_methods(case, quick) if find_spec(package) is not None else {}
    print("\n| method | passes | seconds beyond | ratio to two passes | error of pairs | error of maps |\n|---|---|---|---|---|---|")
    for name, work in methods.items():
        warm_up = measure(work, case, 1)
        estimate, n_passes, seconds, two_passes, ratio = warm_up if quick else measure(work, case, 5 if warm_up[2] < 2 else 3)
        row, truth = [f"{n_passes}", f"{seconds - n_passes * two_passes / 2:.2f}", f"{ratio:.1f}"], truths.get(estimate.index, {})
        for credits, target in ((estimate.pairs, "between"), (estimate.maps, estimate.target)):
            aim = truth.get(target, NO_CREDITS)[-len(credits) :]  # the retrieved image has the second half
            row.append(f"{(credits - aim).square().sum() / aim.square().sum():.1e}" if len(credits) and len(aim) else "–")
        print(f"| {name} | {' | '.join(row)} |", flush=True)


def measure_memory(size: int, n_pairs: int) -> float:
    """The growth of this process in GiB by the default, after the passes of single photos; on Linux."""
    torch.set_num_threads(1)
    case, peaks = make_case(size, n_pairs), []
    for step in (partial(measure, tuple, case, 1), partial(Default(case.model, case.encoder.features).attribute, case.photos)):
        step()
        peaks.append(int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]))
    return (peaks[1] - peaks[0]) / 2**20


def compare_sizes(quick: bool) -> None:
    print("\n| players | pairs | seconds for each pair | ratio to two passes | GiB |\n|---|---|---|---|---|")
    for size, n_pairs in ((224, 1), (224, 8), (224, 32), (448, 1), (896, 1))[: 1 if quick else None]:
        case, place = make_case(size, n_pairs), f"| {' + '.join([str((size // STRIDE) ** 2)] * 2)} | {n_pairs} |"
        try:
            explain = partial(Default(case.model, case.encoder.features).attribute, case.photos)
            _, _, seconds, _, ratio = measure(explain, case, 1 if quick else 3)
        except ValueError as error:
            print(place, error, "| | |")
            continue
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:  # a process of its own, because a peak never falls
            memory = pool.submit(measure_memory, size, n_pairs).result()
        print(place, f"{seconds / n_pairs:.2f} | {ratio / n_pairs:.1f} | {memory:.2f} |", flush=True)


def compare_threads(quick: bool) -> None:
    case = make_case()
    explain = partial(Default(case.model, case.encoder.features).attribute, case.photos)
    print("\n| threads | seconds of two passes, on the clock | of the default | ratio |\n|---|---|---|---|")
    for n_threads in (1,) if quick else (1, 2):
        torch.set_num_threads(n_threads)
        _, _, seconds, two_passes, ratio = measure(explain, case, 1 if quick else 5, time.perf_counter)
        print(f"| {n_threads} | {two_passes:.3f} | {seconds:.3f} | {ratio:.1f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Compare the speed of methods with two passes of the network.")
    parser.add_argument("--quick", action="store_true", help="single runs, a rough reference and few cases: to see that the script runs")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", "Multiple layers provided")  # Captum's warning of dependent layers; the towers are independent
    compare_methods(quick)
    compare_sizes(quick)
    compare_threads(quick)
