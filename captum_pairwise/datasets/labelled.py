"""Images whose classes are known: from masks, or for the image as a whole."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from captum_pairwise.datasets.masks import label_shares
from captum_pairwise.datasets.readers import read_in_batches


@dataclass(frozen=True)
class LabelledImage:
    """An image, and what tells its classes.

    Attributes:
        image: the file.
        mask: the label of each pixel, 255 for void; None where the image has a class as a whole.
        label: that class; None where there is a mask.
    """

    image: Path
    mask: Path | None = None
    label: int | None = None


@dataclass(frozen=True)
class LabelledImages:
    """A split of a data set.

    Attributes:
        images: in an order that does not depend on the file system.
        names: of labels, in words; a label that has none is called by its number.
        background: labels that are no class of their own, but count as pixels.

    Raises:
        ValueError: an image has both a mask and a label, or neither.
    """

    images: tuple[LabelledImage, ...]
    names: Mapping[int, str]
    background: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        for image in self.images:
            if (image.mask is None) == (image.label is None):
                raise ValueError(f"Expected {image.image} to have a mask or a label, got {image.mask} and {image.label}. Give one of them.")

    def name(self, label: int) -> str:
        """What a label is called."""
        return self.names.get(label, str(label))


def labels_above(images: LabelledImages, min_share: float, n_workers: int = 0, show_progress: bool = True) -> list[list[int]]:
    """For each image the labels that have more than this share of its pixels, void ones not counted, in ascending order."""
    masks = [image.mask for image in images.images if image.mask is not None]
    shares = chain.from_iterable(read_in_batches(label_shares, masks, 256, n_workers, "masks" if show_progress else None))
    above = iter([[label for label, share in some.items() if share > min_share and label not in images.background] for some in shares])
    return [next(above) if image.label is None else [image.label] for image in images.images]


def refuse_missing(images: Iterable[LabelledImage]) -> None:
    """Refuse a data set of which something is not there.

    Raises:
        ValueError: an image or a mask is missing; the message names it.
    """
    missing = [file for image in images for file in (image.image, image.mask) if file is not None and not file.is_file()]
    if missing:
        raise ValueError(f"Expected a file at {missing[0]}, got a path to none ({len(missing)} are missing). Unpack the archives anew.")
