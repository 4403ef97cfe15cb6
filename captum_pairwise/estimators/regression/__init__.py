"""Weighted regressions on sampled coalitions."""
