"""The columns of the tables: public attribution classes with their arguments."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import cast

import torch
from captum.attr import LayerGradCam
from torch import Tensor

import captum_pairwise as cp
from captum_pairwise.evaluation.tables.explanation import Explanation, paint_jagged, paint_marginal, project_object
from captum_pairwise.evaluation.tables.method_runs import MethodRun

AGNOSTIC, DEPENDENT, CONTROL = "model agnostic", "architecture dependent", "control"


@dataclass(frozen=True)
class TableMethod:
    """A column.

    Attributes:
        title: its head.
        family: the best method of each family is set in bold, as in the paper.
        first: makes the first-order explanation of the retrieved image.
        second: projects the query's object, whose mask it gets, to the retrieved image; None if the method has no second order.
        needs: a package that the method imports when it runs, and the extra that installs it.
    """

    title: str
    family: str
    first: Callable[[MethodRun], Explanation]
    second: Callable[[MethodRun, Tensor], Explanation] | None = None
    needs: tuple[str, str] | None = None

    def explain(self, run: MethodRun) -> tuple[Explanation, Explanation | None]:
        """Both orders of one pair; without masks there is no second one."""
        first, masks = self.first(run), run.pair.masks
        return first, self.second(run, masks[0]) if self.second is not None and masks is not None else None


def explain_by_gradcam(run: MethodRun) -> Explanation:
    """GradCAM without a ReLU (§A.3)."""
    query, retrieved = run.pair.images
    model, layer = run.layer
    heat_map = cast(Tensor, LayerGradCam(model.given_query(query), layer).attribute(retrieved)).detach()[:, 0]
    return Explanation(heat_map, heat_map.flatten())


def explain_by_sam(run: MethodRun) -> Explanation:
    """SAM without a background (eq. 3)."""
    heat_map = cp.LayerSAM(*run.layer).attribute(run.pair.images)[1][:, 0]
    return Explanation(heat_map, heat_map.flatten())


def draw_heat_map(run: MethodRun) -> Explanation:
    """A map of random numbers."""
    retrieved = run.pair.images[1]
    return Explanation(torch.rand(1, *retrieved.shape[2:], generator=run.generator).to(retrieved))


TABLE_METHODS = {
    "sbsm": TableMethod(  # §A.11
        "SBSM",
        AGNOSTIC,
        lambda run: Explanation(cp.SBSM(run.model).attribute(run.pair.images, **run.windows)[1][:, 0]),
        lambda run, mask: Explanation(
            cp.PairwiseSBSM(run.model).window_pairs(**run.part_pairs(run.settings.second), **run.windows).project(mask)
        ),
    ),
    "pshap": TableMethod(  # §4
        "PSHAP",
        AGNOSTIC,
        lambda run: paint_marginal(cp.PartitionShap(run.model).interactions(**run.parts(run.settings.first, run.pixels))),
    ),
    "lime": TableMethod(  # §4, §5.2
        "LIME",
        AGNOSTIC,
        lambda run: paint_marginal(cp.SuperpixelLime(run.model).interactions(**run.parts(run.settings.first))),
        lambda run, mask: project_object(cp.PairwiseLime(run.model).interactions(**run.part_pairs(run.settings.second)), mask),
        ("sklearn", "lime"),
    ),
    "kshap": TableMethod(  # §4, eq. 7
        "KSHAP",
        AGNOSTIC,
        lambda run: paint_marginal(cp.KernelShapley(run.model).interactions(**run.parts(run.settings.first))),
        lambda run, mask: project_object(
            cp.KernelShapleyTaylor(run.model, sampling=run.settings.sampling).interactions(**run.part_pairs(run.settings.second)), mask
        ),
    ),
    "factorised": TableMethod(
        "factorised",
        AGNOSTIC,
        lambda run: paint_jagged(cp.JaggedShapleyTaylor(run.model).interactions(**run.parts(run.settings.n_embeddings))),
        lambda run, mask: project_object(
            cp.FactorisedShapleyTaylor(run.model).interactions(**run.part_pairs(run.settings.n_embeddings)), mask
        ),
    ),
    "vesm": TableMethod("VESM", DEPENDENT, lambda run: Explanation(cp.LayerVESM(*run.layer).attribute(run.pair.images)[1][:, 0])),
    "gcam": TableMethod("GCAM", DEPENDENT, explain_by_gradcam),
    "sam": TableMethod(  # eq. 3, eq. 8
        "SAM",
        DEPENDENT,
        explain_by_sam,
        lambda run, mask: project_object(cp.LayerPairwiseSAM(*run.layer).interactions(run.pair.images), mask),
    ),
    "igsam": TableMethod(  # eq. 9, eq. 15
        "IG-SAM",
        DEPENDENT,
        lambda run: paint_marginal(cp.LayerIGSAM(*run.layer).interactions(run.pair.images, n_steps=run.settings.n_steps)),
        lambda run, mask: project_object(
            cp.LayerIntegratedHessians(*run.layer, within=True).interactions(run.pair.images, n_steps=run.settings.n_nodes), mask
        ),
    ),
    "ksam": TableMethod(  # §4, eq. 7
        "KSAM",
        DEPENDENT,
        lambda run: paint_marginal(cp.LayerKernelSAM(*run.layer).interactions(**run.cells(run.settings.first_layer))),
        lambda run, mask: project_object(
            cp.LayerKernelShapleyTaylor(*run.layer, sampling=run.settings.sampling).interactions(**run.draws(run.settings.second_layer)),
            mask,
        ),
    ),
    "layer_factorised": TableMethod(
        "factorised, layer",
        DEPENDENT,
        lambda run: paint_jagged(cp.LayerJaggedShapleyTaylor(*run.layer).interactions(**run.cells(run.settings.n_layer_embeddings))),
        lambda run, mask: project_object(
            cp.LayerFactorisedShapleyTaylor(*run.layer).interactions(**run.draws(run.settings.n_layer_embeddings)), mask
        ),
    ),
    "random": TableMethod("random", CONTROL, draw_heat_map, lambda run, mask: draw_heat_map(run)),
}


def choose_methods(names: Sequence[str]) -> list[str]:
    """The columns of these names in the order of the table; prints which ones `all` leaves out.

    Raises:
        ValueError: a name is unknown, or its method needs a package that is not installed.
    """
    missing = {
        name: method.needs for name, method in TABLE_METHODS.items() if method.needs is not None and find_spec(method.needs[0]) is None
    }
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
