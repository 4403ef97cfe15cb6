"""Ten of Captum's own classes on one `SimilarityWrapper`: what to hand to which of them, and what comes back.

    python tutorials/captum_pipelines.py
    python tutorials/captum_pipelines.py --samples 1000 --steps 50 --out folder

The query is the left view of the stereo motorcycle, the retrieved photo the right one, the network EfficientNet-Lite0, and what is left
out of a photo shows its blur. Budgets are small, for a page that runs in a minute on one core: more `--samples` and `--steps` make better
maps. KernelShap and Lime need scikit-learn.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import captum.attr as ca
import numpy as np
import skimage.data
import torch
from captum._utils.models.linear_model import SkLearnLinearRegression
from captum.attr import visualization
from captum.metrics import infidelity
from matplotlib.figure import Figure
from torch import Tensor, nn

import captum_pairwise as cp
from captum_pairwise import backbones

AT_ONCE: dict[str, Any] = {"perturbations_per_eval": 8}  # images in a forward pass; Captum's default of one is slower


@dataclass(frozen=True)
class Photo:
    """A photo `[1, 3, 224, 224]`, what shows where it is left out, and superpixels of it."""

    shown: Tensor
    blurred: Tensor
    parts: Tensor


class Page:
    """A table that is printed as it grows, and a picture of ten maps."""

    def __init__(self, query: Photo, retrieved: Photo) -> None:
        self.photos = {"query": query.shown, "retrieved": retrieved.shown}
        self.figure = Figure(figsize=(15, 6.6), layout="constrained", dpi=110)
        self.panels = iter(self.figure.subplots(2, 5).flat)
        print("| class | handed | explains | seconds | sum of its credit | due: v(N) - v(∅) |")
        print("|---|---|---|---|---|---|")

    def show(
        self, name: str, handed: str, explains: str, attribute: Callable, due: Tensor | None = None, parts: Tensor | None = None
    ) -> Tensor:
        """Run it, and draw the last map of what it returns, which comes back."""
        started = time.perf_counter()
        found = attribute()
        seconds, maps = time.perf_counter() - started, [found] if isinstance(found, Tensor) else list(found)
        numbers = maps if parts is None else [of_each_number(maps[0], parts)]
        sums = "– | –" if due is None else f"{sum(one.sum().item() for one in numbers):+.4f} | {due.item():+.4f}"
        print(f"| {name} | {handed} | {explains} | {seconds:.1f} | {sums} |", flush=True)
        drawn = "retrieved" if explains == "both" else explains
        self.draw(self.photos[drawn], maps[-1].detach(), f"{name}\n{handed} → {drawn}")
        return maps[-1].detach()

    def draw(self, photo: Tensor, credit: Tensor, title: str) -> None:
        """A map over the grey photo by Captum's own painter: a layer's is enlarged, and pixels are averaged, as single ones do not show."""
        heat = ca.LayerAttribution.interpolate(credit.sum(1, keepdim=True), photo.shape[2:], "bilinear")
        heat = nn.functional.avg_pool2d(heat, 9, 1, 4)
        grey, heat = (one[0].permute(1, 2, 0).numpy() for one in (photo.mean(1, keepdim=True).expand_as(photo), heat))
        panel, look = next(self.panels), {"alpha_overlay": 0.6, "cmap": "RdBu_r", "title": title, "use_pyplot": False}
        visualization.visualize_image_attr(heat, grey, "blended_heat_map", "all", (self.figure, panel), **look)


def photo_of(shown: Tensor) -> Photo:
    return Photo(shown, cp.blur_baseline(shown), cp.superpixels(shown, n_segments=20))


def of_each_number(credit: Tensor, parts: Tensor) -> Tensor:
    """Captum paints the whole credit of a superpixel on each of its numbers; to sum, each takes its share."""
    return credit / (parts.unique(return_counts=True)[1][parts] * credit.shape[1])


def on_the_wrapper(page: Page, model: cp.SimilarityWrapper, query: Photo, retrieved: Photo, steps: int) -> None:
    """The wrapper is a forward function of two inputs: a tuple goes in, and a tuple with a map for each photo comes out."""
    photos, blurred = (query.shown, retrieved.shown), (query.blurred, retrieved.blurred)
    handed, explains, due = "wrapper", "both", model(*photos) - model(*blurred)  # little: two blurs are alike, too
    gradients = ca.IntegratedGradients(model)
    page.show("IntegratedGradients", handed, explains, lambda: gradients.attribute(photos, blurred, n_steps=steps), due)
    # ids that both masks have would be one player, with a part in each photo; so the retrieved photo's begin where the query's end
    masks = query.parts, retrieved.parts + query.parts.max() + 1
    ablation = ca.FeatureAblation(model)
    page.show("FeatureAblation", handed, explains, lambda: ablation.attribute(photos, blurred, feature_mask=masks, **AT_ONCE))


def on_layers(page: Page, model: cp.SimilarityWrapper, query: Photo, retrieved: Photo, steps: int) -> None:
    """A layer that runs twice has one output for Captum, the last; the wrapper has two towers with shared weights, so name both layers."""
    photos, blurred = (query.shown, retrieved.shown), (query.blurred, retrieved.blurred)
    layers = model.tower_layers(model.query_encoder.get_submodule("features"))
    handed, explains, due = "wrapper, tower_layers", "both", model(*photos) - model(*blurred)
    page.show("LayerGradCam", handed, explains, lambda: [ca.LayerGradCam(model, one).attribute(photos) for one in layers])
    warnings.filterwarnings("ignore", "Multiple layers provided")  # none of the towers depends on the other
    method = ca.LayerIntegratedGradients(model, layers)
    page.show("LayerIntegratedGradients", handed, explains, lambda: method.attribute(photos, blurred, n_steps=steps), due)


def given_the_query(page: Page, model: cp.SimilarityWrapper, query: Photo, retrieved: Photo, samples: int) -> None:
    """`given_query` embeds the query once; what remains is a function of one photo, as most of Captum's examples have it."""
    forward, photo, blur, mask = model.given_query(query.shown), retrieved.shown, retrieved.blurred, retrieved.parts
    handed, explains, due = "given_query", "retrieved", forward(photo) - forward(blur)
    noisy = ca.NoiseTunnel(ca.Saliency(forward))  # it repeats each example in turn: fix one query for it, not a batch
    page.show("NoiseTunnel(Saliency)", handed, explains, lambda: noisy.attribute(photo, nt_samples=4, stdevs=0.05))
    windows = {"sliding_window_shapes": (3, 56, 56), "strides": (3, 42, 42), **AT_ONCE}
    page.show("Occlusion", handed, explains, lambda: ca.Occlusion(forward).attribute(photo, baselines=blur, **windows))
    shap, given = ca.KernelShap(forward), {"feature_mask": mask, "n_samples": samples, **AT_ONCE}
    credit = page.show("KernelShap", handed, explains, lambda: shap.attribute(photo, blur, **given), due, mask)
    print_infidelity(forward, photo, blur, of_each_number(credit, mask))


def given_the_retrieved(page: Page, model: cp.SimilarityWrapper, query: Photo, retrieved: Photo, samples: int) -> None:
    """`given_retrieved` leaves a function of the query."""
    forward, photo, blur, mask = model.given_retrieved(retrieved.shown), query.shown, query.blurred, query.parts
    handed, explains, due = "given_retrieved", "query", forward(photo) - forward(blur)
    values, orders = ca.ShapleyValueSampling(forward), {"feature_mask": mask, "n_samples": max(1, samples // 20), **AT_ONCE}
    page.show("ShapleyValueSampling", handed, explains, lambda: values.attribute(photo, blur, **orders), due, mask)
    # Lime's default is a Lasso with a penalty of 0.01, which takes credits as small as these for 0
    lime, given = ca.Lime(forward, SkLearnLinearRegression()), {"feature_mask": mask, "n_samples": samples, **AT_ONCE}
    page.show("Lime", handed, explains, lambda: lime.attribute(photo, blur, **given))


def given_a_gallery(page: Page, model: cp.SimilarityWrapper, query: Photo, gallery: Tensor, steps: int) -> None:
    """`given_gallery` scores the query against every item, `[1, 4]`; Captum's `target` picks the item to explain, here a runner-up."""
    scores, target = model.given_gallery(gallery), 1
    due = scores(query.shown)[:, target] - scores(query.blurred)[:, target]
    given: dict[str, Any] = {"n_samples": steps, "target": target}
    shap, handed = ca.GradientShap(scores), f"given_gallery, target={target}"  # its baselines may be several, from which it draws
    page.show("GradientShap", handed, "query", lambda: shap.attribute(query.shown, query.blurred, **given), due)


def squares_blurred(photos: Tensor, blurred: Tensor) -> tuple[Tensor, Tensor]:
    """Which numbers go, half of the squares of 32 pixels at random, and the photos without them."""
    goes = nn.functional.interpolate((torch.rand(len(photos), 1, 7, 7) > 0.5).float(), photos.shape[2:]).expand_as(photos)
    return goes, photos + goes * (blurred - photos)


def print_infidelity(forward: Callable, photo: Tensor, blur: Tensor, credit: Tensor) -> None:
    """The metrics take the same functions: how far a map is from telling what blurred squares change."""
    found = []
    for one in (credit, torch.zeros_like(credit)):
        torch.manual_seed(0)  # the same squares for both
        found.append(infidelity(forward, squares_blurred, photo, one, blur, n_perturb_samples=8).item())
    print(f"| infidelity | given_query | KernelShap's map: {found[0]:.1e}, no credit at all: {found[1]:.1e} | | | |")


def main() -> None:
    parser = argparse.ArgumentParser(description="Captum's classes on a similarity.")
    parser.add_argument("--samples", type=int, default=60, help="coalitions for KernelShap and Lime")
    parser.add_argument("--steps", type=int, default=12, help="points on the paths of gradients")
    parser.add_argument("--out", type=Path, default=Path("explanation"), help="folder for the picture")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    np.random.seed(0)  # GradientShap's
    encoder, (left, right, _) = backbones.create("efficientnet_lite0"), skimage.data.stereo_motorcycle()
    model, query, retrieved = cp.SimilarityWrapper(encoder), photo_of(encoder.preprocess(left)), photo_of(encoder.preprocess(right))
    others = [encoder.preprocess(photo) for photo in (skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea())]

    page = Page(query, retrieved)
    on_the_wrapper(page, model, query, retrieved, arguments.steps)
    on_layers(page, model, query, retrieved, arguments.steps)
    given_the_query(page, model, query, retrieved, arguments.samples)
    given_the_retrieved(page, model, query, retrieved, arguments.samples)
    given_a_gallery(page, model, query, torch.cat([retrieved.shown, *others]), arguments.steps)

    arguments.out.mkdir(parents=True, exist_ok=True)
    picture = arguments.out / "captum_pipelines.png"
    page.figure.savefig(picture)
    print(f"picture: {picture}")


if __name__ == "__main__":
    main()
