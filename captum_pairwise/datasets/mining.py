"""Conditional nearest neighbours: for each image, the image of the same class whose embedding has the highest cosine."""

import hashlib
import warnings
from collections import defaultdict
from itertools import chain
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from captum_pairwise.datasets.embeddings import embed
from captum_pairwise.datasets.labelled import LabelledImage, LabelledImages, find_labels
from captum_pairwise.datasets.pair_list import Pair
from captum_pairwise.models.backbones import ImageEncoder
from captum_pairwise.models.heads import normalize_rows

QUERIES, CANDIDATES = 1024, 4096  # compared at a time
DIGITS = 9  # of a cosine; smaller differences are rounding errors


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
    """A pair for each validation image: one of its classes is drawn, and the nearest training image with this class is the query.

    The paper mines its pairs like this (§A.2; Hamilton et al. 2020), with MoCo v2 as encoder. The nearest image has the highest cosine. In
    both images, the class covers more than `min_share` of the pixels. Validation images without such a class, and images whose drawn class
    no training image has, are left out; a warning counts them. The draw depends only on the seed, the image's name and its classes. The
    first of several equal training images is taken, and an image is never its own neighbour.

    Args:
        train: candidates for the query.
        val: images to explain.
        encoder: maps are averaged; it may be on any device.
        seed: of the draws.
        min_share: of the pixels that are not void.
        batch_size: images that go through the encoder together.
        cache: a file that stores the embeddings of one encoder, so that another run embeds only new images, also after a killed run.
        n_workers: processes that read masks and images; 0 means this process.
        show_progress: True shows progress bars.

    Raises:
        ValueError: the encoder is in training mode, `min_share` is not in [0, 1), or an image or a mask cannot be read.

    For example::

        encoder = cp.models.backbones.create("moco_v2", "moco_v2_800ep_pretrain.pth.tar")
        pairs = cp.datasets.conditional_nearest_neighbours(cp.datasets.voc("voc", "train"), cp.datasets.voc("voc", "val"), encoder)
        cp.datasets.write_pairs(pairs, "pairs.csv")

    See also `voc`, `coco` and `LabelledImages`.
    """
    if not 0 <= min_share < 1:
        raise ValueError(f"Expected min_share to be a share of an image's pixels, from 0 to less than 1, got {min_share}.")
    candidates = _group_by_label(train, find_labels(train, min_share, n_workers, show_progress))
    val_labels = find_labels(val, min_share, n_workers, show_progress)
    drawn = [(image, _draw_label(labels, image.image.name, seed)) for image, labels in zip(val.images, val_labels, strict=True) if labels]
    matched = [(image, label) for image, label in drawn if any(other.image != image.image for other in candidates.get(label, ()))]
    _warn_left_out(len(val.images), len(drawn), len(matched))
    if not matched:
        return []
    needed = chain((image for image, _ in matched), *(candidates[label] for label in {label for _, label in matched}))
    row = {file: number for number, file in enumerate(dict.fromkeys(image.image for image in needed))}
    embeddings = embed(list(row), encoder, batch_size=batch_size, cache=cache, n_workers=n_workers, show_progress=show_progress)
    queries = _find_queries(matched, candidates, row, normalize_rows(embeddings))
    return [
        Pair(query.image, image.image, val.name(label), query.mask, image.mask, None if image.mask is None else label)
        for query, (image, label) in zip(queries, matched, strict=True)
    ]


def _group_by_label(train: LabelledImages, image_labels: list[list[int]]) -> dict[int, list[LabelledImage]]:
    groups = defaultdict(list)
    for image, labels in zip(train.images, image_labels, strict=True):
        for label in labels:
            groups[label].append(image)
    return groups


def _draw_label(labels: list[int], name: str, seed: int) -> int:
    """One of the labels, drawn by a generator whose seed depends on the image's name."""
    digest = hashlib.blake2b(f"{seed} {name}".encode(errors="surrogateescape"), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "big", signed=True))
    return labels[int(torch.randint(len(labels), (), generator=generator, device="cpu"))]


def _warn_left_out(n_images: int, n_drawn: int, n_matched: int) -> None:
    if n_matched < n_images:
        warnings.warn(
            f"{n_images - n_matched} of {n_images} images are left out: {n_images - n_drawn} have no class on enough pixels, and for "
            f"{n_drawn - n_matched} no other image has the class that was drawn.",
            stacklevel=3,
        )


def _find_queries(
    matched: list[tuple[LabelledImage, int]],
    candidates: dict[int, list[LabelledImage]],
    row: dict[Path, int],
    directions: Float[Tensor, "images channels"],
) -> list[LabelledImage]:
    """The nearest candidate of each image, computed class by class."""
    positions = defaultdict(list)
    for position, (_, label) in enumerate(matched):
        positions[label].append(position)
    queries = {}
    for label, in_class in positions.items():
        retrieved = torch.tensor([row[matched[position][0].image] for position in in_class], device="cpu")
        of_label = torch.tensor([row[image.image] for image in candidates[label]], device="cpu")
        nearest = torch.cat([_find_nearest(directions, block, of_label) for block in retrieved.split(QUERIES)])
        queries |= {position: candidates[label][index] for position, index in zip(in_class, nearest.tolist(), strict=True)}
    return [queries[position] for position in range(len(matched))]


def _find_nearest(
    directions: Float[Tensor, "images channels"], retrieved: Int[Tensor, " retrieved"], candidates: Int[Tensor, " candidates"]
) -> Int[Tensor, " retrieved"]:
    """The index of the candidate with the highest cosine for each image, the first of equal ones; an image is not its own neighbour."""
    highest, nearest = torch.full(retrieved.shape, -torch.inf, dtype=torch.float64, device=retrieved.device), torch.zeros_like(retrieved)
    for start, block in zip(range(0, len(candidates), CANDIDATES), candidates.split(CANDIDATES), strict=True):
        cosines = (directions[retrieved].double() @ directions[block].double().T).round(decimals=DIGITS)
        cosines[retrieved[:, None] == block] = -torch.inf
        value, index = cosines.max(1)
        nearest = torch.where(value > highest, start + index, nearest)
        highest = torch.maximum(value, highest)
    return nearest
