"""Figures of maps, read back: methods side by side, counterfactuals, projections."""

import numpy as np
import pytest
import torch
from conftest import random_tensor
from figure_cases import PHOTOS, QUERY, RETRIEVED, bars, drawn, grey, picture, resized, shown, slow_overlay

import captum_pairwise as cp
from captum_pairwise import metrics, visualization


def test_maps_are_drawn_on_the_scale_of_their_method():
    maps = {"one": (random_tensor(2, 1, 3, 5), random_tensor(2, 4, 6, 2, seed=1)), "other": tuple(10 * batch.double() for batch in PHOTOS)}
    figure = visualization.heatmap_figure(PHOTOS, maps, title="a title", units={"other": "brightness"})
    panels = np.array(drawn(figure).axes[:15]).reshape(5, 3)
    heats = {name: [resized(side.double(), batch) for side, batch in zip(of, PHOTOS, strict=True)] for name, of in maps.items()}
    scales = {name: max(abs(heat).max() for heat in of) for name, of in heats.items()}
    rows = [("query 1", 0, 0), ("retrieved 1", 1, 0), ("query 2", 0, 1), ("retrieved 2", 1, 1)]
    for panels_of_row, (name, side, example) in zip(panels, rows, strict=False):
        photo = picture(PHOTOS[side], example)
        assert panels_of_row[0].get_ylabel() == name and np.array_equal(shown(panels_of_row[0]), photo)
        for panel, method in zip(panels_of_row[1:], maps, strict=True):
            np.testing.assert_allclose(shown(panel), slow_overlay(photo, heats[method][side][example], scales[method]), atol=1e-12)
    assert [panel.get_title() for panel in panels[0]] == ["photo", "one", "other"] and figure.get_suptitle() == "a title"
    assert bars(figure) == {
        "similarity": [pytest.approx((-scales["one"], scales["one"]))],
        "brightness": [pytest.approx((-scales["other"], scales["other"]))],
    }


def test_methods_share_a_scale_on_request():
    maps = {"weak": random_tensor(2, 1, 3, 5), "strong": 5 * random_tensor(2, 1, 3, 5)}
    figure = visualization.heatmap_figure(QUERY, maps, one_scale=True)
    largest = abs(resized(maps["strong"], QUERY)).max()
    assert bars(figure)["similarity"] == [pytest.approx((-largest, largest))] * 2
    weak, strong = figure.axes[1], figure.axes[2]
    np.testing.assert_allclose(shown(weak), slow_overlay(picture(QUERY, 0), resized(maps["weak"], QUERY)[0], largest), atol=1e-12)
    assert np.abs(shown(strong) - grey(picture(QUERY, 0))).sum() > np.abs(shown(weak) - grey(picture(QUERY, 0))).sum()


def test_credit_painted_on_all_channels_counts_once():
    credit = random_tensor(2, 1, 20, 30)
    once, painted = (visualization.heatmap_figure(QUERY, {"one": maps}) for maps in (credit, credit.expand(-1, 3, -1, -1)))
    assert bars(once) == bars(painted)
    other = visualization.heatmap_figure(QUERY, {"one": torch.cat([credit, credit, 2 * credit], 1)})
    assert np.allclose(bars(other)["similarity"], 4 * np.array(bars(once)["similarity"]))


def test_arrays_are_drawn_as_tensors_are():
    maps = random_tensor(2, 1, 3, 5)
    figures = [visualization.heatmap_figure(images, {"one": of}) for images, of in ((QUERY, maps), (QUERY.numpy()[:], maps.numpy()))]
    for one, other in zip(*(figure.axes for figure in figures), strict=True):
        assert not one.images or np.array_equal(shown(one), shown(other))


# counterfactuals


def test_a_counterfactual_has_one_scale_over_three_maps():
    maps = tuple(random_tensor(2, 1, 3, 2, seed=k) * (k + 1) for k in range(3))
    photos = QUERY, RETRIEVED, RETRIEVED.flip(3)[:1]
    names = ("query", "better, 0.9", "worse, 0.8")
    figure = drawn(visualization.counterfactual_figure(photos, maps, names, title="a title"))
    heats = [resized(one, batch) for one, batch in zip(maps, photos, strict=True)]
    scale = max(abs(heat).max() for heat in heats)
    panels = np.array(figure.axes[:12]).reshape(4, 3)
    for example in range(2):
        for side, batch in enumerate(photos):
            photo = picture(batch.expand(2, -1, -1, -1), example)
            assert np.array_equal(shown(panels[2 * example, side]), photo) and panels[2 * example, side].get_title() == names[side]
            expected = slow_overlay(photo, heats[side][example], scale)
            np.testing.assert_allclose(shown(panels[2 * example + 1, side]), expected, atol=1e-12)
    assert bars(figure) == {"similarity": [pytest.approx((-scale, scale))]}


def test_what_counterfactual_returns_is_drawn(model):
    photos = tuple(torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(k), dtype=torch.float64) for k in range(3))
    masks = (cp.grid(12, 12, 2, 2),) * 2
    found = cp.counterfactual(cp.KernelShapley(model), *photos, feature_mask=masks)
    figure = drawn(visualization.counterfactual_figure(photos, found))
    largest = max(one.abs().max().item() for one in found)  # painted on three channels, which are one credit
    assert bars(figure)["similarity"] == [pytest.approx((-largest, largest))]


def test_a_projection_is_drawn_beside_its_label_and_the_truth():
    label, truth = QUERY[:, 0] > 0.5, RETRIEVED[:, 0] > 0.6
    projected, left = random_tensor(2, 24, 16), tuple(photos.flip(3) for photos in PHOTOS)
    figure = drawn(visualization.projection_figure(PHOTOS, label, projected, truth, left, title="a title"))
    panels = np.array(figure.axes[:15]).reshape(3, 5)
    scale = projected.abs().max().item()
    for example, of_pair in enumerate(panels[:2]):
        query, retrieved = (picture(photos, example) for photos in PHOTOS)
        np.testing.assert_array_equal(shown(of_pair[0]), np.where(label[example, :, :, None], query, grey(query)))
        np.testing.assert_allclose(shown(of_pair[1]), slow_overlay(retrieved, projected[example].numpy(), scale), atol=1e-12)
        found = metrics.label_propagation(projected, truth)
        np.testing.assert_array_equal(shown(of_pair[2]), np.where(found.kept[example, :, :, None], retrieved, grey(retrieved)))
        common, either = (found.kept & truth)[example].sum().item(), (found.kept | truth)[example].sum().item()
        assert of_pair[2].get_title().endswith(f"IoU {common / either:.2f}")
        for panel, photos in zip(of_pair[3:], left, strict=True):
            assert np.array_equal(shown(panel), picture(photos, example))
    assert bars(figure) == {"similarity": [pytest.approx((-scale, scale))]}


def test_attention_has_colours_and_a_scale_of_its_own():
    attention, projected = random_tensor(2, 1, 3, 5).abs(), random_tensor(2, 1, 3, 2)
    figure = drawn(visualization.projection_figure(PHOTOS, attention, projected))
    heats = resized(attention, QUERY)
    np.testing.assert_allclose(shown(figure.axes[2]), slow_overlay(picture(QUERY, 1), heats[1], heats.max(), "PuOr_r"), atol=1e-12)
    assert bars(figure)["attention"] == [pytest.approx((-heats.max(), heats.max()))]


def test_an_outline_goes_around_its_object():
    label = torch.zeros(2, 20, 30, dtype=torch.bool)
    label[:, 4:9, 10:22] = True
    figure = visualization.projection_figure(PHOTOS, label, random_tensor(2, 24, 16))
    (line,) = figure.axes[0].lines
    corners = line.get_xydata()
    assert corners.min(0) == pytest.approx((9.5, 3.5)) and corners.max(0) == pytest.approx((21.5, 8.5))


def test_pixels_without_a_label_are_left_out_of_the_comparison():
    truth, void, projected = torch.zeros(2, 24, 16, dtype=torch.bool), torch.zeros(2, 24, 16, dtype=torch.bool), torch.zeros(2, 24, 16)
    truth[:, :4], void[:, 4:8] = True, True
    projected[:, 4:8], projected[:, :4] = 2.0, 1.0
    figures = [visualization.projection_figure(PHOTOS, truth.new_ones(2, 20, 30), projected, truth, void=one) for one in (None, void)]
    assert [figure.axes[2].get_title()[-4:] for figure in figures] == ["0.00", "1.00"]
