"""Clusters of parts and their ranking, on rows whose shortcut is known."""

import numpy as np
import pytest

from captum_pairwise.audits.audit_rows import load_rows
from captum_pairwise.audits.pair_row import make_schema
from captum_pairwise.audits.search_pair import SearchPair
from captum_pairwise.audits.shard_files import RowFolder
from captum_pairwise.audits.shortcuts import rank_clusters
from captum_pairwise.audits.tag_shares import share_tags

pytest.importorskip("pyarrow", reason="pip install 'captum-pairwise[audit]'")

N_GROUPS, N_IN_GROUP, N_FEATURES = 6, 6, 16


def make_rows(has_shortcut):
    """Pairs within groups match on parts of the group; with a shortcut, one photo of each group has a wrong hit by a common part."""
    own, common = np.eye(N_FEATURES)[:N_GROUPS], np.eye(N_FEATURES)[N_GROUPS]

    def describe(side, place, part, direction):
        generator = np.random.default_rng([*place, part])  # a part of an image has the same features in every pair
        features = direction + generator.normal(scale=0.05, size=N_FEATURES)
        return {"side": side, "part": part, "credit": 0.6, "features": (features / np.linalg.norm(features)).astype(np.float16)}

    shares = {"tag": "logo", "query_credit": 0.6, "query_area": 0.25, "hit_credit": 0.2, "hit_area": 0.25, "pair_credit": 0.7}
    rows = []
    for group in range(N_GROUPS):
        for query in range(N_IN_GROUP):
            is_wrong = has_shortcut and query == 0
            hit = ((group + 1) % N_GROUPS, 0) if is_wrong else (group, (query + 1) % N_IN_GROUP)
            direction = common if is_wrong else own[group]
            numbers = {"similarity": 0.5, "r2": 0.9, "error_of_pairs": 0.1, "pairs": [], "words": [], "score": None, "error": ""}
            maps = {f"{side}_{name}": [0.0] * 4 for side in ("query", "hit") for name in ("map", "credit")}
            part = 3 if is_wrong else 0
            rows.append(
                {
                    **{"key": f"{group}{query}", "query": f"{group}/{query}", "hit": f"{hit[0]}/{hit[1]}", "group": f"{group}"},
                    **{"hit_group": f"{hit[0]}", "is_correct": not is_wrong, "query_grid": [2, 2], "hit_grid": [2, 2]},
                    **{
                        "parts": [describe("query", (group, query), part, direction), describe("hit", hit, part, direction)],
                        **numbers,
                        **maps,
                    },
                    "tags": [shares] if is_wrong else [],
                }
            )
    return rows


def load(rows, folder):
    stored = RowFolder(folder, "settings")
    stored.write(rows)
    return load_rows(stored, [row["key"] for row in rows])


def test_what_recurs_over_groups_in_wrong_hits_comes_first(tmp_path):
    rows = load(make_rows(True), tmp_path)
    clusters = rank_clusters(rows)
    first = clusters[0]
    assert first.is_suspect and not any(cluster.is_suspect for cluster in clusters[1:])
    shown = {file for file, _ in first.examples}
    assert shown <= {f"{group}/0" for group in range(N_GROUPS)} and len(shown) >= N_GROUPS - 1  # the farthest may be out of reach
    total = 0.6 * len(shown)  # each of them is the query of a pair and the hit of another, with half of 0.6
    assert first.credit.mean == pytest.approx(total / (N_GROUPS * N_IN_GROUP), rel=1e-6)
    assert (first.wrong.mean, first.correct.mean) == (pytest.approx(total / N_GROUPS), 0)
    assert first.recurrence == pytest.approx(len(shown) - 1)
    assert first.place == "at the bottom right"


def test_without_a_shortcut_nothing_is_suspected(tmp_path):
    clusters = rank_clusters(load(make_rows(False), tmp_path))
    assert len(clusters) == N_GROUPS and not any(cluster.is_suspect for cluster in clusters)


def test_without_groups_nobody_can_tell(tmp_path):
    rows = [{**row, "group": "", "hit_group": ""} for row in make_rows(True)]
    assert {cluster.is_suspect for cluster in rank_clusters(load(rows, tmp_path))} == {None}


def test_the_share_of_a_tag_is_the_mean_of_both_sides(tmp_path):
    shares = {(share.split, share.value): share for share in share_tags(load(make_rows(True), tmp_path))}
    share = shares["hits", "wrong"]
    assert (share.credit.mean, share.area.mean, share.ratio) == (pytest.approx(0.4), 0.25, pytest.approx(1.6))
    assert ("hits", "correct") not in shares and share.credit.n_queries == N_GROUPS


def test_all_columns_have_a_type():
    assert set(make_rows(True)[0]) == set(make_schema().names) and SearchPair("k", "q", "h").tags == {}
