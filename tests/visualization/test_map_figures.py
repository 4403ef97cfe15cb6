"""Figures of maps: heat maps, counterfactuals and projections."""

import numpy as np
import pytest
import torch
from conftest import random_tensor
from figure_cases import PHOTOS, QUERY, RETRIEVED, read_bars, read_image, render, slow_grey, slow_overlay, slow_resize, to_array

import captum_pairwise as cp
from captum_pairwise import metrics, visualization


def test_heat_maps_use_the_scale_of_their_method():
    maps = {"one": (random_tensor(2, 1, 3, 5), random_tensor(2, 4, 6, 2, seed=1)), "other": tuple(10 * batch.double() for batch in PHOTOS)}
    figure = visualization.heatmap_figure(PHOTOS, maps, title="a title", units={"other": "brightness"})
    panels = np.array(render(figure).axes[:15]).reshape(5, 3)
    heats = {name: [slow_resize(side.double(), batch) for side, batch in zip(of, PHOTOS, strict=True)] for name, of in maps.items()}
    scales = {name: max(abs(heat).max() for heat in of) for name, of in heats.items()}
    rows = [("query 1", 0, 0), ("retrieved 1", 1, 0), ("query 2", 0, 1), ("retrieved 2", 1, 1)]
    for panels_of_row, (name, side, example) in zip(panels, rows, strict=False):
        photo = to_array(PHOTOS[side], example)
        assert panels_of_row[0].get_ylabel() == name and np.array_equal(read_image(panels_of_row[0]), photo)
        for panel, method in zip(panels_of_row[1:], maps, strict=True):
            np.testing.assert_allclose(read_image(panel), slow_overlay(photo, heats[method][side][example], scales[method]), atol=1e-12)
    assert [panel.get_title() for panel in panels[0]] == ["photo", "one", "other"] and figure.get_suptitle() == "a title"
    assert read_bars(figure) == {
        "similarity": [pytest.approx((-scales["one"], scales["one"]))],
        "brightness": [pytest.approx((-scales["other"], scales["other"]))],
    }


def test_methods_share_a_scale_on_request():
    maps = {"weak": random_tensor(2, 1, 3, 5), "strong": 5 * random_tensor(2, 1, 3, 5)}
    figure = visualization.heatmap_figure(QUERY, maps, one_scale=True)
    largest = abs(slow_resize(maps["strong"], QUERY)).max()
    assert read_bars(figure)["similarity"] == [pytest.approx((-largest, largest))] * 2
    weak, strong = figure.axes[1], figure.axes[2]
    np.testing.assert_allclose(read_image(weak), slow_overlay(to_array(QUERY, 0), slow_resize(maps["weak"], QUERY)[0], largest), atol=1e-12)
    assert np.abs(read_image(strong) - slow_grey(to_array(QUERY, 0))).sum() > np.abs(read_image(weak) - slow_grey(to_array(QUERY, 0))).sum()


def test_credit_painted_on_all_channels_counts_once():
    credit = random_tensor(2, 1, 20, 30)
    once, painted = (visualization.heatmap_figure(QUERY, {"one": maps}) for maps in (credit, credit.expand(-1, 3, -1, -1)))
    assert read_bars(once) == read_bars(painted)
    other = visualization.heatmap_figure(QUERY, {"one": torch.cat([credit, credit, 2 * credit], 1)})
    assert np.allclose(read_bars(other)["similarity"], 4 * np.array(read_bars(once)["similarity"]))


def test_arrays_and_tensors_give_the_same_figure():
    maps = random_tensor(2, 1, 3, 5)
    figures = [visualization.heatmap_figure(images, {"one": of}) for images, of in ((QUERY, maps), (QUERY.numpy()[:], maps.numpy()))]
    for one, other in zip(*(figure.axes for figure in figures), strict=True):
        assert not one.images or np.array_equal(read_image(one), read_image(other))


# counterfactuals


def test_a_counterfactual_has_one_scale_for_three_maps():
    maps = tuple(random_tensor(2, 1, 3, 2, seed=k) * (k + 1) for k in range(3))
    photos = QUERY, RETRIEVED, RETRIEVED.flip(3)[:1]
    names = ("query", "better, 0.9", "worse, 0.8")
    figure = render(visualization.counterfactual_figure(photos, maps, names, title="a title"))
    heats = [slow_resize(side, batch) for side, batch in zip(maps, photos, strict=True)]
    scale = max(abs(heat).max() for heat in heats)
    panels = np.array(figure.axes[:12]).reshape(4, 3)
    for example in range(2):
        for side, batch in enumerate(photos):
            photo = to_array(batch.expand(2, -1, -1, -1), example)
            assert np.array_equal(read_image(panels[2 * example, side]), photo) and panels[2 * example, side].get_title() == names[side]
            expected = slow_overlay(photo, heats[side][example], scale)
            np.testing.assert_allclose(read_image(panels[2 * example + 1, side]), expected, atol=1e-12)
    assert read_bars(figure) == {"similarity": [pytest.approx((-scale, scale))]}


def test_result_of_counterfactual_is_accepted(model):
    photos = tuple(torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(k), dtype=torch.float64) for k in range(3))
    masks = (cp.grid(12, 12, 2, 2),) * 2
    explanation = cp.counterfactual(cp.KernelShapley(model), *photos, feature_mask=masks)
    figure = render(visualization.counterfactual_figure(photos, explanation))
    largest = max(side.abs().max().item() for side in explanation)  # the three channels are one credit
    assert read_bars(figure)["similarity"] == [pytest.approx((-largest, largest))]


def test_projection_with_its_label_and_the_true_mask():
    label, truth = QUERY[:, 0] > 0.5, RETRIEVED[:, 0] > 0.6
    projected, left = random_tensor(2, 24, 16), tuple(photos.flip(3) for photos in PHOTOS)
    figure = render(visualization.projection_figure(PHOTOS, label, projected, truth, left, title="a title"))
    panels = np.array(figure.axes[:15]).reshape(3, 5)
    scale = projected.abs().max().item()
    for example, of_pair in enumerate(panels[:2]):
        query, retrieved = (to_array(photos, example) for photos in PHOTOS)
        np.testing.assert_array_equal(read_image(of_pair[0]), np.where(label[example, :, :, None], query, slow_grey(query)))
        np.testing.assert_allclose(read_image(of_pair[1]), slow_overlay(retrieved, projected[example].numpy(), scale), atol=1e-12)
        result = metrics.label_propagation(projected, truth)
        np.testing.assert_array_equal(read_image(of_pair[2]), np.where(result.kept[example, :, :, None], retrieved, slow_grey(retrieved)))
        common, either = (result.kept & truth)[example].sum().item(), (result.kept | truth)[example].sum().item()
        assert of_pair[2].get_title().endswith(f"IoU {common / either:.2f}")
        for panel, photos in zip(of_pair[3:], left, strict=True):
            assert np.array_equal(read_image(panel), to_array(photos, example))
    assert read_bars(figure) == {"similarity": [pytest.approx((-scale, scale))]}


def test_attention_has_its_own_colours_and_scale():
    attention, projected = random_tensor(2, 1, 3, 5).abs(), random_tensor(2, 1, 3, 2)
    figure = render(visualization.projection_figure(PHOTOS, attention, projected))
    heats = slow_resize(attention, QUERY)
    np.testing.assert_allclose(read_image(figure.axes[2]), slow_overlay(to_array(QUERY, 1), heats[1], heats.max(), "PuOr_r"), atol=1e-12)
    assert read_bars(figure)["attention"] == [pytest.approx((-heats.max(), heats.max()))]


def test_an_outline_encloses_its_object():
    label = torch.zeros(2, 20, 30, dtype=torch.bool)
    label[:, 4:9, 10:22] = True
    figure = visualization.projection_figure(PHOTOS, label, random_tensor(2, 24, 16))
    (line,) = figure.axes[0].lines
    corners = line.get_xydata()
    assert corners.min(0) == pytest.approx((9.5, 3.5)) and corners.max(0) == pytest.approx((21.5, 8.5))


def test_void_pixels_are_left_out_of_the_comparison():
    truth, void, projected = torch.zeros(2, 24, 16, dtype=torch.bool), torch.zeros(2, 24, 16, dtype=torch.bool), torch.zeros(2, 24, 16)
    truth[:, :4], void[:, 4:8] = True, True
    projected[:, 4:8], projected[:, :4] = 2.0, 1.0
    figures = [visualization.projection_figure(PHOTOS, truth.new_ones(2, 20, 30), projected, truth, void=pixels) for pixels in (None, void)]
    assert [figure.axes[2].get_title()[-4:] for figure in figures] == ["0.00", "1.00"]
