"""Evaluation: the paper's experiments, and what is beyond them, as commands that can be interrupted."""
