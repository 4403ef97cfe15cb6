"""Pictures of `Interactions`, and of how fast their estimators converge: arrays in, arrays or figures out."""

from captum_pairwise.visualization.convergence import convergence_figure
from captum_pairwise.visualization.heatmaps import overlay, to_pixels
from captum_pairwise.visualization.pairs import pair_figure, strongest_parts
from captum_pairwise.visualization.tables import table_figure
from captum_pairwise.visualization.tokens import caption_figure, token_figure

__all__ = ["caption_figure", "convergence_figure", "overlay", "pair_figure", "strongest_parts", "table_figure", "to_pixels", "token_figure"]
