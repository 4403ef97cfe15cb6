"""The columns of the tables: public attribution classes with their budgets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, cast

import torch
from captum.attr import LayerGradCam
from torch import Tensor

import captum_pairwise as cp
from captum_pairwise.evaluation.tables.method_runs import MethodRun
from captum_pairwise.evaluation.tables.retrieved_map import RetrievedMap, paint_retrieved, project_object

AGNOSTIC, DEPENDENT, CONTROL = "model agnostic", "architecture dependent", "control"


@dataclass(frozen=True)
class TableMethod:
    """A column.

    Attributes:
        title: the heading of the column.
        family: the best method of each family is set in bold, as in the paper.
        needs: a package that the method imports when it runs, and the extra that installs it.
    """

    title: str
    family: str
    needs: tuple[str, str] | None = None


TABLE_METHODS = {
    "sbsm": TableMethod("SBSM", AGNOSTIC),
    "pshap": TableMethod("PSHAP", AGNOSTIC),
    "lime": TableMethod("LIME", AGNOSTIC, ("sklearn", "lime")),
    "kshap": TableMethod("KSHAP", AGNOSTIC),
    "factorised": TableMethod("factorised", AGNOSTIC),
    "vesm": TableMethod("VESM", DEPENDENT),
    "gcam": TableMethod("GCAM", DEPENDENT),
    "sam": TableMethod("SAM", DEPENDENT),
    "igsam": TableMethod("IG-SAM", DEPENDENT),
    "ksam": TableMethod("KSAM", DEPENDENT),
    "layer_factorised": TableMethod("factorised, layer", DEPENDENT),
    "random": TableMethod("random", CONTROL),
}


def explain_by_sbsm(run: MethodRun) -> RetrievedMap:
    """SBSM (§A.11)."""
    return RetrievedMap(cp.SBSM(run.model).attribute(run.pair.images, **run.windows)[1][:, 0])


def project_by_sbsm(run: MethodRun, mask: Tensor) -> RetrievedMap:
    """SBSM of pairs of windows (§A.11)."""
    arguments: dict[str, Any] = run.budget(run.settings.second) | run.windows | {"feature_mask": run.pair.superpixels}
    return RetrievedMap(cp.PairwiseSBSM(run.model).window_pairs(**arguments).project(mask))


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


def project_by_hessians(run: MethodRun, mask: Tensor) -> RetrievedMap:
    """Integrated Hessians (eq. 15)."""
    method = cp.LayerIntegratedHessians(*run.layer, within=True)
    return project_object(method.interactions(run.pair.images, n_steps=run.settings.n_nodes), mask)


def draw_heat_map(run: MethodRun) -> RetrievedMap:
    """A map of random numbers."""
    retrieved = run.pair.images[1]
    return RetrievedMap(torch.rand(1, *retrieved.shape[2:], generator=run.generator, dtype=torch.float32, device="cpu").to(retrieved))


FIRST_ORDER: dict[str, Callable[[MethodRun], RetrievedMap]] = {
    "sbsm": explain_by_sbsm,
    "pshap": lambda run: run.explain_parts(cp.PartitionShap, run.settings.first, None),
    "lime": lambda run: run.explain_parts(cp.SuperpixelLime, run.settings.first, run.pair.superpixels[1]),
    "kshap": lambda run: run.explain_parts(cp.KernelShapley, run.settings.first, run.pair.superpixels[1]),
    "factorised": lambda run: run.explain_parts(cp.JaggedShapleyTaylor, run.settings.n_embeddings, run.pair.superpixels[1]),
    "vesm": lambda run: RetrievedMap(cp.LayerVESM(*run.layer).attribute(run.pair.images)[1][:, 0]),
    "gcam": explain_by_gradcam,
    "sam": explain_by_sam,
    "igsam": explain_by_igsam,
    "ksam": lambda run: run.explain_cells(cp.LayerKernelSAM, run.settings.first_layer),
    "layer_factorised": lambda run: run.explain_cells(cp.LayerJaggedShapleyTaylor, run.settings.n_layer_embeddings),
    "random": draw_heat_map,
}
SECOND_ORDER: dict[str, Callable[[MethodRun, Tensor], RetrievedMap]] = {  # the tensor is the mask of the query's object
    "sbsm": project_by_sbsm,
    "lime": lambda run, mask: run.project_parts(cp.PairwiseLime, run.settings.second, mask),
    "kshap": lambda run, mask: run.project_parts(cp.KernelShapleyTaylor, run.settings.second, mask, sampling=run.settings.sampling),
    "factorised": lambda run, mask: run.project_parts(cp.FactorisedShapleyTaylor, run.settings.n_embeddings, mask, within=True),
    "sam": lambda run, mask: project_object(cp.LayerPairwiseSAM(*run.layer).interactions(run.pair.images), mask),
    "igsam": project_by_hessians,
    "ksam": lambda run, mask: run.project_cells(
        cp.LayerKernelShapleyTaylor, run.settings.second_layer, mask, sampling=run.settings.sampling
    ),
    "layer_factorised": lambda run, mask: run.project_cells(
        cp.LayerFactorisedShapleyTaylor, run.settings.n_layer_embeddings, mask, within=True
    ),
    "random": lambda run, mask: draw_heat_map(run),
}


def explain_pair(name: str, run: MethodRun) -> tuple[RetrievedMap, RetrievedMap | None]:
    """Both orders of a method on one pair; second order needs the masks of the pair."""
    first, masks = FIRST_ORDER[name](run), run.pair.masks
    return first, SECOND_ORDER[name](run, masks[0]) if name in SECOND_ORDER and masks is not None else None


def choose_methods(names: Sequence[str]) -> list[str]:
    """The columns of these names in the order of the table; prints which ones `all` leaves out.

    Raises:
        ValueError: a name is unknown, or its method needs a package that is not installed.
    """
    missing = {name: method.needs for name, method in TABLE_METHODS.items() if method.needs and find_spec(method.needs[0]) is None}
    for name in names:
        if name != "all" and name not in TABLE_METHODS:
            raise ValueError(f"Expected methods among {[*TABLE_METHODS, 'all']}, got {name!r}.")
        if name in missing:
            raise ValueError(f"Expected {missing[name][0]} for {name}: pip install 'captum-pairwise[{missing[name][1]}]'.")
    wanted = [name for name in TABLE_METHODS if name in names or "all" in names]
    for name, (package, extra) in missing.items():
        if name in wanted:
            print(f"Left out: {TABLE_METHODS[name].title}, which needs {package}: pip install 'captum-pairwise[{extra}]'.")
    return [name for name in wanted if name not in missing]
