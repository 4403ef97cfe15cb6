"""The methods of the paper, and ours, for the tables: public attribution classes with their budgets."""

from typing import Any, cast

from captum.attr import LayerGradCam
from torch import Tensor

import captum_pairwise as cp
from captum_pairwise.evaluation.tables.method_runs import MethodRun
from captum_pairwise.evaluation.tables.retrieved_map import RetrievedMap, paint_retrieved
from captum_pairwise.results.interactions import Interactions
from captum_pairwise.results.window_pairs import WindowPairs


def explain_by_sbsm(run: MethodRun) -> RetrievedMap:
    """SBSM (§A.11)."""
    return RetrievedMap(cp.SBSM(run.model).attribute(run.pair.images, **run.windows)[1][:, 0])


def pair_by_sbsm(run: MethodRun) -> WindowPairs:
    """SBSM of pairs of windows (§A.11)."""
    arguments: dict[str, Any] = run.budget(run.settings.second) | run.windows | {"feature_mask": run.pair.superpixels}
    return cp.PairwiseSBSM(run.model).window_pairs(**arguments)


def explain_by_gradcam(run: MethodRun) -> RetrievedMap:
    """GradCAM without a ReLU (§A.3)."""
    (query, retrieved), (model, layer) = run.pair.images, run.layer
    heat_map = cast(Tensor, LayerGradCam(model.given_query(query), layer).attribute(retrieved)).detach()[:, 0]
    return RetrievedMap(heat_map, heat_map.flatten())


def explain_by_sam(run: MethodRun) -> RetrievedMap:
    """SAM without a background (eq. 3)."""
    heat_map = cp.LayerSAM(*run.layer).attribute(run.pair.images)[1][:, 0]
    return RetrievedMap(heat_map, heat_map.flatten())


def explain_by_igsam(run: MethodRun) -> RetrievedMap:
    """IG-SAM (eq. 9)."""
    return paint_retrieved(cp.LayerIGSAM(*run.layer).interactions(run.pair.images, n_steps=run.settings.n_steps))


def pair_by_hessians(run: MethodRun) -> Interactions:
    """Integrated Hessians (eq. 15)."""
    return cp.LayerIntegratedHessians(*run.layer, within=True).interactions(run.pair.images, n_steps=run.settings.n_nodes)


def pair_by_taylor_path(run: MethodRun) -> Interactions:
    """The continuous Shapley–Taylor index."""
    method = cp.LayerIntegratedHessians(*run.layer, weight="taylor", within=True)
    return method.interactions(run.pair.images, n_steps=run.settings.n_nodes)


def pair_by_banzhaf(run: MethodRun) -> Interactions:
    """Banzhaf indices of cells."""
    return run.pair_cells(cp.LayerFactorisedInteractions, run.settings.n_layer_embeddings, index="banzhaf", within=True)
