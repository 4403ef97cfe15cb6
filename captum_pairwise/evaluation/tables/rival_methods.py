"""Methods of other papers and libraries for the tables."""

from dataclasses import replace
from typing import Any, cast

import torch
import torch.nn.functional as F
from captum.attr import LayerGradientXActivation, LayerIntegratedGradients
from jaxtyping import Float
from torch import Tensor

import captum_pairwise as cp
from captum_pairwise.evaluation.tables.method_runs import MethodRun
from captum_pairwise.evaluation.tables.retrieved_map import RetrievedMap, drop_unit
from captum_pairwise.results.credits import get_blocks
from captum_pairwise.results.interactions import ENDS, Interactions

GRID = 7  # parts along each side of an image, for the sums of relevance


def explain_by_captum_gradients(run: MethodRun) -> RetrievedMap:
    """Captum's integrated gradients of the layer, from the blurred image."""
    return _run_captum(run, LayerIntegratedGradients, baselines=cp.blur_baseline(run.pair.images[1]), n_steps=run.settings.n_steps)


def explain_by_captum_product(run: MethodRun) -> RetrievedMap:
    """Captum's gradient times activation of the layer."""
    return _run_captum(run, LayerGradientXActivation)


def _run_captum(run: MethodRun, cls: Any, **options: Any) -> RetrievedMap:
    """A layer method of Captum on the retrieved image, with the query as it is; channels are summed."""
    (query, retrieved), (model, layer) = run.pair.images, run.layer
    heat_map = cast(Tensor, cls(model.given_query(query), layer).attribute(retrieved, **options)).detach().sum(1)
    return RetrievedMap(heat_map, heat_map.flatten())


def pair_by_exclip(run: MethodRun) -> Interactions:
    """Integrated Jacobians of independent paths with frozen norms, as exCLIP and xsbert (Moeller et al. 2024)."""
    model = cp.SimilarityWrapper(run.pair.model.encoder, similarity="dot")
    method = cp.LayerIntegratedHessians(model, run.layer[1], weight="independent")
    result = method.interactions(run.pair.images, n_steps=run.settings.n_nodes)
    with torch.no_grad():
        norms = torch.stack([model.embed_query(image).norm() for image in run.pair.images]).prod()
    ends = {name: number for name in ENDS if (number := getattr(result, name)) is not None}
    return replace(result, **{name: block / norms for name, block in (get_blocks(result) | ends).items()})


def pair_by_fixlip(run: MethodRun) -> Interactions:
    """Weighted Banzhaf indices of superpixels by regression, as FIxLIP (Baniecki et al. 2025)."""
    return run.pair_parts(cp.FactorisedInteractions, run.settings.n_embeddings, index="banzhaf", fit="regression")


@torch.no_grad()
def pair_by_cosine(run: MethodRun) -> Interactions:
    """The cosine of every two positions of the layer, which many papers show as matches."""
    query, retrieved = (F.normalize(run.pair.model.encoder.feature_maps(image), dim=1) for image in run.pair.images)
    return drop_unit(cp.pairs_from_maps(query, retrieved))


def pair_by_relevance(run: MethodRun) -> Interactions:
    """Products of gradient × input maps of both images, as BiLRP (Eberle et al. 2020), with random directions of the embedding."""
    n_channels = run.pair.model.wrapper.embed_query(run.pair.images[0]).shape[1]
    directions = torch.randn(run.settings.n_maps, n_channels, generator=run.generator, dtype=torch.float32, device="cpu")
    maps = [_compute_relevance(run, image, directions.to(image) / run.settings.n_maps**0.5) for image in run.pair.images]
    masks = [cp.grid(image.shape[2], image.shape[3], GRID, GRID) for image in run.pair.images]
    return cp.pairs_from_maps(maps[0], maps[1], run.pair.full, feature_mask=(masks[0], masks[1]))


@torch.enable_grad()
def _compute_relevance(run: MethodRun, image: Tensor, directions: Float[Tensor, "maps channels"]) -> Float[Tensor, "1 maps height width"]:
    """Gradient × input of each direction of the normalised embedding; the input is 0 in the mean colour."""
    leaf = image.detach().clone().requires_grad_()
    scores = directions @ F.normalize(run.pair.model.wrapper.embed_query(leaf), dim=1)[0]
    gradients = [torch.autograd.grad(score, leaf, retain_graph=True)[0] for score in scores]
    return torch.stack([(gradient * (image - run.pair.model.encoder.mean)).sum(1) for gradient in gradients], 1)
