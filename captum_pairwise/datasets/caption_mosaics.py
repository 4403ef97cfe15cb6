"""Mosaics of four photos, each with a text of some of their names: the pointing game of models of images and text."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor

from captum_pairwise.datasets.exact_pairs import N_TILES, SIDE, arrange_tiles, draw_crop
from captum_pairwise.files.arguments import check_count
from captum_pairwise.files.images import read_rgb
from captum_pairwise.metrics.pointing_game import OUTSIDE

Photo = str | Path | Image.Image
Photos = Mapping[str, Sequence[Photo]]  # by name


@dataclass(frozen=True)
class CaptionMosaic:
    """Four photos in one image, and a text of some of their names.

    Attributes:
        image: the image, 224×224 pixels.
        names: the names in the order of the text.
        labels: for each pixel the number of the name that its photo has, -1 for a photo that the text does not name.

    >>> CaptionMosaic(Image.new("RGB", (224, 224)), ("cat", "dog"), torch.zeros(224, 224, dtype=torch.int64)).text
    'cat dog'

    See also `caption_mosaics`.
    """

    image: Image.Image
    names: tuple[str, ...]
    labels: Int[Tensor, "height width"]

    @property
    def text(self) -> str:
        """The names, with spaces between them."""
        return " ".join(self.names)

    def assign_tokens(self, tokens: Sequence[str]) -> Float[Tensor, "names tokens"]:
        """A weight for each name and token: 1 if the token is the name or a piece of it, else 0.

        Args:
            tokens: words or pieces of words that spell the text, such as `why.query.tokens`.

        Raises:
            ValueError: they spell another text.

        >>> mosaic = CaptionMosaic(Image.new("RGB", (224, 224)), ("fire truck", "cat"), torch.zeros(224, 224, dtype=torch.int64))
        >>> mosaic.assign_tokens(["fire", "tru", "##ck", "cat"])
        tensor([[1., 1., 1., 0.],
                [0., 0., 0., 1.]])
        """
        spelled, expected = [_keep_letters(token) for token in tokens], list(map(_keep_letters, self.names))
        if "".join(spelled) != "".join(expected):
            raise ValueError(f"Expected tokens that spell {self.text!r}, got {' '.join(tokens)!r}. Pass those of the explained text.")
        starts, ends = np.cumsum([0, *map(len, spelled)])[:-1], np.cumsum(list(map(len, expected)))
        owners = torch.from_numpy(np.searchsorted(ends, starts, side="right").clip(max=len(ends) - 1))
        return (owners == torch.arange(len(ends), device="cpu")[:, None]).float()


def _keep_letters(text: str) -> str:
    """The letters and digits, in lower case and without accents, which some tokenizers drop."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKD", text.casefold())))


def caption_mosaics(photos: Photos, n: int = 60, seed: int = 0) -> list[CaptionMosaic]:
    """Mosaics of four photos, each with a text of one, two, three or four of their names in turn, as in FIxLIP (Baniecki et al. 2025).

    Explain each text with its image; `cp.metrics.pointing_recognition` then says how much of the credit of each name lies on its photo.

    Args:
        photos: for each name one or more photos, as files or images of Pillow; a mosaic has four names.
        n: the number of mosaics.
        seed: of all draws.

    Raises:
        ValueError: there are fewer than four names, a name has no letters or no photo, or a file is no image.

    For example::

        photos = {"cat": ["cat.jpg"], "car": ["car.jpg"], "dog": ["dog.jpg"], "boat": ["boat.jpg", "boat2.jpg"]}
        for mosaic in cp.datasets.caption_mosaics(photos):
            why = cp.explain(clip, mosaic.text, mosaic.image)
            credit = mosaic.assign_tokens(why.query.tokens) @ why.pairs  # of each name and part of the image
            maps = [cp.visualization.to_pixels(row[None], why.interactions.retrieved_players, (224, 224)) for row in credit]
            print(cp.metrics.pointing_recognition(torch.cat(maps), mosaic.labels))

    See also `exact_pairs`, whose mosaics have a photo as the query.
    """
    n, draws = check_count(n, "n", least=1), np.random.default_rng(seed)
    _check_photos(photos)
    return [_make_caption_mosaic(photos, 1 + number % N_TILES, draws) for number in range(n)]


def _check_photos(photos: Mapping[str, Sequence[object]]) -> None:
    if len(photos) < N_TILES:
        raise ValueError(f"Expected photos of at least {N_TILES} names, got {list(photos)}. Add names.")
    for name, files in photos.items():
        if not _keep_letters(name):
            raise ValueError(f"Expected names with letters, got {name!r}. Rename it.")
        if not isinstance(files, (list, tuple)) or not files:
            raise ValueError(f"Expected a list of photos of {name!r}, got {files!r:.100}. Pass at least one in a list.")


def _make_caption_mosaic(photos: Photos, n_names: int, draws: np.random.Generator) -> CaptionMosaic:
    """One mosaic: the first `n_names` of its four names, which lie in any order, make the text."""
    names = [list(photos)[place] for place in draws.permutation(len(photos))[:N_TILES]]
    half, order = SIDE // 2, draws.permutation(N_TILES).tolist()
    tiles = [_draw_photo(photos[names[number]], half, draws) for number in order]
    labels = [np.full((half, half), number if number < n_names else OUTSIDE) for number in order]
    image = Image.fromarray(arrange_tiles(tiles))
    return CaptionMosaic(image, tuple(names[:n_names]), torch.from_numpy(arrange_tiles(labels)))


def _draw_photo(photos: Sequence[Photo], side: int, draws: np.random.Generator) -> UInt8[np.ndarray, "side side 3"]:
    """A random crop of one of the photos."""
    return draw_crop(np.asarray(read_rgb(photos[int(draws.integers(len(photos)))])), side, draws)
