"""An encoder of photos around any network: what it refuses to remove, and when it checks that hidden patches are hidden."""

import pytest
import torch
from conftest import random_tensor
from model_cases import count_calls
from torch import Tensor, nn
from vision_cases import all_presences

from captum_pairwise.models.libraries.photo_processing import resize_photos
from captum_pairwise.models.photo_encoder import PhotoEncoder

PRESENT = torch.tensor([[True, False, False, True]])


class Transformer(nn.Module):
    """One block of attention over patches, which overlap or not, and the mean of the tokens in one of two spellings."""

    def __init__(self, padding: int = 0, spells_mean: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, 8, 8 + 2 * padding, stride=8, padding=padding)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.spells_mean = spells_mean

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.block(self.patches(images).flatten(2).mT)
        return tokens.mean(1) if self.spells_mean else tokens.sum(1) / tokens.shape[1]


def make_encoder(network: nn.Module, patch_size: tuple[int, int] | None = (8, 8)) -> PhotoEncoder:
    return PhotoEncoder(network.double().eval(), resize_photos((16, 16), (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)), patch_size=patch_size)


def photo(seed: int = 0, size: int = 16) -> Tensor:
    return torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_photos_are_normalised() -> None:
    network = Transformer()
    encoder, pixels = make_encoder(network), photo()
    mean, std = torch.tensor([0.4, 0.5, 0.6], dtype=torch.float64), torch.tensor([0.2, 0.3, 0.4], dtype=torch.float64)
    torch.testing.assert_close(encoder(pixels), network((pixels - mean[:, None, None]) / std[:, None, None]))
    assert set(encoder.state_dict()) == {f"network.{name}" for name in network.state_dict()} and not encoder.training


@pytest.mark.parametrize("network", [Transformer(padding=1), Transformer(spells_mean=False)], ids=["overlap", "sum of all tokens"])
def test_patches_that_reach_the_embedding_are_refused(network: nn.Module) -> None:
    with pytest.raises(ValueError, match="absent patches can be hidden by an attention mask, but other pixels in them change"):
        make_encoder(network).embed_present(photo(), PRESENT, "attention mask")


@torch.no_grad()
def test_the_check_runs_once_in_each_state_and_size() -> None:
    network = Transformer()
    encoder = make_encoder(network)
    calls = count_calls(network)
    for _ in range(3):
        encoder.embed_present(photo(), PRESENT, "attention mask")
    assert calls[network] == 1 + 3
    encoder.embed_present(photo(size=32), torch.ones(1, 16, dtype=torch.bool), "attention mask")
    assert calls[network] == 1 + 3 + 2
    network.spells_mean = False
    with pytest.raises(ValueError, match="absent patches"):
        encoder.embed_present(photo(), PRESENT, "attention mask")


@torch.no_grad()
def test_all_patches_present_is_the_embedding_and_none_is_a_constant() -> None:
    encoder = make_encoder(Transformer())
    embeddings = [encoder.embed_present(photo(seed), all_presences(4), "attention mask") for seed in (0, 1)]
    torch.testing.assert_close(embeddings[0][-1:], encoder(photo()))
    assert torch.equal(embeddings[0][0], torch.zeros(8, dtype=torch.float64)) and torch.equal(embeddings[1][0], embeddings[0][0])


def test_a_photo_whose_sides_are_no_multiple_of_the_patch() -> None:
    encoder, pixels = make_encoder(Transformer()), photo(size=21)
    assert encoder.token_grid_size(21, 21) == (2, 2)
    assert encoder.embed_present(pixels, PRESENT, "attention mask").shape == (1, 8)


def test_wrong_removals_and_numbers_of_patches_are_refused() -> None:
    encoder = make_encoder(Transformer())
    with pytest.raises(ValueError, match=r"inside Transformer, one of \['attention mask'\], got 'mask token'"):
        encoder.embed_present(photo(), PRESENT, "mask token")
    with pytest.raises(ValueError, match="presence of 2 × 2 patches, got 3"):
        encoder.embed_present(photo(), PRESENT[:, :3], "attention mask")
    assert make_encoder(Transformer(), None).token_grid_size(16, 16) is None


def test_gradients_flow_to_the_photo() -> None:
    pixels = photo().requires_grad_()
    encoder = make_encoder(Transformer())
    (encoder(pixels) * random_tensor(8)).sum().backward()
    assert pixels.grad is not None and pixels.grad.any()
