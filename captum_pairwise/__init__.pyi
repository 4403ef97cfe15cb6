"""The public names, for type checkers and for `__init__.py`, which imports each name at its first use."""

from . import datasets, interop, metrics, models, testing, visualization
from .attr.counterfactual import Counterfactual, counterfactual
from .attr.enumerated import ExactShapleyTaylor, LayerExactShapleyTaylor
from .attr.factorised import (
    FactorisedInteractions,
    FactorisedShapleyTaylor,
    LayerFactorisedInteractions,
    LayerFactorisedShapleyTaylor,
)
from .attr.integrated_gradients import LayerIGCAM, LayerIGSAM
from .attr.integrated_hessians import IntegratedHessians, LayerIntegratedHessians
from .attr.kernel import KernelShapley, KernelShapleyTaylor, LayerKernelSAM, LayerKernelShapleyTaylor
from .attr.lime import PairwiseLime, SuperpixelLime
from .attr.map_products import pairs_from_maps
from .attr.maxsim import MaxSimShapleyTaylor
from .attr.partition import PartitionShap
from .attr.project_attention import project_attention, project_attention_through
from .attr.projection_recipe import OBJECT_RECIPE, ProjectionRecipe
from .attr.sam import LayerPairwiseSAM, LayerSAM
from .attr.sbsm import SBSM, PairwiseSBSM
from .attr.shapley_taylor import (
    GaussianProcessShapleyTaylor,
    JaggedShapleyTaylor,
    LayerGaussianProcessShapleyTaylor,
    LayerJaggedShapleyTaylor,
    LayerShapleyTaylorSampling,
    ShapleyTaylorSampling,
)
from .attr.vesm import LayerVESM
from .audits.audit_result import Audit
from .audits.audit_run import audit
from .estimators.coalitions import harsanyi_dividends, jagged_credit, shapley_taylor, shapley_values
from .explanations.calls import explain, explain_ranking
from .explanations.explanation import Explanation
from .explanations.ranking import Ranking
from .models import backbones, clip, text
from .models.similarity import SimilarityWrapper
from .network.layer_view import SplitEncoder
from .players.baselines import Backgrounds, blur_baseline, mean_colour
from .players.position_layouts import token_grid
from .players.regions import grid, paint, patches, superpixels
from .players.volumes import boxes, supervoxels
from .results.interactions import Interactions, project
from .results.window_pairs import WindowPairs
from .visualization.input_kinds import Picture, Signal, Spectrogram, Video, Volume
from .visualization.viewer import Viewer, viewer

__all__ = [
    "OBJECT_RECIPE",
    "SBSM",
    "Audit",
    "Backgrounds",
    "Counterfactual",
    "ExactShapleyTaylor",
    "Explanation",
    "FactorisedInteractions",
    "FactorisedShapleyTaylor",
    "GaussianProcessShapleyTaylor",
    "IntegratedHessians",
    "Interactions",
    "JaggedShapleyTaylor",
    "KernelShapley",
    "KernelShapleyTaylor",
    "LayerExactShapleyTaylor",
    "LayerFactorisedInteractions",
    "LayerFactorisedShapleyTaylor",
    "LayerGaussianProcessShapleyTaylor",
    "LayerIGCAM",
    "LayerIGSAM",
    "LayerIntegratedHessians",
    "LayerJaggedShapleyTaylor",
    "LayerKernelSAM",
    "LayerKernelShapleyTaylor",
    "LayerPairwiseSAM",
    "LayerSAM",
    "LayerShapleyTaylorSampling",
    "LayerVESM",
    "MaxSimShapleyTaylor",
    "PairwiseLime",
    "PairwiseSBSM",
    "PartitionShap",
    "Picture",
    "ProjectionRecipe",
    "Ranking",
    "ShapleyTaylorSampling",
    "Signal",
    "SimilarityWrapper",
    "Spectrogram",
    "SplitEncoder",
    "SuperpixelLime",
    "Video",
    "Viewer",
    "Volume",
    "WindowPairs",
    "audit",
    "backbones",
    "blur_baseline",
    "boxes",
    "clip",
    "counterfactual",
    "datasets",
    "explain",
    "explain_ranking",
    "grid",
    "harsanyi_dividends",
    "interop",
    "jagged_credit",
    "mean_colour",
    "metrics",
    "models",
    "paint",
    "pairs_from_maps",
    "patches",
    "project",
    "project_attention",
    "project_attention_through",
    "shapley_taylor",
    "shapley_values",
    "superpixels",
    "supervoxels",
    "testing",
    "text",
    "token_grid",
    "viewer",
    "visualization",
]

__version__: str
