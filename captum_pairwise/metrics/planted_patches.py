"""Planted patches: the credit of pairs of parts that hold the same pixels, because a patch of one image was pasted into the other."""

from dataclasses import dataclass

import scipy
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from captum_pairwise.games.checks import check_finite, describe_value


@dataclass(frozen=True)
class PlantedEvidence:
    r"""The agreement of credits with planted pairs of parts.

    Attributes:
        auc: the probability that a planted pair of parts has more credit than another pair, where equal credit counts half: the area under
            the curve of true over false positives.
        share: the credit of the planted pairs over the similarity that the patches added; NaN if it is unknown or 0.

    >>> evidence = planted_evidence(torch.tensor([[4.0, 0.0], [1.0, 2.0]]), torch.eye(2, dtype=torch.bool))
    >>> evidence.auc, evidence.share  # `added` is unknown
    (1.0, nan)

    See also `planted_evidence`.
    """

    auc: float
    share: float


@torch.no_grad()
def planted_evidence(
    pairs: Float[Tensor, "query retrieved"], planted: Bool[Tensor, "query retrieved"], added: float = torch.nan
) -> PlantedEvidence:
    """The agreement of the credit of all pairs of parts with the truth (after Patch-LFW).

    Args:
        pairs: the credit of every pair of a part of the query and a part of the retrieved image, `[n_q, n_r]`, a row of `between`.
        planted: the pairs that hold the same patch, boolean `[n_q, n_r]`.
        added: the similarity with the patches, minus the similarity without them.

    Raises:
        ValueError: an argument does not fit, or all or none of the pairs are planted.

    >>> pairs = torch.tensor([[4.0, 0.0], [1.0, 2.0]])
    >>> planted_evidence(pairs, torch.eye(2, dtype=torch.bool), added=8.0)
    PlantedEvidence(auc=1.0, share=0.75)

    See also `cp.datasets.exact_pairs` and `pointing_recognition`.
    """
    if not isinstance(pairs, Tensor) or pairs.dim() != 2 or not pairs.is_floating_point():
        raise ValueError(f"Expected floating-point pairs [n_q, n_r] of one pair of images, got {describe_value(pairs)}. Choose one row.")
    check_finite(pairs, "the pairs")
    if not isinstance(planted, Tensor) or planted.dtype != torch.bool or planted.shape != pairs.shape:
        raise ValueError(f"Expected planted to be booleans {list(pairs.shape)}, got {describe_value(planted)}. Mark each pair of parts.")
    n_planted, n_others = int(planted.sum()), int((~planted).sum())
    if n_planted == 0 or n_others == 0:
        raise ValueError(f"Expected planted pairs and others, got {n_planted} and {n_others}. Use smaller parts or fewer patches.")
    is_planted = planted.cpu().flatten().numpy()
    ranks = scipy.stats.rankdata(pairs.detach().cpu().double().flatten().numpy())
    auc = (ranks[is_planted].sum() - n_planted * (n_planted + 1) / 2) / (n_planted * n_others)
    credit = pairs[planted.to(pairs.device)].double().sum().item()
    return PlantedEvidence(float(auc), credit / added if added else torch.nan)
