from dataclasses import replace
from math import isnan, nan

import pytest
import torch
from table_cases import open_case, start_run
from torch.testing import assert_close

import captum_pairwise as cp
from captum_pairwise import metrics
from captum_pairwise.evaluation.tables.measures import measure_explanation
from captum_pairwise.evaluation.tables.retrieved_map import project_object
from captum_pairwise.evaluation.tables.table_methods import explain_pair


def explain(method, pair):
    return explain_pair(method, start_run(pair))


@pytest.mark.parametrize("method", ["sbsm", "kshap", "sam", "random"])
def test_measures_are_the_metrics(tmp_path, method):
    pair = open_case(tmp_path)
    (first, second), model = explain(method, pair), cp.SimilarityWrapper(pair.model.encoder)
    measures = measure_explanation(first, second, pair)
    second = project_object(second, pair.masks[0])
    projected = metrics.to_pixels(second.heat_map, (32, 32))
    assert measures.faithfulness == pytest.approx(metrics.faithfulness(model, pair.images, first.heat_map).item(), abs=1e-6)
    remaining = metrics.second_order_faithfulness(model, pair.images, projected, pair.masks)
    assert measures.pair_faithfulness == pytest.approx(remaining.item(), abs=1e-6)
    overlap = metrics.label_propagation(projected, pair.masks[1])
    assert (measures.mean_iou, measures.foreground_iou) == (overlap.mean_iou.item(), overlap.foreground_iou.item())
    for name, order, explanation in (("inefficiency", 0, first), ("pair_inefficiency", 1, second)):
        total = pair.full - pair.empty[order]
        expected = abs(explanation.credit.sum() - total).item() if explanation.credit is not None else nan
        assert getattr(measures, name) == pytest.approx(expected, abs=1e-6, nan_ok=True)


def test_the_empty_values_blur_one_image_or_both(tmp_path):
    pair = open_case(tmp_path)
    model, (query, retrieved) = cp.SimilarityWrapper(pair.model.encoder), pair.images
    with torch.no_grad():
        assert_close(pair.full, model(query, retrieved))
        assert_close(pair.empty[0], model(query, cp.blur_baseline(retrieved)))
        assert_close(pair.empty[1], model(*map(cp.blur_baseline, pair.images)))


def test_void_pixels_do_not_count(tmp_path):
    pair = open_case(tmp_path)
    void = torch.rand(pair.masks[1].shape, generator=torch.Generator().manual_seed(1)) < 0.3
    first, second = explain("kshap", pair)
    whole, measures = measure_explanation(first, second, pair), measure_explanation(first, second, replace(pair, void=void))
    projected = metrics.to_pixels(project_object(second, pair.masks[0]).heat_map, (32, 32))
    assert measures.mean_iou == metrics.label_propagation(projected, pair.masks[1], void).mean_iou.item() != whole.mean_iou
    model = cp.SimilarityWrapper(pair.model.encoder)
    remaining = metrics.second_order_faithfulness(model, pair.images, projected, pair.masks, void=void).item()
    assert measures.pair_faithfulness == pytest.approx(remaining, abs=1e-6) != whole.pair_faithfulness


def test_without_masks_second_order_is_nan(tmp_path):
    pair = open_case(tmp_path, with_masks=False)
    measures = measure_explanation(*explain("sam", pair), pair)
    assert not isnan(measures.faithfulness) and not isnan(measures.inefficiency)
    assert isnan(measures.pair_faithfulness) and isnan(measures.pair_inefficiency) and isnan(measures.mean_iou)


def test_the_share_that_is_predicted_is_the_share_of_the_result_and_of_banzhaf_indices(tmp_path):
    pair = open_case(tmp_path)
    method = cp.FactorisedInteractions(cp.SimilarityWrapper(pair.model.encoder), index="shapley-taylor", within=True)
    sizes = {"n_samples": 2 ** max(int(parts.max()) + 1 for parts in pair.superpixels), "feature_mask": pair.superpixels}  # all coalitions
    result = method.interactions(pair.images, **sizes)
    measures = measure_explanation(*explain("factorised", pair), pair)
    assert measures.pair_r2 == pytest.approx(result.r2.item(), abs=1e-4)
    assert measures.banzhaf_r2 == pytest.approx(result.as_index("banzhaf").r2.item(), abs=1e-4)
    without = measure_explanation(*explain("sam", pair), pair)
    assert isnan(without.pair_r2) and isnan(without.banzhaf_r2)
