"""Metrics of explanations, pair by pair: faithfulness, known truths, prediction, the sum of all credit, and paired comparisons."""

from captum_pairwise.metrics.censoring import censor
from captum_pairwise.metrics.curves import Curve, deletion_curve, insertion_curve
from captum_pairwise.metrics.efficiency import inefficiency, mean_and_error
from captum_pairwise.metrics.fidelity import faithfulness, second_order_faithfulness
from captum_pairwise.metrics.insertion_deletion import InsertionDeletion, insertion_deletion
from captum_pairwise.metrics.keypoint_transfer import correct_keypoints
from captum_pairwise.metrics.paired_comparison import PairedDifference, compare_pairs
from captum_pairwise.metrics.pixels import most_important, to_pixels
from captum_pairwise.metrics.planted_patches import PlantedEvidence, planted_evidence
from captum_pairwise.metrics.pointing_game import pointing_recognition
from captum_pairwise.metrics.propagation import LabelPropagation, label_propagation
from captum_pairwise.metrics.surrogate_fit import SurrogateFit, surrogate_faithfulness

__all__ = [
    "Curve",
    "InsertionDeletion",
    "LabelPropagation",
    "PairedDifference",
    "PlantedEvidence",
    "SurrogateFit",
    "censor",
    "compare_pairs",
    "correct_keypoints",
    "deletion_curve",
    "faithfulness",
    "inefficiency",
    "insertion_curve",
    "insertion_deletion",
    "label_propagation",
    "mean_and_error",
    "most_important",
    "planted_evidence",
    "pointing_recognition",
    "second_order_faithfulness",
    "surrogate_faithfulness",
    "to_pixels",
]
