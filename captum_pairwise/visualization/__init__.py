"""Figures of explanations, as Matplotlib figures: pairs of parts, maps, and the results of studies.

A figure of `Interactions` draws one pair of the batch, chosen by `example`. A figure of maps draws the whole batch.
"""

from captum_pairwise.visualization.caption_figure import caption_figure
from captum_pairwise.visualization.map_figures import counterfactual_figure, heatmap_figure, projection_figure
from captum_pairwise.visualization.matches_figure import matches_figure
from captum_pairwise.visualization.matrix_figure import matrix_figure
from captum_pairwise.visualization.overlays import overlay, paint_pixels
from captum_pairwise.visualization.pair_figures import joint_figure, pair_figure
from captum_pairwise.visualization.parts import strongest_parts
from captum_pairwise.visualization.ranking_figure import ranking_figure
from captum_pairwise.visualization.ranking_viewer import ranking_viewer
from captum_pairwise.visualization.study_figures import convergence_figure, table_figure
from captum_pairwise.visualization.token_figure import token_figure

to_pixels = paint_pixels  # the public name; `metrics.to_pixels` resizes maps instead

__all__ = [
    "caption_figure",
    "convergence_figure",
    "counterfactual_figure",
    "heatmap_figure",
    "joint_figure",
    "matches_figure",
    "matrix_figure",
    "overlay",
    "pair_figure",
    "projection_figure",
    "ranking_figure",
    "ranking_viewer",
    "strongest_parts",
    "table_figure",
    "to_pixels",
    "token_figure",
]
