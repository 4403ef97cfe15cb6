"""Integrals of derivatives along a path."""
