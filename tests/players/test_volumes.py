import numpy as np
import pytest
import torch
from conftest import random_tensor
from skimage.segmentation import slic
from torch import Tensor, nn

import captum_pairwise as cp
from captum_pairwise.players.position_layouts import apply_layout
from captum_pairwise.players.regions import paint, superpixels
from captum_pairwise.players.volumes import boxes, default_players, divide_signal, supervoxels


@pytest.fixture(scope="module")
def volume() -> Tensor:
    """Two blocks of different brightness: the border is between slices 3 and 4."""
    return torch.cat([torch.full((1, 1, 4, 12, 12), 0.1), torch.full((1, 1, 4, 12, 12), 0.9)], 2)


def test_boxes_are_the_product_of_intervals() -> None:
    ids = boxes((4, 6, 9), (2, 3, 3))[0, 0]
    for index in np.ndindex(4, 6, 9):
        depth, row, column = (place * count // size for place, size, count in zip(index, (4, 6, 9), (2, 3, 3), strict=True))
        assert ids[index] == (depth * 3 + row) * 3 + column


def test_boxes_with_two_axes_are_a_grid() -> None:
    assert torch.equal(boxes((7, 5), (3, 4)), cp.grid(7, 5, 3, 4))


@pytest.mark.parametrize(("sizes", "counts"), [((4, 4), (2,)), ((4,), (5,)), ((4,), (0,)), ((), ())])
def test_boxes_that_do_not_fit(sizes: tuple[int, ...], counts: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="one number of boxes for each axis"):
        boxes(sizes, counts)


def test_supervoxels_do_not_cross_a_border_between_slices(volume: Tensor) -> None:
    ids = supervoxels(volume, 8, sigma=0.0)
    assert not set(ids[:, :, :4].unique().tolist()) & set(ids[:, :, 4:].unique().tolist())
    assert ids.unique().tolist() == list(range(len(ids.unique())))


def test_supervoxels_of_a_video_are_slic_of_its_colours() -> None:
    video = random_tensor(1, 3, 6, 10, 11).abs().clamp(max=1).float()
    segments = slic(video[0].numpy(), n_segments=10, compactness=10, sigma=1, channel_axis=0)
    _, expected = np.unique(segments, return_inverse=True)
    assert torch.equal(supervoxels(video, 10)[0, 0], torch.from_numpy(expected.reshape(segments.shape)))


def test_frames_may_come_first() -> None:
    video = random_tensor(2, 3, 6, 10, 11)
    assert torch.equal(supervoxels(video.transpose(1, 2), 10), supervoxels(video, 10).transpose(1, 2))


def measure_purity(ids: Tensor, label: Tensor) -> float:
    """The share of pixels whose part lies mostly on their own side of a border."""
    shares = [label[ids == part].mean().item() for part in ids.unique()]
    sizes = [(ids == part).sum().item() for part in ids.unique()]
    return sum(max(share, 1 - share) * size for share, size in zip(shares, sizes, strict=True)) / ids.numel()


@pytest.mark.parametrize("n_channels", [1, 13])
def test_parts_of_grey_and_of_many_channels_follow_brightness_as_well_as_those_of_colours(n_channels: int) -> None:
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    disc = ((rows - 14) ** 2 + (columns - 17) ** 2 < 60).float()
    purities = [measure_purity(superpixels(disc.expand(n, 32, 32), 16, sigma=0.0)[0, 0], disc) for n in (3, n_channels)]
    assert purities[1] >= 0.99 * purities[0] > 0.99 * measure_purity(cp.grid(32, 32, 4, 4)[0, 0], disc)


def test_default_players_of_images_are_superpixels() -> None:
    photos = torch.rand(2, 3, 32, 32)
    assert torch.equal(default_players(photos).ids, superpixels(photos))


def test_default_players_of_volumes_are_supervoxels(volume: Tensor) -> None:
    assert torch.equal(default_players(volume).ids, supervoxels(volume))


@pytest.mark.parametrize("shape", [(2, 4), (2, 4, 3)])
def test_default_players_of_other_inputs_are_scalars(shape: tuple[int, ...]) -> None:
    players, values = default_players(torch.zeros(shape)), random_tensor(*shape)
    assert players.shape == shape[1:]
    assert torch.equal(paint(values.flatten(1), players.ids), values)


def test_intervals_of_a_short_signal_are_its_samples() -> None:
    assert divide_signal(torch.zeros(1, 2, 3), 20).tolist() == [[[0, 1, 2]]]


def test_volumes_are_explained_without_a_mask(volume: Tensor) -> None:
    encoder = nn.Sequential(nn.Conv3d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten()).eval()
    interactions = cp.FactorisedShapleyTaylor(cp.SimilarityWrapper(encoder)).interactions((volume, volume.flip(2)), n_samples=100)
    assert 8 <= interactions.n_query <= 60
    assert interactions.completeness_gap.abs().item() < 1e-5
    empty = cp.SimilarityWrapper(encoder)(cp.blur_baseline(volume), cp.blur_baseline(volume.flip(2)))
    torch.testing.assert_close(interactions.empty, empty.detach().to(interactions.empty), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("block", [1, 2])
def test_tokens_of_a_video_lie_on_a_grid_with_depth(block: int) -> None:
    sizes, n_prefix = (3, 2, 4), 1
    tokens = torch.zeros(1, n_prefix + 3 * 2 * 4, 5)
    players = apply_layout(tokens, cp.token_grid(2, 4, n_prefix, block, depth=3), "layer_mask")
    expected = boxes_of_width(sizes, block)
    assert players.shape == tuple(-(-size // block) for size in sizes)
    assert players.ids[0, 0, 0] == -1
    assert torch.equal(players.ids[0, n_prefix:, 0], expected.flatten())


def boxes_of_width(sizes: tuple[int, ...], width: int) -> Tensor:
    """The number of the block of each cell, in reading order."""
    counts = [-(-size // width) for size in sizes]
    ids = torch.zeros(sizes, dtype=torch.int64)
    for index in np.ndindex(*sizes):
        depth, row, column = (place // width for place in index)
        ids[index] = (depth * counts[1] + row) * counts[2] + column
    return ids


def test_credit_of_tokens_has_the_shape_of_their_grid() -> None:
    """And their place in the volume, which figures need."""
    torch.manual_seed(0)
    patches = nn.Sequential(nn.Conv3d(1, 4, 4, 4), nn.Flatten(2))

    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches, self.mix = patches, nn.Linear(4, 4)

        def forward(self, volume: Tensor) -> Tensor:
            return self.mix(self.patches(volume).mT).mean(1)

    encoder = Tokens().eval()
    query, retrieved = torch.rand(2, 1, 1, 8, 8, 12)
    layout = cp.token_grid(2, 3, n_prefix=0, depth=2)
    method = cp.LayerFactorisedShapleyTaylor(cp.SimilarityWrapper(encoder), encoder.mix)
    interactions = method.interactions((query, retrieved), layer_mask=(layout, layout), n_samples=200)
    assert interactions.query_players is not None
    assert interactions.query_players.ids.shape == (1, 1, 2, 2, 3)
    assert interactions.completeness_gap.abs().item() < 1e-5
