"""Gaussian processes over coalitions."""
