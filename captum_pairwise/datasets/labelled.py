"""Images with class labels, of each pixel or of the whole image."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from captum_pairwise.datasets.masks import label_shares
from captum_pairwise.datasets.readers import read_in_batches


@dataclass(frozen=True)
class LabelledImage:
    """An image, and its mask or its label.

    Attributes:
        image: the file.
        mask: the label of each pixel, 255 for void; None if the whole image has one label.
        label: the label of the whole image; None if there is a mask.

    >>> photo = LabelledImage(Path("sparrow.jpg"), label=3)
    >>> photo.label, photo.mask
    (3, None)

    See also `LabelledImages`.
    """

    image: Path
    mask: Path | None = None
    label: int | None = None


@dataclass(frozen=True)
class LabelledImages:
    """A split of a data set.

    Attributes:
        images: in an order that does not depend on the file system.
        names: class names by label; a label without a name is called by its number.
        background: labels that are not drawn as classes, but whose pixels count.

    Raises:
        ValueError: an image has both a mask and a label, or neither.

    >>> birds = LabelledImages((LabelledImage(Path("sparrow.jpg"), label=3),), names={3: "sparrow"})
    >>> len(birds.images), birds.name(3), birds.name(4)
    (1, 'sparrow', '4')

    See also `conditional_nearest_neighbours`, which makes pairs of two splits.
    """

    images: tuple[LabelledImage, ...]
    names: Mapping[int, str]
    background: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        for image in self.images:
            if (image.mask is None) == (image.label is None):
                raise ValueError(f"Expected {image.image} to have a mask or a label, got {image.mask} and {image.label}. Give one of them.")

    def name(self, label: int) -> str:
        """The class name of a label."""
        return self.names.get(label, str(label))


def find_labels(images: LabelledImages, min_share: float, n_workers: int = 0, show_progress: bool = True) -> list[list[int]]:
    """For each image, the labels with more than this share of its pixels that are not void, in ascending order."""
    masks = [image.mask for image in images.images if image.mask is not None]
    shares = chain.from_iterable(read_in_batches(label_shares, masks, 256, n_workers, "masks" if show_progress else None))
    labels = iter([[label for label, share in mask.items() if share > min_share and label not in images.background] for mask in shares])
    return [next(labels) if image.label is None else [image.label] for image in images.images]


def refuse_missing(images: Iterable[LabelledImage]) -> None:
    """Refuse a data set with missing files.

    Raises:
        ValueError: an image or a mask is missing; the message names it.
    """
    missing = [file for image in images for file in (image.image, image.mask) if file is not None and not file.is_file()]
    if missing:
        raise ValueError(f"Expected a file at {missing[0]}, got none ({len(missing)} are missing). Unpack the archives anew.")
