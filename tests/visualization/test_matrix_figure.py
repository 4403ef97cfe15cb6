"""Matrix figure: the matrix, the bars of its parts, ticks and layout."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import random_tensor
from figure_cases import build_interactions, find_bar_panels, read_bars, read_image, render
from matplotlib.text import Text

from captum_pairwise import visualization
from captum_pairwise.results.credits import Credits
from captum_pairwise.results.interactions import Interactions


def list_bar_sizes(panel):
    return [(patch.get_width(), patch.get_height()) for patch in panel.patches]


@pytest.mark.parametrize("whole", [False, True])
def test_the_matrix_and_the_credit_of_its_parts(whole):
    between, credit = random_tensor(2, 15, 6), random_tensor(2, 21, seed=1)
    halves = [random_tensor(2, n, n, seed=n) for n in (15, 6)]
    blocks = {name: half + half.mT for name, half in zip(("within_query", "within_retrieved"), halves, strict=True)} if whole else {}
    known = build_interactions(between, credit=credit, **blocks)
    figure = render(visualization.matrix_figure(known, example=1, title="a title"))
    corner, top, left, middle = figure.axes[:4]
    matrix = (known.second_order if whole else between)[1]
    np.testing.assert_allclose(read_image(middle), matrix)
    scale = matrix.abs().max().item()
    assert middle.images[0].get_clim() == pytest.approx((-scale, scale))
    assert read_bars(figure) == {"similarity that\na pair of parts adds": [pytest.approx((-scale, scale))]}
    rows, columns = (credit[1], credit[1]) if whole else (credit[1, :15], credit[1, 15:])
    assert [width for width, _ in list_bar_sizes(left)] == pytest.approx(rows.tolist())
    assert [height for _, height in list_bar_sizes(top)] == pytest.approx(columns.tolist())
    for patch, value in zip(top.patches, columns.tolist(), strict=True):
        red, _, blue, _ = patch.get_facecolor()
        assert (red > blue) == (value > 0)
    rows_of_map = [("row 0", 0), ("row 1", 5), ("row 2", 10)]  # numbered like parts
    numbers = [(str(k), 15 * whole + k) for k in range(6)]
    assert [(label.get_text(), label.get_position()[1]) for label in left.get_yticklabels()] == rows_of_map + numbers * whole
    assert [(label.get_text(), label.get_position()[0]) for label in middle.get_xticklabels()] == rows_of_map * whole + numbers
    assert not corner.axison and figure.get_suptitle().startswith("a title")


@pytest.mark.parametrize("larger", ["query", "retrieved"])
def test_the_bars_of_both_images_have_one_scale_with_room_for_the_largest(larger):
    credit = torch.cat(
        [torch.full((1, 15), 8.0 if larger == "query" else 2.0), torch.full((1, 6), 8.0 if larger == "retrieved" else 2.0)], 1
    )
    figure = render(visualization.matrix_figure(build_interactions(random_tensor(1, 15, 6), credit=credit.double())))
    _, top, left, _ = figure.axes[:4]
    for low, high in (left.get_xlim(), top.get_ylim()):
        assert low == -high and 8 <= high < 9


def test_a_matrix_without_players_and_without_credit_of_parts():
    known = Interactions(
        n_query=2,
        empty=torch.full((1,), torch.nan),
        full=torch.ones(1),
        n_evaluations=torch.ones(1, dtype=torch.long),
        between=torch.ones(1, 2, 3),
    )
    figure = render(visualization.matrix_figure(known))
    assert not figure.axes[1].patches and read_image(figure.axes[3]).shape == (2, 3)
    assert figure.get_suptitle() == "Similarity 1.00."  # unknown errors are left out


@pytest.mark.parametrize("n_players", [49, 98])
def test_ticks_of_large_matrices_do_not_overlap(n_players):
    figure = render(visualization.matrix_figure(build_interactions(random_tensor(1, n_players, n_players), None, None)))
    for labels in (figure.axes[2].get_yticklabels(), figure.axes[3].get_xticklabels()):
        boxes = [label.get_window_extent() for label in labels]
        assert len(boxes) > 5 and not any(box.overlaps(other) for box, other in pairwise(boxes))


@pytest.mark.parametrize("sizes", [(98, 1), (49, 2), (1, 49), (12, 4), (1, 1)])
def test_labels_of_matrices_of_all_shapes_do_not_overlap(sizes):
    errors = Credits(between=random_tensor(1, *sizes), marginal=random_tensor(1, sum(sizes)))
    figure = render(
        visualization.matrix_figure(build_interactions(random_tensor(1, *sizes), None, None, standard_error=errors), title="a title")
    )
    (bar,) = find_bar_panels(figure)
    numbers = [label.get_window_extent() for label in bar.get_yticklabels()]
    assert len(numbers) == 3 and not any(box.overlaps(other) for box, other in pairwise(numbers))
    (title,) = [text.get_window_extent() for text in figure.findobj(Text) if text.get_text() == figure.get_suptitle()]
    panels = [panel.get_tightbbox() for panel in figure.axes]  # including ticks and names
    for box in [title, *panels]:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
    assert not any(title.overlaps(box) for box in panels)
