"""Similarity models: two encoders and a head, and known encoders."""

from captum_pairwise.models import backbones, clip, text
from captum_pairwise.models.cross_encoder import from_cross_encoder
from captum_pairwise.models.dual_encoder import DualEncoder

__all__ = [
    "DualEncoder",
    "backbones",
    "clip",
    "from_cross_encoder",
    "text",
]
