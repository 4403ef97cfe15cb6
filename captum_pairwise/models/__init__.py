"""Similarity models: two encoders and a head, and known encoders."""

from captum_pairwise.models import backbones, clip, text
from captum_pairwise.models.dual_encoder import DualEncoder
from captum_pairwise.models.libraries.colpali import from_colpali
from captum_pairwise.models.libraries.cross_encoder import from_cross_encoder
from captum_pairwise.models.libraries.from_open_clip import from_open_clip
from captum_pairwise.models.libraries.from_timm import from_timm
from captum_pairwise.models.libraries.from_transformers import from_transformers
from captum_pairwise.models.libraries.late_interaction import from_colbert, from_multi_vector_encoder
from captum_pairwise.models.libraries.sentence_transformers_encoder import from_sentence_transformers

__all__ = [
    "DualEncoder",
    "backbones",
    "clip",
    "from_colbert",
    "from_colpali",
    "from_cross_encoder",
    "from_multi_vector_encoder",
    "from_open_clip",
    "from_sentence_transformers",
    "from_timm",
    "from_transformers",
    "text",
]
