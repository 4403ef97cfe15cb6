"""The factorised estimator for two-tower games."""
