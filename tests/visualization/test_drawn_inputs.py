"""Drawn inputs: every pixel of a slice, a spectrogram or a signal belongs to the player that owns its place."""

import numpy as np
import pytest
import torch
from kind_cases import find_owners
from torch import Tensor

import captum_pairwise as cp
from captum_pairwise.players.regions import NEVER_LEAVES, Players, cells
from captum_pairwise.players.volumes import boxes
from captum_pairwise.visualization.drawn_inputs import LEFT, RIGHT, draw_input


def draw(kind, players: Players):
    return draw_input(kind, players, np.zeros(players.n_players))


def number_positions(*sizes: int) -> Players:
    """The cells of a layer `[1, C, *sizes]`."""
    return cells(torch.zeros(1, 1, *sizes), 1)


def brightness(photo: np.ndarray, owners: np.ndarray) -> float:
    return float(photo[owners[:, 0], owners[:, 1]].mean())


def test_a_bright_block_is_drawn_where_its_cell_is():
    tensor = torch.zeros(1, 1, 8, 12, 16)
    tensor[..., 4:6, 6:9, 8:12] = 1  # cell (2, 2, 2) of 4 × 4 × 4
    parts = draw(cp.Volume(tensor), number_positions(4, 4, 4))
    cell = 2 * 16 + 2 * 4 + 2
    values = [brightness(parts.photo, find_owners(parts, player)) for player in range(64)]
    assert values[cell] > 0.95 and max(values[:cell] + values[cell + 1 :]) < 0.05
    assert parts.names[cell] == "slices 4 to 5, cell (2, 2)"


def test_slices_keep_the_shape_that_their_spacing_gives_them():
    volume = torch.rand(1, 4, 10, 10)
    owners = find_owners(draw(cp.Volume(volume, spacing=(1, 2, 1)), number_positions(4, 1, 1)), 0)
    height, width = owners.max(0) - owners.min(0) + 1
    assert height == pytest.approx(2 * width, abs=1)


def test_frames_first_and_colours_first_are_the_same_picture():
    video = torch.rand(3, 6, 8, 8)
    first = draw(cp.Video(video), number_positions(3, 2, 2))
    assert np.array_equal(first.photo, draw(cp.Video(video.transpose(0, 1)), number_positions(3, 2, 2)).photo)


def test_low_frequencies_are_below():
    tensor = torch.zeros(1, 8, 10)
    tensor[:, :4] = 1  # bright, also in the colours
    parts = draw(cp.Spectrogram(tensor, seconds=2, hertz=4000), number_positions(2, 5))
    low, high = find_owners(parts, 0), find_owners(parts, 5)
    assert low[:, 0].min() > high[:, 0].max()
    assert brightness(parts.photo, low) > brightness(parts.photo, high) + 0.5
    assert parts.names[0] == "0.00 s to 0.40 s at 0 to 2 kHz"


def test_moments_of_a_signal_divide_the_axis_of_time():
    parts = draw(cp.Signal(torch.rand(40), rate=10), number_positions(4))
    edges = [find_owners(parts, player)[:, 1] for player in range(4)]
    widths = [columns.max() - columns.min() + 1 for columns in edges]
    assert max(widths) - min(widths) <= 1 and edges[0].min() in (LEFT, RIGHT)
    assert parts.names == ("0.00 s to 1.00 s", "1.00 s to 2.00 s", "2.00 s to 3.00 s", "3.00 s to 4.00 s")


def test_channels_of_a_signal_may_have_players_of_their_own():
    ids = boxes((2, 40), (2, 4))
    parts = draw(cp.Signal(torch.rand(2, 40)), Players(ids[0], (8,)))
    assert find_owners(parts, 0)[:, 0].max() < find_owners(parts, 4)[:, 0].min()
    assert parts.names[5] == "samples 10 to 19, channel 1"


def test_margins_and_gaps_belong_to_nobody():
    parts = draw(cp.Volume(torch.rand(1, 4, 8, 8)), number_positions(4, 2, 2))
    owners = parts.players.ids[0, 0]
    assert (owners[:, 0] == NEVER_LEAVES).all() and (owners[0] == NEVER_LEAVES).all()
    assert set(owners.unique().tolist()) == {NEVER_LEAVES, *range(16)}


@pytest.mark.parametrize(
    ("kind", "ids"),
    [
        (cp.Volume(torch.rand(2, 4, 8, 8)), torch.arange(2).reshape(1, 2, 1, 1, 1).expand(1, 2, 4, 8, 8)),
        (cp.Volume(torch.rand(1, 4, 8, 8)), torch.arange(17).reshape(1, 17, 1)),
        (cp.Spectrogram(torch.rand(1, 8, 8)), torch.arange(17).reshape(1, 17, 1)),
    ],
)
def test_players_without_a_place_are_refused(kind, ids: Tensor):
    with pytest.raises(ValueError, match=r"lie in the .*token_grid"):
        draw(kind, Players(ids, (int(ids.max()) + 1,)))
