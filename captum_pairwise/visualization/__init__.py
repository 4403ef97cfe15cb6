"""Pictures of what methods return, of pairs of parts and of maps, and of what studies found: tensors in, arrays or figures out.

A figure of `Interactions` draws one pair of a batch, its `example`; a figure of maps draws the whole batch, a row or two for each pair.
"""

from captum_pairwise.visualization.convergence_figure import convergence_figure
from captum_pairwise.visualization.counterfactual_figure import counterfactual_figure
from captum_pairwise.visualization.heatmap_figure import overlay, to_pixels
from captum_pairwise.visualization.maps import heatmap_figure
from captum_pairwise.visualization.matches_figure import matches_figure
from captum_pairwise.visualization.matrix_figure import matrix_figure
from captum_pairwise.visualization.pair_figure import pair_figure
from captum_pairwise.visualization.parts import strongest_parts
from captum_pairwise.visualization.projection_figure import projection_figure
from captum_pairwise.visualization.tables_figure import table_figure
from captum_pairwise.visualization.token_figure import caption_figure, token_figure
from captum_pairwise.visualization.transfer_figure import transfer_figure

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
