"""Grids of tokens: by the patch embedding, by a test of corners, and none for tokens that stand for no place."""

import pytest
import torch
from conftest import seeded
from torch import Tensor, nn

from captum_pairwise import SimilarityWrapper
from captum_pairwise.explanations.layer_choice import choose_layer
from captum_pairwise.explanations.patch_grid import find_grid

WIDTH = 16


class Patches(nn.Module):
    """Tokens by a linear layer over unfolded patches, after a class token; `reorder` changes their places."""

    def __init__(self, patch: int = 8, reorder: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patch, self.reorder = patch, reorder
        self.embed, self.block = nn.Linear(3 * patch**2, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, images: Tensor) -> Tensor:
        patches = images.unfold(2, self.patch, self.patch).unfold(3, self.patch, self.patch).permute(0, 2, 3, 1, 4, 5)
        tokens = self.embed(patches.flatten(1, 2).flatten(2))
        tokens = tokens.flip(1) if self.reorder else tokens
        return self.block(torch.cat([tokens.mean(1, keepdim=True), tokens], 1)).mean(1)


class Latents(nn.Module):
    """Latent tokens that attend to all patches, as in a Perceiver."""

    def __init__(self, n_latents: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches, self.latents = nn.Conv2d(3, WIDTH, 8, stride=8), nn.Parameter(torch.randn(1, n_latents, WIDTH))
        self.attention, self.norm = nn.MultiheadAttention(WIDTH, 2, batch_first=True), nn.LayerNorm(WIDTH)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).mT
        latents = self.attention(self.latents.expand(len(images), -1, -1), tokens, tokens)[0]
        return self.norm(latents).mean(1)


def photo(height: int, width: int) -> Tensor:
    return torch.rand(1, 3, height, width, generator=seeded(0))


def test_a_square_grid_is_found_by_its_corners() -> None:
    encoder = Patches().eval()
    assert find_grid(encoder, encoder.block, photo(32, 32), 17) == (4, 4)


def test_tokens_in_another_order_are_no_grid() -> None:
    encoder = Patches(reorder=True).eval()
    assert find_grid(encoder, encoder.block, photo(32, 32), 17) is None


def test_tokens_of_a_photo_that_is_not_square_need_a_patch_embedding() -> None:
    encoder, latents = Patches().eval(), Latents(15).eval()
    assert find_grid(encoder, encoder.block, photo(32, 48), 25) is None
    assert find_grid(latents, latents.norm, photo(24, 40), 15) == (3, 5)


@pytest.mark.parametrize("n_latents", [25, 36, 49])
def test_latent_tokens_are_no_places(n_latents: int) -> None:
    encoder = Latents(n_latents).eval()
    assert find_grid(encoder, encoder.norm, photo(64, 64), n_latents) is None
    choice = choose_layer(SimilarityWrapper(encoder).make_embedder(0), photo(64, 64))
    assert choice is not None and (choice.name, choice.parts) == ("patches", "8 × 8 cells")


class Tubelets(nn.Module):
    """An encoder of videos `[B, T, 3, H, W]` as VideoMAE's: patches over two frames."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Conv3d(3, 4, (2, 8, 8), (2, 8, 8))
        self.norm = nn.LayerNorm(4)

    def forward(self, video):
        return self.norm(self.embed(video.transpose(1, 2)).flatten(2).mT).mean(1)


def test_patches_of_a_video_have_a_depth():
    encoder, video = Tubelets().eval(), torch.rand(1, 8, 3, 16, 24)
    assert find_grid(encoder, encoder.norm, video, 4 * 2 * 3) == (4, 2, 3)
    assert find_grid(encoder, encoder.norm, video, 100) is None
