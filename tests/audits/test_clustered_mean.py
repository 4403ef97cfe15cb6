"""The standard error that is clustered by query, against the bootstrap over queries and against independent pairs."""

import numpy as np
import pytest

from captum_pairwise.audits.clustered_mean import average_by_query


def test_one_pair_for_each_query_is_the_usual_standard_error():
    values = np.random.default_rng(0).normal(size=50)
    mean = average_by_query(values, np.arange(50))
    assert mean.standard_error == pytest.approx(values.std(ddof=1) / np.sqrt(50))


def test_repeated_pairs_of_a_query_do_not_lower_the_error():
    values, queries = np.random.default_rng(0).normal(size=20), np.arange(20)
    once, often = average_by_query(values, queries), average_by_query(np.tile(values, 7), np.tile(queries, 7))
    assert often.standard_error == pytest.approx(once.standard_error)


def test_it_is_the_spread_over_samples_of_queries():
    generator = np.random.default_rng(0)

    def draw():
        shared = generator.normal(size=40)
        return np.repeat(shared, 5) + generator.normal(size=200)

    queries = np.repeat(np.arange(40), 5)
    results = [average_by_query(draw(), queries) for _ in range(400)]
    spread = np.std([result.mean for result in results])
    assert np.sqrt(np.mean([result.standard_error**2 for result in results])) == pytest.approx(spread, rel=0.1)


def test_nothing_has_no_mean():
    assert np.isnan(average_by_query(np.zeros(0), np.zeros(0, dtype=int)).mean)
    assert np.isnan(average_by_query(np.ones(3), np.zeros(3, dtype=int)).standard_error)
