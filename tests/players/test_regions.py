import numpy as np
import pytest
import torch
from conftest import random_tensor, seeded
from skimage.data import astronaut
from skimage.segmentation import slic
from skimage.transform import resize
from torch import Tensor
from torch.testing import assert_close

from captum_pairwise.players.position_layouts import apply_layout, token_grid
from captum_pairwise.players.regions import (
    Players,
    average,
    cells,
    grid,
    map_cells,
    paint,
    parse_mask,
    patches,
    pixel_shares,
    player_centres,
    scalars,
    superpixels,
)


@pytest.fixture(scope="module")
def photo() -> Tensor:
    """The astronaut, 3×64×64, from 0 to 1 in steps of 1/256: scaling it by powers of 2 is exact."""
    pixels = torch.from_numpy(resize(astronaut(), (64, 64))).permute(2, 0, 1)
    return ((pixels - pixels.min()) / (pixels.max() - pixels.min()) * 256).round().float() / 256


def random_ids(n_players: int, *shape: int) -> Tensor:
    return torch.randint(-1, n_players, shape, generator=seeded(0))


def test_superpixels_are_slic_numbered_from_0(photo: Tensor) -> None:
    segments = slic(photo.numpy(), n_segments=50, compactness=10, sigma=3, channel_axis=0)  # the paper's, A.2
    _, expected = np.unique(segments, return_inverse=True)
    assert torch.equal(superpixels(photo)[0, 0], torch.from_numpy(expected.reshape(segments.shape)))


@pytest.mark.parametrize("n_segments", [4, 50])
def test_superpixels_use_consecutive_ids(photo: Tensor, n_segments: int) -> None:
    found = superpixels(photo, n_segments).unique()
    assert len(found) > 1
    assert torch.equal(found, torch.arange(len(found)))


def test_superpixels_scale_each_image_of_a_batch(photo: Tensor) -> None:
    batch = torch.stack([photo, photo.flip(1), 4 * photo - 2, 4 * photo - 3.5, 2 * photo])
    expected = [superpixels(photo), superpixels(photo.flip(1)), *[superpixels(photo)] * 3]
    assert torch.equal(superpixels(batch), torch.cat(expected))


@pytest.mark.parametrize("value", [-1.0, 2.0])
def test_superpixels_of_a_constant_image(value: float) -> None:
    image = torch.zeros(1, 3, 16, 16)
    assert torch.equal(superpixels(image + value), superpixels(image))


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 3), (4, 6)])
def test_grid_has_equal_parts_in_reading_order(rows: int, columns: int) -> None:
    parts = torch.arange(rows * columns).reshape(rows, columns)
    assert torch.equal(grid(4, 6, rows, columns)[0, 0], parts.repeat_interleave(4 // rows, 0).repeat_interleave(6 // columns, 1))


def test_uneven_grid_has_all_parts() -> None:
    ids = grid(7, 5, 3, 4)[0, 0]
    assert torch.equal(ids.unique(), torch.arange(3 * 4))
    assert (ids.diff(dim=0) >= 0).all() and (ids.diff(dim=1) >= 0).all()


@pytest.mark.parametrize(("height", "width", "size"), [(4, 6, 2), (5, 7, 3), (2, 2, 4)])
def test_patches_are_squares_in_reading_order(height: int, width: int, size: int) -> None:
    corners = [(y, x) for y in range(0, height, size) for x in range(0, width, size)]
    expected = torch.empty(1, 1, height, width, dtype=torch.int64)
    for player, (y, x) in enumerate(corners):
        expected[..., y : y + size, x : x + size] = player
    assert torch.equal(patches(height, width, size), expected)


@pytest.mark.parametrize(
    ("shape", "channel_axis", "of_players", "layout"),
    [
        ((2, 5), 1, (5,), (1, 5)),
        ((2, 4, 5), 2, (4,), (1, 4, 1)),
        ((2, 4, 5), 1, (5,), (1, 1, 5)),
        ((2, 5, 3, 4), 1, (3, 4), (1, 1, 3, 4)),
        ((2, 5, 3, 4), 3, (5, 3), (1, 5, 3, 1)),
        ((2, 5, 3, 4, 2), 1, (3, 4, 2), (1, 1, 3, 4, 2)),
    ],
)
def test_each_cell_owns_one_position(
    shape: tuple[int, ...], channel_axis: int, of_players: tuple[int, ...], layout: tuple[int, ...]
) -> None:
    players = cells(torch.zeros(shape), channel_axis)
    values = random_tensor(players.n_players)
    assert players.shape == of_players
    assert torch.equal(paint(values, players.ids).expand(shape), values.reshape(layout).expand(shape))


@pytest.mark.parametrize("shape", [(3, 4), (1, 1, 3, 4), (2, 1, 3, 4), (2, 5, 3, 4), (2, 1, 1, 4)])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int8])
def test_masks_are_broadcast(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    masked, mask = torch.zeros(2, 5, 3, 4), random_ids(4, *shape).to(dtype)
    players = parse_mask(mask, masked, "feature_mask")
    assert torch.equal(players.ids.expand_as(masked), mask.long().expand_as(masked))
    assert (len(players.ids), players.n_players) == (2, mask.max() + 1)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.zeros(3, 4), "integer ids, got torch.float32"),
        (grid, "integer ids, got function"),
        (torch.ones(3, 4, dtype=torch.bool), "integer ids, got torch.bool"),
        (torch.zeros(3, 4, dtype=torch.complex64), "integer ids, got torch.complex64"),
        (torch.zeros(4, 3, dtype=torch.int64), r"broadcastable to \(2, 5, 3, 4\), got shape \(4, 3\)"),
        (torch.zeros(3, 1, 3, 4, dtype=torch.int64), r"got shape \(3, 1, 3, 4\)"),
        (torch.zeros(1, 2, 5, 3, 4, dtype=torch.int64), r"got shape \(1, 2, 5, 3, 4\)"),
        (torch.arange(-2, 2), "got ids from -2 to 1"),
        (torch.full((3, 4), -1), "got ids from -1 to -1"),
    ],
)
def test_masks_that_do_not_fit_are_refused(mask: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=f"the mask .*{message}"):
        parse_mask(mask, torch.zeros(2, 5, 3, 4), "the mask")


def slow_paint(values: Tensor, ids: Tensor) -> Tensor:
    return torch.tensor([values[player] if player >= 0 else 0 for player in ids.flatten()], dtype=values.dtype).reshape(ids.shape)


def test_paint_one_row() -> None:
    values, ids = random_tensor(4), random_ids(4, 3, 5)
    assert_close(paint(values, ids), slow_paint(values, ids))


def test_paint_a_batch() -> None:
    values, ids = random_tensor(2, 4), random_ids(4, 2, 1, 3, 5)
    assert_close(paint(values, ids), torch.stack([slow_paint(*row) for row in zip(values, ids, strict=True)]))


def slow_average(signal: Tensor, players: Players) -> Tensor:
    """The mean over each player's elements, one at a time."""
    means = signal.new_zeros(len(signal), players.n_players)
    for example, player in np.ndindex(*means.shape):
        owned = signal[example].expand(players.ids[example].shape)[players.ids[example] == player]
        means[example, player] = owned.mean() if len(owned) else 0
    return means


@pytest.mark.parametrize("channels", [1, 3])
def test_average_over_players(channels: int) -> None:
    ids = random_ids(4, 2, channels, 6, 8)
    players = Players(torch.where(ids == 2, 0, ids), (4,))  # player 2 has no elements
    signal = random_tensor(2, 1, 6, 8)
    assert_close(average(signal, players), slow_average(signal, players))
    assert_close(average(signal[:, 0], players), slow_average(signal, players))


def test_average_of_a_larger_signal_is_by_area() -> None:
    players, signal = cells(torch.zeros(2, 5, 3, 4), 1), random_tensor(2, 6, 12)
    assert_close(average(signal, players), signal.reshape(2, 3, 2, 4, 3).mean((2, 4)).flatten(1))


@pytest.mark.parametrize("shape", [(2, 1, 4, 5), (2, 3, 4, 5), (2, 1, 1, 5)])
def test_centre_of_a_player_is_the_mean_of_its_elements(shape: tuple[int, ...]) -> None:
    players = parse_mask(random_ids(7, *shape), torch.zeros(2, 3, 4, 5), "mask")
    for example, ids in enumerate(players.ids):
        owned = [(ids == player).nonzero()[:, 1:].double() for player in ids.unique().tolist() if player >= 0]
        assert_close(player_centres(players, example), torch.stack([elements.mean(0) for elements in owned]), rtol=0, atol=1e-12)


def test_centre_of_a_player_outside_of_images_is_its_id() -> None:
    players = parse_mask(torch.tensor([[3, -1, 0, 3, 1]]), torch.zeros(1, 5), "mask")
    assert player_centres(players, 0).tolist() == [[0], [1], [3]]


@pytest.mark.parametrize(("shape", "n_players"), [((2, 3, 4, 5), 20), ((2, 4), 4), ((2, 4, 3), 12)])
def test_scalars_are_pixels_or_single_elements(shape: tuple[int, ...], n_players: int) -> None:
    players = scalars(torch.zeros(shape))
    owners = players.ids.expand(shape)
    assert players.n_players == n_players and players.ids[0].flatten().tolist() == list(range(n_players))
    assert all((owners == player).sum() == owners.numel() // n_players for player in range(n_players))


def test_pixel_shares_average_over_each_player() -> None:
    """The mask may share channels, rows, or nothing. Elements without a player are not counted."""
    for shape in ((2, 1, 4, 5), (2, 3, 4, 5), (2, 1, 1, 5)):
        players = Players(torch.randint(-1, 3, shape, generator=seeded(1)), (4,))
        signal = random_tensor(2, 4, 5, seed=2)
        for example in range(2):
            found = torch.einsum("phw,hw->p", pixel_shares(players, example, (4, 5), torch.float64), signal[example])
            whole = Players(players.ids.expand(2, shape[1], 4, 5), (4,))
            assert_close(found, average(signal, whole)[example])
            assert found[3] == 0


TOKENS = torch.zeros(2, 8, 5)  # two special tokens and 2 × 3 patches


def reshape_transform(tensor: Tensor, height: int = 2, width: int = 3) -> Tensor:
    """A `reshape_transform` as users of pytorch-grad-cam write it."""
    result = tensor[:, 2:, :].reshape(tensor.size(0), height, width, tensor.size(2))
    return result.transpose(2, 3).transpose(1, 2)


@pytest.mark.parametrize("layout", [token_grid(2, 3, n_prefix=2), reshape_transform])
def test_tokens_are_laid_out_as_a_map_in_reading_order(layout) -> None:
    players, values = apply_layout(TOKENS, layout, "the mask"), random_tensor(2, 6)
    assert players.shape == (2, 3)
    on_tokens = paint(values, players.ids)[..., 0]
    assert torch.equal(on_tokens[:, 2:], values) and not on_tokens[:, :2].any()
    assert torch.equal(paint(values, map_cells(players).ids)[:, 0], values.reshape(2, 2, 3))


def test_blocks_of_tokens_are_players() -> None:
    players = apply_layout(torch.zeros(2, 1 + 3 * 4, 5), token_grid(3, 4, block=2), "the mask")
    assert players.shape == (2, 2)
    assert players.ids[1, 0, 0] == -1
    assert players.ids[1, 1:, 0].reshape(3, 4).tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3]]


def test_layouts_may_reorder_tokens_and_take_maps_with_channels_last() -> None:
    chosen = torch.tensor([6, 0, 3])
    players = apply_layout(TOKENS, lambda positions: positions[:, chosen], "the mask")
    assert players.shape == (3,)
    assert torch.equal(players.ids[1, :, 0], torch.tensor([1, -1, -1, 2, -1, -1, 0, -1]))
    players = apply_layout(torch.zeros(2, 3, 4, 5), lambda positions: positions.permute(0, 3, 1, 2), "the mask")
    assert players.shape == (3, 4) and torch.equal(players.ids[0, ..., 0], torch.arange(12).reshape(3, 4))


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        (lambda positions: positions[:, [1, 1]], r"at most once and at least one of them, got \[1, 1\]"),
        (lambda positions: positions[:, :0], r"at least one of them, got \[\]"),
        (lambda positions: positions + 1, "at most once and at least one"),
        (lambda positions: positions - 1, "at most once and at least one"),
        (lambda positions: positions.float(), "got torch.float32. Only slice"),
        (lambda positions: positions.tolist(), "got list"),
        (lambda positions: positions.flatten(), r"row \(1, n, 1\), got shape \(8,\)"),
        (lambda positions: positions.reshape(1, 2, 2, 2), r"got shape \(1, 2, 2, 2\)"),
        (lambda positions: positions.reshape(1, 1, 8), r"got shape \(1, 1, 8\)"),
        (lambda positions: positions[:, 1:].reshape(1, 1, 2, 3), r"lay out positions \(1, 8, 1\) of the layer's output, but: shape"),
        (token_grid(2, 3), r"1 \+ 2 × 3 tokens \[B, T, C\] for this token_grid, got shape \(1, 8, 1\)"),
    ],
)
def test_invalid_layouts_are_refused(layout, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        apply_layout(TOKENS, layout, "the mask")
