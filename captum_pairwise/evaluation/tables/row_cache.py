"""An encoder that embeds each distinct image once."""

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor, nn

from captum_pairwise.games.checks import promote_half
from captum_pairwise.models.embedder import Embedder


class RowCache(nn.Module):
    """An encoder whose embeddings are kept: both orders of a method, and its windows or coalitions, share them.

    Args:
        encoder: maps images to embeddings `[B, C]` or to a map, which is averaged. No gradient flows through the cache.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self._embedder = Embedder(encoder)
        self._embeddings: dict[tuple[int, ...], Tensor] = {}

    @property
    def n_rows(self) -> int:
        """Number of images that were embedded so far."""
        return len(self._embeddings)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Float[Tensor, "rows channels"]:
        """The embedding of each image."""
        keys = content_keys(images)
        new = {key: row for row, key in enumerate(keys) if key not in self._embeddings}
        if new:
            rows = torch.tensor(list(new.values()), device=images.device)
            self._embeddings |= dict(zip(new, self._embedder.embed(images[rows]), strict=True))
        return torch.stack([self._embeddings[key] for key in keys])


def content_keys(images: Float[Tensor, "rows ..."]) -> list[tuple[int, ...]]:
    """A key for the content of each image: its shape, and two sums of its 32-bit words with random 64-bit weights.

    Equal images have equal keys. Different ones have different keys, except with a probability below 2⁻⁶⁴. The sums are integers, so the
    batch around an image changes nothing, and they stay on the device: a GPU embeds an image faster than a CPU can hash it.
    """
    words = promote_half(images).flatten(1).contiguous().view(torch.int32).long()
    sums = [(words * weights).sum(1) for weights in _draw_weights(words.shape[1], words.device)]
    return [(*images.shape[1:], *sums_of_image) for sums_of_image in torch.stack(sums, 1).tolist()]


@lru_cache(maxsize=2)
def _draw_weights(n_words: int, device: torch.device) -> Tensor:
    return torch.randint(-(2**63), 2**63 - 1, (2, n_words), generator=torch.Generator().manual_seed(0), device="cpu").to(device)
