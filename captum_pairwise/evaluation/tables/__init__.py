"""The paper's tables on pairs of images."""
