"""Pictures of what methods return, of pairs of parts and of maps, and of what studies found: tensors in, arrays or figures out.

A figure of `Interactions` draws one pair of a batch, its `example`; a figure of maps draws the whole batch, a row or two for each pair.
"""

from captum_pairwise.visualization.convergence import convergence_figure
from captum_pairwise.visualization.counterfactual import counterfactual_figure
from captum_pairwise.visualization.heatmaps import overlay, to_pixels
from captum_pairwise.visualization.maps import heatmap_figure
from captum_pairwise.visualization.matches import matches_figure
from captum_pairwise.visualization.matrix import matrix_figure
from captum_pairwise.visualization.pairs import pair_figure
from captum_pairwise.visualization.parts import strongest_parts
from captum_pairwise.visualization.projection import projection_figure
from captum_pairwise.visualization.tables import table_figure
from captum_pairwise.visualization.tokens import caption_figure, token_figure
from captum_pairwise.visualization.transfer import transfer_figure

__all__ = [
    "caption_figure",
    "convergence_figure",
    "counterfactual_figure",
    "heatmap_figure",
    "matches_figure",
    "matrix_figure",
    "overlay",
    "pair_figure",
    "projection_figure",
    "strongest_parts",
    "table_figure",
    "to_pixels",
    "token_figure",
    "transfer_figure",
]
