"""Evaluation: the experiments of the paper and a convergence study, as commands that can be interrupted."""
