"""captum_pairwise: Shapley credit for the parts of two images, and for pairs of parts, in the similarity of the images.

>>> import torch, captum_pairwise as cp
>>> encoder = torch.nn.Conv2d(3, 8, 3, stride=2)
>>> model = cp.SimilarityWrapper(encoder)
>>> query, retrieved = torch.rand(1, 3, 9, 9), torch.rand(1, 3, 9, 9)
>>> interactions = cp.LayerFactorisedShapleyTaylor(model, encoder).interactions((query, retrieved))
>>> interactions.marginal.shape, interactions.between.shape
(torch.Size([1, 32]), torch.Size([1, 16, 16]))
"""

from captum_pairwise import datasets, interop, metrics, testing, visualization
from captum_pairwise.attr.counterfactual import Counterfactual, counterfactual
from captum_pairwise.attr.integrated_gradients import LayerIGCAM, LayerIGSAM
from captum_pairwise.attr.integrated_hessians import IntegratedHessians, LayerIntegratedHessians
from captum_pairwise.attr.kernel import KernelShapley, KernelShapleyTaylor, LayerKernelSAM, LayerKernelShapleyTaylor
from captum_pairwise.attr.lime import PairwiseLime, SuperpixelLime
from captum_pairwise.attr.partition import PartitionShap
from captum_pairwise.attr.project_attention import project_attention, project_attention_through
from captum_pairwise.attr.sam import LayerPairwiseSAM, LayerSAM
from captum_pairwise.attr.sbsm import SBSM, PairwiseSBSM
from captum_pairwise.attr.shapley_taylor import (
    ExactShapleyTaylor,
    FactorisedShapleyTaylor,
    GaussianProcessShapleyTaylor,
    JaggedShapleyTaylor,
    LayerExactShapleyTaylor,
    LayerFactorisedShapleyTaylor,
    LayerGaussianProcessShapleyTaylor,
    LayerJaggedShapleyTaylor,
    LayerShapleyTaylorSampling,
    ShapleyTaylorSampling,
)
from captum_pairwise.attr.vesm import LayerVESM
from captum_pairwise.estimators.coalitions import harsanyi_dividends, jagged_credit, shapley_taylor, shapley_values
from captum_pairwise.models import backbones, clip, text
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.network.layer_view import SplitEncoder
from captum_pairwise.players.baselines import Backgrounds, blur_baseline, mean_colour
from captum_pairwise.players.regions import grid, paint, patches, superpixels, token_grid
from captum_pairwise.results.interactions import Interactions, project
from captum_pairwise.results.window_pairs import WindowPairs
from captum_pairwise.visualization.viewer import Viewer, viewer

__all__ = [
    "SBSM",
    "Backgrounds",
    "Counterfactual",
    "ExactShapleyTaylor",
    "FactorisedShapleyTaylor",
    "GaussianProcessShapleyTaylor",
    "IntegratedHessians",
    "Interactions",
    "JaggedShapleyTaylor",
    "KernelShapley",
    "KernelShapleyTaylor",
    "LayerExactShapleyTaylor",
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
    "PairwiseLime",
    "PairwiseSBSM",
    "PartitionShap",
    "ShapleyTaylorSampling",
    "SimilarityWrapper",
    "SplitEncoder",
    "SuperpixelLime",
    "Viewer",
    "WindowPairs",
    "backbones",
    "blur_baseline",
    "clip",
    "counterfactual",
    "datasets",
    "grid",
    "harsanyi_dividends",
    "interop",
    "jagged_credit",
    "mean_colour",
    "metrics",
    "paint",
    "patches",
    "project",
    "project_attention",
    "project_attention_through",
    "shapley_taylor",
    "shapley_values",
    "superpixels",
    "testing",
    "text",
    "token_grid",
    "viewer",
    "visualization",
]

__version__ = "0.1.0"
