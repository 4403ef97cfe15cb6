"""Similarity models: two encoders and a head, and known encoders."""

from captum_pairwise.models import backbones, clip, text

__all__ = ["backbones", "clip", "text"]
