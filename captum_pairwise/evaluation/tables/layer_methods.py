"""The methods of the tables that look at feature maps: of the network only what follows the maps is run."""

from typing import Any, cast

import torch
from captum.attr import LayerGradCam
from torch import Tensor

from captum_pairwise.attr.ig_sam import LayerIGSAM
from captum_pairwise.attr.integrated_hessians import LayerIntegratedHessians
from captum_pairwise.attr.kernel import LayerKernelSAM
from captum_pairwise.attr.pairwise_kernel import LayerKernelShapleyTaylor
from captum_pairwise.attr.pairwise_sam import LayerPairwiseSAM
from captum_pairwise.attr.sam import LayerSAM
from captum_pairwise.attr.vesm import LayerVESM
from captum_pairwise.evaluation.tables.explanation import Found, View, by_towers, of_both, of_one_image
from captum_pairwise.evaluation.tables.image_pair import Subject
from captum_pairwise.evaluation.tables.row_cache import remembered_pair
from captum_pairwise.evaluation.tables.settings import Settings
from captum_pairwise.games.build import layer_pairs
from captum_pairwise.games.sides import Request
from captum_pairwise.players.regions import cells


def similar_features(subject: Subject, settings: Settings, generator: torch.Generator) -> Found:
    """VESM."""
    return Found(View(LayerVESM(subject.model.tail, subject.model.cells).attribute(subject.maps(subject.images))[1][:, 0]), None)


def mean_gradients(subject: Subject, settings: Settings, generator: torch.Generator) -> Found:
    """GradCAM, without a ReLU (§A.3)."""
    query, retrieved = subject.maps(subject.images)
    heat_map = cast(Tensor, LayerGradCam(subject.model.tail.given_query(query), subject.model.cells).attribute(retrieved)).detach()[:, 0]
    return Found(View(heat_map, heat_map.flatten()), None)


def activations(subject: Subject, settings: Settings, generator: torch.Generator) -> Found:
    """SAM over no background (eq. 3, eq. 8)."""
    layer, maps = (subject.model.tail, subject.model.cells), subject.maps(subject.images)
    heat_map = LayerSAM(*layer).attribute(maps)[1][:, 0]
    second = of_both(subject, cells(maps[1]), lambda: LayerPairwiseSAM(*layer).interactions(maps))
    return Found(View(heat_map, heat_map.flatten()), second)


def gradients(subject: Subject, settings: Settings, generator: torch.Generator) -> Found:
    """IG-SAM (eq. 9, eq. 15)."""
    layer, maps, blurred = (subject.model.tail, subject.model.cells), subject.maps(subject.images), subject.maps(subject.blurred)
    first = LayerIGSAM(*layer).interactions(maps, blurred, n_steps=settings.n_steps)[1]
    method, players = LayerIntegratedHessians(*layer, within=True), cells(maps[1])
    second = of_both(subject, players, lambda: method.interactions(maps, blurred, n_steps=settings.n_nodes))
    return Found(of_one_image(first, players), second)


def kernels(subject: Subject, settings: Settings, generator: torch.Generator) -> Found:
    """KSAM (§4, eq. 7)."""
    layer, maps, blurred = (subject.model.tail, subject.model.cells), subject.maps(subject.images), subject.maps(subject.blurred)
    first = LayerKernelSAM(*layer).interactions(maps, blurred, n_samples=settings.first_layer, generator=generator)[1]
    method, players = LayerKernelShapleyTaylor(*layer, sampling=settings.sampling), cells(maps[1])
    draws: Any = {"n_samples": settings.second_layer, "generator": generator}
    return Found(of_one_image(first, players), of_both(subject, players, lambda: method.interactions(maps, blurred, **draws)))


@torch.no_grad()
def towers(subject: Subject, settings: Settings, generator: torch.Generator) -> Found:
    """The factorised estimator."""
    maps, blurred = subject.maps(subject.images), subject.maps(subject.blurred)
    pairs = layer_pairs(subject.model.tail, subject.model.cells, maps, Request(baselines=blurred))
    return Found(*by_towers(subject, pairs, remembered_pair(pairs.game(0)).game, settings.n_layer_embeddings, generator))
