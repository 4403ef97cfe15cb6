"""What the battery explains: a tiny two-tower model, images, and players that are whole blocks of both."""

from typing import no_type_check

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from captum_pairwise.players.regions import grid

CELLS, PIXELS, CHANNELS, FEATURES = 3, 4, 6, 5  # cells of a side, pixels of a cell's side, channels of a cell, numbers of an embedding
GRIDS = ((2, 2), (2, 3))  # of the players of the query, and of the retrieved image, each a block of cells


class Encoder(nn.Module):
    """A network with a `layer` to explain, `[B, 6, 3, 3]` of images `[B, 3, 12, 12]`, after which only a linear layer follows.

    Args:
        seed: of its weights.
        blind: `[3, 3]`, true for cells that the embedding does not depend on; those of the images are blotted out, too.
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
                parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * (2 / fan_in) ** 0.5)
            if blind is not None:
                linear.weight.view(FEATURES, CHANNELS, CELLS, CELLS)[..., blind] = 0

    @no_type_check  # traced, it is called with what is no tensor
    def forward(self, images: Tensor) -> Tensor:
        """Embed a batch."""
        return self.tail(self.layer(images))


class Summed(nn.Module):
    """An encoder whose dot products are a weighted sum of those of two encoders, which share their layer.

    Args:
        encoders: the two; the layer is the first one's.
        weights: above 0.
    """

    def __init__(self, encoders: tuple[Encoder, Encoder], weights: tuple[float, float]) -> None:
        super().__init__()
        self.layer, tails = encoders[0].layer, [encoder.tail[1] for encoder in encoders]
        linear = nn.Linear(CHANNELS * CELLS**2, 2 * FEATURES).double()
        with torch.no_grad():
            for name, parameter in linear.named_parameters():
                parts = [weight**0.5 * tail.get_parameter(name) for weight, tail in zip(weights, tails, strict=True)]
                parameter.copy_(torch.cat(parts))
        self.tail = nn.Sequential(nn.Flatten(), linear)

    @no_type_check  # traced, it is called with what is no tensor
    def forward(self, images: Tensor) -> Tensor:
        """Embed a batch."""
        return self.tail(self.layer(images))


def images(batch: int = 2, seed: int = 0) -> tuple[Float[Tensor, "batch 3 12 12"], Float[Tensor, "batch 3 12 12"]]:
    """A batch of pairs of random images in [0, 1], float64."""
    generator = torch.Generator().manual_seed(seed)
    query, retrieved = torch.rand(2, batch, 3, CELLS * PIXELS, CELLS * PIXELS, generator=generator, dtype=torch.float64)
    return query, retrieved


def cell_masks() -> tuple[Int[Tensor, "1 1 3 3"], Int[Tensor, "1 1 3 3"]]:
    """The players of both images as ids of cells of the layer, 4 of the query and 6 of the retrieved image."""
    query, retrieved = (grid(CELLS, CELLS, *shape) for shape in GRIDS)
    return query, retrieved


def on_pixels(mask: Int[Tensor, "1 1 3 3"]) -> Int[Tensor, "1 1 12 12"]:
    """The same players as ids of pixels."""
    return mask.repeat_interleave(PIXELS, 2).repeat_interleave(PIXELS, 3)
