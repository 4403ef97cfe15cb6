"""The mean of several results of one pair, whose network draws at random."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from captum_pairwise.results.credits import Credits, get_blocks
from captum_pairwise.results.interactions import NUMBERS, Interactions


def average_interactions(draws: Sequence[Interactions]) -> Interactions:
    """The mean of the credits and values of all draws.

    The standard error of a credit is the square root of the variance of the draws divided by their number, plus the mean square of the
    standard errors that the estimator itself reports. The samples of single draws are not kept.

    >>> ends = {"empty": torch.zeros(1), "full": torch.ones(1), "n_evaluations": torch.tensor([2]), "n_query": 1}
    >>> draws = [Interactions(marginal=torch.tensor([[credit]]), **ends) for credit in (1.0, 3.0)]
    >>> mean = average_interactions(draws)
    >>> mean.marginal, mean.standard_error["marginal"]
    (tensor([[2.]]), tensor([[1.]]))
    """
    blocks = {name: torch.stack([draw[name] for draw in draws]) for name in get_blocks(draws[0])}
    means: dict[str, Any] = {name: block.mean(0) for name, block in blocks.items()}
    known = [name for name in NUMBERS if getattr(draws[0], name) is not None]
    ends: dict[str, Any] = {name: torch.stack([getattr(draw, name) for draw in draws]).mean(0) for name in known}
    evaluations = torch.stack([draw.n_evaluations for draw in draws]).sum(0)
    errors: dict[str, Any] = {name: (block.var(0) / len(draws)).sqrt() for name, block in blocks.items()}
    for name, block in get_blocks(draws[0].standard_error or Credits()).items():
        own = torch.stack([draw.standard_error[name] if draw.standard_error is not None else torch.zeros_like(block) for draw in draws])
        errors[name] = (errors[name].square() + own.square().mean(0)).sqrt()
    return replace(draws[0], standard_error=Credits(**errors), n_evaluations=evaluations, sources=None, **ends, **means)
