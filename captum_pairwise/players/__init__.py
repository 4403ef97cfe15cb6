"""The parts of the inputs that receive credit, and their baselines."""
