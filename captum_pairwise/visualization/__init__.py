"""Pictures of `Interactions`: arrays in, arrays or figures out."""

from captum_pairwise.visualization.heatmaps import overlay, to_pixels
from captum_pairwise.visualization.pairs import pair_figure, strongest_parts

__all__ = ["overlay", "pair_figure", "strongest_parts", "to_pixels"]
