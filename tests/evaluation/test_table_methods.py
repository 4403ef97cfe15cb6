"""The columns of the tables on one pair: what they compute, and what it costs."""

from dataclasses import replace

import pytest
import torch
from table_cases import SETTINGS, coarse, open_case, start_run, with_head
from torch.testing import assert_close

import captum_pairwise as cp
from captum_pairwise.evaluation.tables import table_methods
from captum_pairwise.evaluation.tables.retrieved_map import project_object
from captum_pairwise.evaluation.tables.row_cache import content_keys
from captum_pairwise.evaluation.tables.table_methods import BUILT_IN, TABLE_METHODS, choose_methods, explain_pair
from captum_pairwise.players.baselines import part_colour

pytest.importorskip("sklearn", reason="LIME is among the methods: pip install 'captum-pairwise[lime]'")
EFFICIENT = ("kshap", "factorised", "igsam", "ksam", "layer_factorised")
ON_CELLS = ("ksam", "layer_factorised")
BUDGETS = ("first", "second", "first_layer", "second_layer", "n_steps", "n_nodes", "n_embeddings", "n_layer_embeddings")
FIRST_CALLS = {  # the class that a column calls, and the setting of its budget
    "pshap": (cp.PartitionShap, "first"),
    "lime": (cp.SuperpixelLime, "first"),
    "kshap": (cp.KernelShapley, "first"),
    "factorised": (cp.JaggedShapleyTaylor, "n_embeddings"),
    "igsam": (cp.LayerIGSAM, "n_steps"),
    "ksam": (cp.LayerKernelSAM, "first_layer"),
    "layer_factorised": (cp.LayerJaggedShapleyTaylor, "n_layer_embeddings"),
}
SECOND_CALLS = {
    "sbsm": (cp.PairwiseSBSM, "second"),
    "lime": (cp.PairwiseLime, "second"),
    "kshap": (cp.KernelShapleyTaylor, "second"),
    "factorised": (cp.FactorisedShapleyTaylor, "n_embeddings"),
    "igsam": (cp.LayerIntegratedHessians, "n_nodes"),
    "ksam": (cp.LayerKernelShapleyTaylor, "second_layer"),
    "layer_factorised": (cp.LayerFactorisedShapleyTaylor, "n_layer_embeddings"),
}


def explain(method, pair, settings=SETTINGS):
    first, second = explain_pair(method, start_run(pair, settings))
    return first, None if second is None else project_object(second, pair.masks[0])


def make_exact(pair, method):
    """Settings that cover all coalitions, and the exact classes: of 4 superpixels of each image, or of 2×2 positions."""
    model, encoder = pair.model.wrapper, pair.model.encoder
    if method in ON_CELLS:
        settings = replace(SETTINGS, first_layer=16, second_layer=256, n_layer_embeddings=16)
        first = cp.LayerKernelSAM(model, encoder.features).attribute(pair.images, n_samples=16)[1][:, 0]
        second = cp.LayerExactShapleyTaylor(model, encoder.features).interactions(pair.images, n_samples=256)
        return settings, first, second.project(pair.masks[0]).reshape(1, 2, 2)
    settings = replace(SETTINGS, second=256)
    first = cp.KernelShapley(model).attribute(pair.images, feature_mask=pair.superpixels, n_samples=16)[1][:, 0]
    second = cp.ExactShapleyTaylor(model).interactions(pair.images, feature_mask=pair.superpixels)
    return settings, first, cp.paint(second.project(pair.masks[0]), pair.superpixels[1])[:, 0]


@pytest.mark.parametrize("method", ["kshap", "factorised", *ON_CELLS])
def test_shapley_columns_are_exact_if_the_budget_covers_all_coalitions(tmp_path, method):
    pair = open_case(tmp_path, coarse if method in ON_CELLS else with_head)
    settings, exact_first, exact_second = make_exact(pair, method)
    first, second = explain(method, pair, settings)
    assert_close(first.heat_map, exact_first, rtol=1e-3, atol=1e-5)  # the query is whole
    assert_close(second.heat_map, exact_second, rtol=1e-3, atol=1e-5)


class _Stopped(Exception):
    """Raised in place of an explanation."""


@pytest.mark.parametrize(("order", "column"), [(1, column) for column in FIRST_CALLS] + [(2, column) for column in SECOND_CALLS])
def test_every_column_has_its_own_budget_and_a_query_that_is_whole_in_first_order(tmp_path, monkeypatch, order, column):
    cls, budget = (FIRST_CALLS if order == 1 else SECOND_CALLS)[column]
    settings = replace(SETTINGS, **{name: 100 + number for number, name in enumerate(BUDGETS)})
    calls = []

    def record(self, *given, **options):
        calls.append(options)
        raise _Stopped

    monkeypatch.setattr(cls, "window_pairs" if cls is cp.PairwiseSBSM else "interactions", record)
    pair = open_case(tmp_path)
    with pytest.raises(_Stopped):
        (TABLE_METHODS[column].first if order == 1 else TABLE_METHODS[column].second)(start_run(pair, settings))
    (options,) = calls
    assert [options[name] for name in ("n_samples", "n_steps") if name in options] == [getattr(settings, budget)]
    query_masks = [options[name][0] for name in ("feature_mask", "layer_mask") if name in options]
    assert all((mask.max().item() == 0) is (order == 1) for mask in query_masks)


def test_pixels_are_the_default_players_of_partition_shap(tmp_path):
    pair = open_case(tmp_path)
    expected = cp.PartitionShap(pair.model.wrapper).attribute(pair.images, n_samples=SETTINGS.first)[1].mean(1)
    first, second = explain("pshap", pair)
    assert second is None
    assert_close(first.heat_map, expected, rtol=1e-4, atol=1e-6)


def test_sbsm_hides_windows_in_the_mean_colour(tmp_path):
    pair = open_case(tmp_path)
    fill = torch.tensor([0.485, 0.456, 0.406])[:, None, None].expand_as(pair.images[0])  # ImageNet's mean: 0 once it is normalised
    windows = {"sliding_window_shapes": 8, "strides": 8, "baselines": (fill, fill)}
    first, second = explain("sbsm", pair)
    assert_close(first.heat_map, cp.SBSM(pair.model.wrapper).attribute(pair.images, **windows)[1].mean(1), rtol=1e-4, atol=1e-6)
    draws = {"n_samples": SETTINGS.second, "generator": torch.Generator().manual_seed(0)}
    pairs = cp.PairwiseSBSM(pair.model.wrapper).window_pairs(pair.images, **draws, **windows)
    assert_close(second.heat_map, pairs.project(pair.masks[0]), rtol=1e-4, atol=1e-6)
    assert first.credit is None and second.credit is None


def test_lime_shows_absent_parts_in_their_mean_colour(tmp_path):
    pair = open_case(tmp_path)
    first, second = explain("lime", pair, replace(SETTINGS, first=2000, second=2000))
    arguments = {"baselines": (part_colour, part_colour), "feature_mask": pair.superpixels, "n_samples": 2000}
    heat_map = cp.SuperpixelLime(pair.model.wrapper).attribute(pair.images, **arguments)[1].mean(1)  # with other draws
    assert_close(first.heat_map, heat_map, rtol=0.05, atol=0.05 * heat_map.abs().max().item())
    interactions = cp.PairwiseLime(pair.model.wrapper).interactions(pair.images, **arguments)
    assert_close(second.credit, interactions["marginal"][0], rtol=1e-3, atol=1e-5)  # all 256 coalitions


@pytest.mark.parametrize("method", EFFICIENT)
def test_credit_of_efficient_columns_sums_to_the_similarity(tmp_path, method):
    pair = open_case(tmp_path, with_head)
    model, (query, retrieved) = cp.SimilarityWrapper(pair.model.encoder), pair.images
    with torch.no_grad():
        full, empty = model(query, retrieved), model(query, cp.blur_baseline(retrieved))
        both_empty = model(*map(cp.blur_baseline, pair.images))
    first, second = explain(method, pair)
    assert first.credit.sum().item() == pytest.approx((full - empty).item(), abs=1e-3)
    assert second.credit.sum().item() == pytest.approx((full - both_empty).item(), abs=2e-2)


@pytest.mark.parametrize("method", sorted(BUILT_IN))
def test_every_column_has_a_map_without_gradients(tmp_path, method):
    explanations = explain(method, open_case(tmp_path, with_head))
    assert (explanations[0] is None) == (method == "same_place")
    assert (explanations[1] is None) == (method in ("pshap", "vesm", "gcam", "captum_ig", "captum_gxa"))
    for explanation in filter(None, explanations):
        assert explanation.heat_map.isfinite().all() and not explanation.heat_map.requires_grad
        assert explanation.credit is None or not explanation.credit.requires_grad


@pytest.mark.parametrize("method", [name for name in sorted(BUILT_IN) if name not in ("truth", "same_place")])
def test_a_pair_without_masks_has_only_first_order(tmp_path, method):
    first, second = explain(method, open_case(tmp_path, with_masks=False))
    assert second is None and first.heat_map.isfinite().all()


@pytest.mark.parametrize("method", ["sbsm", "lime", "kshap", "factorised"])
def test_passes_count_distinct_images_of_both_orders(tmp_path, method):
    pair, seen = open_case(tmp_path), []
    pair.model.encoder.features.register_forward_hook(lambda _, inputs, __: seen.append(content_keys(inputs[0])))
    run = start_run(pair)
    explain_pair(method, run)
    rows = [key for keys in seen for key in keys]
    assert run.n_passes == len(rows)
    assert run.n_passes <= 2 * (1 + 16) + 1  # windows or coalitions of each image, the image, and one other in the proof of the encoder


def test_a_missing_package_leaves_a_column_out(monkeypatch, capsys):
    monkeypatch.setattr(table_methods, "find_spec", lambda name: None)
    assert choose_methods(["all"]) == [name for name in TABLE_METHODS if name != "lime"]
    assert "captum-pairwise[lime]" in capsys.readouterr().out
    with pytest.raises(ValueError, match="sklearn"):
        choose_methods(["lime"])
