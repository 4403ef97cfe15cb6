"""An encoder of photos around a network of another library, whose patches can be removed inside the network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor, nn

from captum_pairwise.files.images import read_rgb
from captum_pairwise.models.libraries.photo_processing import PhotoProcessing
from captum_pairwise.models.removals import ATTENTION_MASK, MASK_TOKEN
from captum_pairwise.network.agreement import is_close
from captum_pairwise.network.attention_mask import HiddenTokens
from captum_pairwise.network.model_state import describe_state

Absent = Bool[Tensor, "rows parts"] | None
Run = Callable[[Any, Any, Absent], Any]


def run_network(network: nn.Module, pixels: Tensor, _absent: Absent) -> Any:
    """The output of a network that maps pixels to embeddings."""
    return network(pixels)


@final
class PhotoEncoder(nn.Module):
    """An encoder of RGB photos `[B, 3, H, W]`, which are in [0, 1] if it normalises them, around a network of another library.

    Args:
        network: the network; name its modules as layers.
        processing: the steps from a photo to normalised pixels; the normalisation is part of the encoder.
        run: maps the network, normalised pixels and the absent patches, or None, to embeddings or to a map. It puts the mask token in
            place of absent patches.
        projection: maps the embeddings into a common space; None leaves them.
        patch_size: height and width of a patch, if the network divides photos into patches; None if it does not, or merges them later.
        has_mask_token: True if `run` takes absent patches.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        processing: PhotoProcessing,
        run: Run = run_network,
        *,
        projection: nn.Module | None = None,
        patch_size: tuple[int, int] | None = None,
        has_mask_token: bool = False,
    ) -> None:
        super().__init__()
        self.network, self.projection = network, nn.Identity() if projection is None else projection
        self.run, self.processing, self.patch_size, self.has_mask_token = run, processing, patch_size, has_mask_token
        first = next(
            (parameter for parameter in network.parameters() if parameter.is_floating_point()),
            torch.empty(0, dtype=torch.float32, device="cpu"),
        )
        for name, values in (("mean", processing.mean), ("std", processing.std)):
            self.register_buffer(name, torch.tensor(values, dtype=first.dtype, device=first.device)[:, None, None], persistent=False)
        self._proven: set[tuple[object, ...]] = set()  # states and sizes for which hidden patches were proven to be hidden
        self.train(network.training)

    @property
    def transform(self) -> Callable[[Any], Tensor]:
        """Maps a photo to the input `[3, H, W]`."""
        return self.processing.transform

    @property
    def preprocessing(self) -> str:
        """The steps from a photo to the network, in words."""
        return self.processing.words

    @property
    def removals(self) -> tuple[str, ...]:
        """The ways to remove patches inside the network."""
        return () if self.patch_size is None else (ATTENTION_MASK, MASK_TOKEN) if self.has_mask_token else (ATTENTION_MASK,)

    def preprocess(self, image: "Image.Image | np.ndarray | str | Path") -> Float[Tensor, "1 3 height width"]:
        """The input for one photo.

        Args:
            image: a file, a Pillow image, or an array of bytes `[H, W, 3]`.

        Raises:
            ValueError: as for `ImageEncoder.preprocess`.
        """
        return self.transform(read_rgb(image))[None].to(self.mean)

    # without shapes: torch.fx traces with proxies, which the shape checker refuses
    def forward(self, images: Any) -> Any:
        """Embed a batch."""
        return self._embed(images, None)

    def _embed(self, images: Any, absent: Absent) -> Any:
        return self.projection(self.run(self.network, (images - self.mean) / self.std, absent))

    def token_grid_size(self, height: int, width: int) -> tuple[int, int] | None:
        """Rows and columns of the patches of a photo; None if the network has no patches of one size."""
        return None if self.patch_size is None else (height // self.patch_size[0], width // self.patch_size[1])

    def embed_present(
        self, inputs: Float[Tensor, "1 3 height width"], presence: Bool[Tensor, "rows parts"], by: str
    ) -> Float[Tensor, "rows channels"]:
        """The embeddings of a photo with some of its patches.

        Args:
            inputs: the photo.
            presence: True for each patch that is present, row by row of the grid.
            by: `"attention mask"`: absent patches are no keys of any attention; `"mask token"`: the network's own mask token stands in
                their place.

        Raises:
            ValueError: the network cannot remove patches in this way, or the number of patches differs.
        """
        if by not in self.removals:
            raise ValueError(
                f"Expected a way to remove patches inside {type(self.network).__name__}, one of {list(self.removals)}, got {by!r}. "
                "Pass one of these, or a blur."
            )
        rows, columns = (side // step for side, step in zip(inputs.shape[2:], self.patch_size or (1, 1), strict=True))
        if presence.shape[1] != rows * columns:
            raise ValueError(f"Expected presence of {rows} × {columns} patches, got {presence.shape[1]}. Take one number for each patch.")
        presence = presence.to(inputs.device)
        if by == MASK_TOKEN:
            return self._embed(inputs.expand(len(presence), -1, -1, -1), ~presence)
        self._prove_hidden(inputs, rows, columns)
        return self._hide(inputs.expand(len(presence), -1, -1, -1), presence)

    def _hide(self, images: Tensor, presence: Tensor) -> Tensor:
        with HiddenTokens(presence):
            return self(images)

    @torch.no_grad()
    def _prove_hidden(self, inputs: Tensor, rows: int, columns: int) -> None:
        """Change the pixels of absent patches, once in each state of the network.

        Raises:
            ValueError: this changes the embedding.
        """
        key = (describe_state(self.network), tuple(inputs.shape), inputs.dtype, inputs.device)
        if key in self._proven or rows * columns < 2:
            return
        absent = (torch.arange(rows, device=inputs.device)[:, None] + torch.arange(columns, device=inputs.device)) % 2 == 1
        height, width = (side * step for side, step in zip((rows, columns), self.patch_size or (1, 1), strict=True))
        changes = nn.functional.interpolate(absent[None, None].to(inputs), (height, width))
        changes = nn.functional.pad(changes, (0, inputs.shape[3] - width, 0, inputs.shape[2] - height))
        changed = torch.where(changes > 0, (inputs + 0.5) % 1, inputs)
        embeddings = self._hide(torch.cat([inputs, changed]), ~absent.flatten().expand(2, -1))
        if not is_close(embeddings[1], embeddings[0]):
            raise ValueError(
                f"Expected a network whose absent patches can be hidden by an attention mask, but other pixels in them change the "
                f"embedding of {type(self.network).__name__}: its patches overlap or are pooled, or its attention cannot be masked, as in "
                "windows. Replace absent parts in another way, such as a blur."
            )
        self._proven.add(key)
