"""Conditional nearest neighbours: for each image the one of the same class that an encoder finds most alike."""

import hashlib
import warnings
from collections import defaultdict
from itertools import chain
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from captum_pairwise.datasets.embeddings import embed
from captum_pairwise.datasets.labelled import LabelledImage, LabelledImages, labels_above
from captum_pairwise.datasets.pair_list import Pair
from captum_pairwise.models.backbones import ImageEncoder
from captum_pairwise.models.heads import normalize_rows

QUERIES, CANDIDATES = 1024, 4096  # that are compared at a time
DIGITS = 9  # of a cosine; what differs beyond is rounding


def conditional_nearest_neighbours(
    train: LabelledImages,
    val: LabelledImages,
    encoder: ImageEncoder,
    *,
    seed: int = 0,
    min_share: float = 0.05,
    batch_size: int = 32,
    cache: str | Path | None = None,
    n_workers: int = 0,
    show_progress: bool = True,
) -> list[Pair]:
    """A pair for each validation image: one of its classes is drawn, and the nearest training image with that class is the query.

    This is how the paper mines its pairs (§A.2; Hamilton et al. 2020), with MoCo v2 as encoder; near is what has a high cosine. Both images
    have the class on more than `min_share` of their pixels. Validation images without such a class, or whose class no training image has,
    are left out, with a warning that counts them. The draw depends on the seed, the name of the image and its classes alone; of equal
    training images the first is taken, and an image is never its own neighbour.

    Args:
        train: where queries come from.
        val: the images to be explained.
        encoder: maps are averaged; it may be on any device.
        seed: of the draws.
        min_share: of the pixels that are not void.
        batch_size: images that go through the encoder together.
        cache: a file that remembers embeddings, so that another run, or one that was killed, embeds only what is new; one for each encoder.
        n_workers: processes that read masks and images; 0 means this one.
        show_progress: whether there are progress bars.

    Raises:
        ValueError: the encoder is in training mode, `min_share` is no share, or an image or a mask cannot be read.
    """
    if not 0 <= min_share < 1:
        raise ValueError(f"Expected min_share to be a share of an image's pixels, from 0 to less than 1, got {min_share}.")
    holders = _holders(train, labels_above(train, min_share, n_workers, show_progress))
    labels = labels_above(val, min_share, n_workers, show_progress)
    drawn = [(image, _draw(some, image.image.name, seed)) for image, some in zip(val.images, labels, strict=True) if some]
    wanted = [(image, label) for image, label in drawn if any(holder.image != image.image for holder in holders.get(label, ()))]
    _report_left_out(len(val.images), len(drawn), len(wanted))
    if not wanted:
        return []
    needed = chain((image for image, _ in wanted), *(holders[label] for label in {label for _, label in wanted}))
    row = {file: number for number, file in enumerate(dict.fromkeys(image.image for image in needed))}
    embeddings = embed(list(row), encoder, batch_size=batch_size, cache=cache, n_workers=n_workers, show_progress=show_progress)
    queries = _queries(wanted, holders, row, normalize_rows(embeddings))
    return [_pair(queries[image.image], image, label, val.name(label)) for image, label in wanted]


def _holders(train: LabelledImages, labels: list[list[int]]) -> dict[int, list[LabelledImage]]:
    """The images that have each label."""
    holders = defaultdict(list)
    for image, some in zip(train.images, labels, strict=True):
        for label in some:
            holders[label].append(image)
    return holders


def _draw(labels: list[int], name: str, seed: int) -> int:
    """One of the labels, by a generator of the image's own."""
    digest = hashlib.blake2b(f"{seed} {name}".encode(errors="surrogateescape"), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "big", signed=True))
    return labels[int(torch.randint(len(labels), (), generator=generator))]


def _report_left_out(n_images: int, n_drawn: int, n_wanted: int) -> None:
    if n_wanted < n_images:
        warnings.warn(
            f"{n_images - n_wanted} of {n_images} images are left out: {n_images - n_drawn} have no class on enough pixels, and for "
            f"{n_drawn - n_wanted} no other image has the class that was drawn.",
            stacklevel=3,
        )


def _queries(
    wanted: list[tuple[LabelledImage, int]],
    holders: dict[int, list[LabelledImage]],
    row: dict[Path, int],
    directions: Float[Tensor, "images channels"],
) -> dict[Path, LabelledImage]:
    """The nearest training image of each validation image, class by class."""
    of_class: dict[int, list[Path]] = defaultdict(list)
    for image, label in wanted:
        of_class[label].append(image.image)
    queries = {}
    for label, files in of_class.items():
        own, candidates = (torch.tensor([row[file] for file in some]) for some in (files, [image.image for image in holders[label]]))
        nearest = [position for block in own.split(QUERIES) for position in _nearest(directions, block, candidates).tolist()]
        queries |= {file: holders[label][position] for file, position in zip(files, nearest, strict=True)}
    return queries


def _nearest(
    directions: Float[Tensor, "images channels"], own: Int[Tensor, " retrieved"], candidates: Int[Tensor, " candidates"]
) -> Int[Tensor, " retrieved"]:
    """The position of the candidate with the highest cosine, for each image; of equal ones the first, and never itself."""
    highest, nearest = torch.full(own.shape, -torch.inf, dtype=torch.float64), torch.zeros_like(own)
    for start, block in zip(range(0, len(candidates), CANDIDATES), candidates.split(CANDIDATES), strict=True):
        cosines = (directions[own].double() @ directions[block].double().T).round(decimals=DIGITS)
        cosines[own[:, None] == block] = -torch.inf
        value, position = cosines.max(1)
        nearest = torch.where(value > highest, start + position, nearest)
        highest = torch.maximum(value, highest)
    return nearest


def _pair(query: LabelledImage, retrieved: LabelledImage, label: int, category: str) -> Pair:
    return Pair(query.image, retrieved.image, category, query.mask, retrieved.mask, None if retrieved.mask is None else label)
