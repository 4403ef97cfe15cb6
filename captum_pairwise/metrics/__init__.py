"""Metrics of explanations, pair by pair: faithfulness, label propagation, prediction, and the sum of all credit."""

from captum_pairwise.metrics.censoring import censor
from captum_pairwise.metrics.curves import Curve, deletion_curve, insertion_curve
from captum_pairwise.metrics.efficiency import inefficiency, mean_and_error
from captum_pairwise.metrics.fidelity import faithfulness, second_order_faithfulness
from captum_pairwise.metrics.insertion_deletion import InsertionDeletion, insertion_deletion
from captum_pairwise.metrics.pixels import most_important, to_pixels
from captum_pairwise.metrics.propagation import LabelPropagation, label_propagation
from captum_pairwise.metrics.surrogate_fit import SurrogateFit, surrogate_faithfulness

__all__ = [
    "Curve",
    "InsertionDeletion",
    "LabelPropagation",
    "SurrogateFit",
    "censor",
    "deletion_curve",
    "faithfulness",
    "inefficiency",
    "insertion_curve",
    "insertion_deletion",
    "label_propagation",
    "mean_and_error",
    "most_important",
    "second_order_faithfulness",
    "surrogate_faithfulness",
    "to_pixels",
]
