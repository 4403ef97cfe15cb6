"""The protocols with exact truths in the tables: what knows the truth has the best number, what ignores the query has none."""

import numpy as np
import pytest
import torch
from PIL import Image
from table_cases import SETTINGS, SIZE, make_model, start_run
from torch.testing import assert_close

import captum_pairwise as cp
from captum_pairwise import metrics
from captum_pairwise.datasets import Pair
from captum_pairwise.evaluation.tables import table_methods
from captum_pairwise.evaluation.tables.image_pair import open_pair
from captum_pairwise.evaluation.tables.measures import measure_explanation
from captum_pairwise.evaluation.tables.study import plan_jobs
from captum_pairwise.evaluation.tables.table_methods import TABLE_METHODS, add_method, choose_methods, explain_pair

HALF = SIZE // 2
LABELS = np.arange(1, 5, dtype=np.uint8).reshape(2, 2).repeat(HALF, 0).repeat(HALF, 1)


def save(folder, name, pixels):
    Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder / f"{name}.png"


def make_pair(folder, protocol):
    """Four colours, turned by half a circle in the retrieved image."""
    draws = np.random.default_rng(0)
    query = draws.integers(0, 256, (5, 3), dtype=np.uint8)[LABELS]
    files = [save(folder, "q", query), save(folder, "r", query[::-1, ::-1])]
    masks = [save(folder, "qm", LABELS), save(folder, "rm", LABELS[::-1, ::-1])]
    if protocol == "points":
        points = tuple((row, column, 1 - row, 1 - column) for row in (0.2, 0.8) for column in (0.2, 0.8))
        return Pair(*files, "turned", protocol=protocol, points=points)
    before = save(folder, "b", draws.integers(0, 256, query.shape, dtype=np.uint8)) if protocol == "planted" else None
    return Pair(*files, "turned", *masks, protocol=protocol, before=before)


def measure(pair, method):
    opened = open_pair(pair, make_model(), SETTINGS.n_segments)
    return measure_explanation(*explain_pair(method, start_run(opened)), opened)


@pytest.mark.parametrize(("protocol", "name"), [("mosaic", "pair_pointing"), ("points", "pck_10"), ("planted", "planted_auc")])
def test_the_truth_is_best_and_a_map_without_the_query_is_chance(tmp_path, protocol, name):
    pair = make_pair(tmp_path, protocol)
    best, chance = (getattr(measure(pair, method), name) for method in ("truth", "no_query"))
    assert best > 0.97
    expected = {"pair_pointing": 0.25, "planted_auc": 0.5}.get(name)
    assert chance == pytest.approx(expected, abs=0.03) if expected else chance <= 0.5


@pytest.mark.parametrize("method", ["sbsm", "sam", "cosine"])
@pytest.mark.parametrize("protocol", ["mosaic", "points", "planted"])
def test_every_kind_of_result_is_measured(tmp_path, protocol, method):
    values = {name: value for name, value in vars(measure(make_pair(tmp_path, protocol), method)).items() if value == value}
    expected = {"mosaic": {"pair_pointing"}, "points": {"pck_10", "pck_20"}, "planted": {"planted_auc", "planted_share"}}[protocol]
    assert set(values) == expected - ({"planted_share"} if method != "sam" else set())


def test_the_share_of_planted_pairs_is_of_the_added_similarity(tmp_path):
    pair = make_pair(tmp_path, "planted")
    opened, measures = open_pair(pair, make_model(), 4), measure(pair, "sam")
    result = cp.LayerPairwiseSAM(*start_run(opened).layer).interactions(opened.images)
    quadrants = torch.from_numpy(LABELS[:: HALF // 2, :: HALF // 2].astype(int))  # 4×4 cells
    planted = quadrants.flatten()[:, None] == quadrants.flip(0, 1).flatten()
    with torch.no_grad():
        added = opened.model.wrapper(*opened.images) - opened.model.wrapper(opened.images[0], opened.before)
    evidence = metrics.planted_evidence(result.between[0], planted, added.item())
    assert (measures.planted_auc, measures.planted_share) == (pytest.approx(evidence.auc), pytest.approx(evidence.share, rel=1e-4))


def test_a_query_of_one_photo_also_measures_maps(tmp_path):
    pair = make_pair(tmp_path, "mosaic")
    save(tmp_path, "qm", np.ones_like(LABELS))
    assert measure(pair, "truth").pointing == 1 and measure(pair, "gcam").pointing > 0
    assert measure(pair, "centre").pointing == pytest.approx(0.25, abs=0.01)


def test_slow_methods_explain_the_first_pairs_of_each_protocol_and_no_method_without_a_number(tmp_path):
    pairs = [Pair(tmp_path / f"{name}{number}", tmp_path / "r") for number in range(3) for name in "ab"]
    pairs += [Pair(tmp_path / f"c{number}", tmp_path / "r", protocol="points", points=((0.0, 0.0, 0.0, 0.0),)) for number in range(3)]
    jobs = plan_jobs(pairs, tmp_path, [make_model()], ["kshap", "gcam", "sam", "truth"], "s", n_slow=2)
    planned = [[run.method for run in job.runs] for job in jobs]
    assert planned[:6] == [["kshap", "gcam", "sam"]] * 2 + [["gcam", "sam"]] * 4  # the truth of photos without masks is unknown
    assert planned[6:] == [["kshap", "sam", "truth"]] * 2 + [["sam", "truth"]]


def explain_as_sam(model, layer, query, retrieved):
    return cp.LayerPairwiseSAM(model, layer).interactions((query, retrieved))


def paint_ones(model, layer, query, retrieved):
    return torch.ones_like(retrieved[:, 0])


def test_a_function_of_the_user_is_a_column(tmp_path, monkeypatch):
    monkeypatch.setattr(table_methods, "TABLE_METHODS", dict(TABLE_METHODS))
    names = choose_methods(["sam", "mine=test_measures_of_truth:explain_as_sam", "flat=test_measures_of_truth:paint_ones"])
    assert names == ["sam", "mine", "flat"]
    opened = open_pair(make_pair(tmp_path, "mosaic"), make_model(), 4)
    first, second = explain_pair("mine", start_run(opened))
    assert_close(second.between, TABLE_METHODS["sam"].second(start_run(opened)).between)
    assert_close(first.heat_map.flatten(), second.retrieved_map[0])
    assert explain_pair("flat", start_run(opened))[1] is None
    with pytest.raises(ValueError, match="new name for a function, got 'sam'"):
        add_method("sam", explain_as_sam)
    with pytest.raises(ValueError, match="NAME=module:function, got 'colonel'"):
        choose_methods(["colonel"])
