"""The convergence study on random games."""
