"""Means of pairs with standard errors that respect that the hits of one query resemble each other."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


class ClusteredMean(NamedTuple):
    """A mean.

    Attributes:
        mean: over all pairs; NaN without pairs.
        standard_error: clustered by query; NaN for fewer than two queries.
        n_pairs: the number of pairs.
        n_queries: the number of queries.
    """

    mean: float
    standard_error: float
    n_pairs: int
    n_queries: int


def average_by_query(values: Float[np.ndarray, " pairs"], queries: Int[np.ndarray, " pairs"]) -> ClusteredMean:
    r"""The mean of pairs, whose standard error is clustered by query (Liang and Zeger 1986).

    $$SE^2 = \frac{G}{G-1} \sum_g \Big(\sum_{i \in g} (x_i - \bar x)\Big)^2 / n^2$$

    for $G$ queries and $n$ pairs.

    >>> average_by_query(np.array([1.0, 1.0, 0.0, 0.0]), np.array([0, 0, 1, 1]))
    ClusteredMean(mean=0.5, standard_error=0.5, n_pairs=4, n_queries=2)
    """
    if not len(values):
        return ClusteredMean(np.nan, np.nan, 0, 0)
    mean = float(values.mean())
    _, numbers = np.unique(queries, return_inverse=True)
    sums = np.bincount(numbers, values - mean)
    n_queries = len(sums)
    variance = np.nan if n_queries < 2 else n_queries / (n_queries - 1) * float((sums**2).sum()) / len(values) ** 2
    return ClusteredMean(mean, float(np.sqrt(variance)), len(values), n_queries)
