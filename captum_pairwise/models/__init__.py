"""Similarity models: two encoders and a head, and known encoders."""
