"""A tiny model, images and players for the battery; each player is a block of cells of the layer and of pixels."""

from typing import no_type_check

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from captum_pairwise.players.regions import grid

CELLS, PIXELS, CHANNELS, FEATURES = 3, 4, 6, 5  # cells along a side, pixels along a cell's side, channels of the layer, of an embedding
GRIDS = ((2, 2), (2, 3))  # rows and columns of players, of the query and of the retrieved image


class Encoder(nn.Module):
    """A network with a `layer` to explain, `[B, 6, 3, 3]` for images `[B, 3, 12, 12]`, and a linear layer after it.

    Args:
        seed: of its weights.
        blind: `[3, 3]`, true for cells that the embedding does not depend on.
    """

    def __init__(self, seed: int = 0, blind: Bool[Tensor, "3 3"] | None = None) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.layer = nn.Sequential(nn.Conv2d(3, CHANNELS, PIXELS, stride=PIXELS), nn.ReLU(), nn.Conv2d(CHANNELS, CHANNELS, 1), nn.ReLU())
        linear = nn.Linear(CHANNELS * CELLS**2, FEATURES)
        self.tail = nn.Sequential(nn.Flatten(), linear)
        with torch.no_grad():
            for parameter in self.double().parameters():
                fan_in = max(parameter[0].numel(), 4)
                parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64, device="cpu") * (2 / fan_in) ** 0.5)
            if blind is not None:
                linear.weight.view(FEATURES, CHANNELS, CELLS, CELLS)[..., blind] = 0

    @no_type_check  # tracing calls it with other types
    def forward(self, images: Tensor) -> Tensor:
        """Embed a batch."""
        return self.tail(self.layer(images))


def sum_encoders(encoders: tuple[Encoder, Encoder], weights: tuple[float, float]) -> Encoder:
    """An encoder whose dot products are the weighted sum of the dot products of two encoders, with the layer of the first.

    Args:
        encoders: they share their layer.
        weights: above 0.
    """
    total = Encoder()
    total.layer = encoders[0].layer
    linear = nn.Linear(CHANNELS * CELLS**2, 2 * FEATURES).double()
    with torch.no_grad():
        for name, parameter in linear.named_parameters():
            parts = [weight**0.5 * encoder.tail[1].get_parameter(name) for encoder, weight in zip(encoders, weights, strict=True)]
            parameter.copy_(torch.cat(parts))
    total.tail = nn.Sequential(nn.Flatten(), linear)
    return total


def images(batch: int = 2, seed: int = 0) -> tuple[Float[Tensor, "batch 3 12 12"], Float[Tensor, "batch 3 12 12"]]:
    """A batch of pairs of random images in [0, 1], float64."""
    generator = torch.Generator().manual_seed(seed)
    query, retrieved = torch.rand(2, batch, 3, CELLS * PIXELS, CELLS * PIXELS, generator=generator, dtype=torch.float64, device="cpu")
    return query, retrieved


def cell_masks() -> tuple[Int[Tensor, "1 1 3 3"], Int[Tensor, "1 1 3 3"]]:
    """The players of both images as ids of cells of the layer, 4 of the query and 6 of the retrieved image."""
    query, retrieved = (grid(CELLS, CELLS, *shape) for shape in GRIDS)
    return query, retrieved


def expand_to_pixels(mask: Int[Tensor, "1 1 3 3"]) -> Int[Tensor, "1 1 12 12"]:
    """The same players as ids of pixels."""
    return mask.repeat_interleave(PIXELS, 2).repeat_interleave(PIXELS, 3)
