"""The results of the estimators."""
