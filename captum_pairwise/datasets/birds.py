"""CUB-200-2011 (Wah et al. 2011): photos of 200 species of birds."""

from pathlib import Path

from captum_pairwise.datasets.labelled import LabelledImage, LabelledImages, refuse_missing
from captum_pairwise.datasets.safe_paths import join_inside, read_lines

SPLITS = ("train", "test")


def cub(root: str | Path, split: str) -> LabelledImages:
    """CUB-200-2011, 5994 photos to train and 5794 to test; the label of a photo is its species, and there are no masks.

    Args:
        root: the folder `CUB_200_2011` of the archive, with `images.txt`, `image_class_labels.txt`, `train_test_split.txt`, `classes.txt`
            and `images`.
        split: `"train"` or `"test"`.

    Raises:
        ValueError: the split is unknown, or files are missing or damaged.

    For example::

        train, test = (cp.datasets.cub("CUB_200_2011", split) for split in ("train", "test"))
        pairs = cp.datasets.conditional_nearest_neighbours(train, test, encoder)

    See also `conditional_nearest_neighbours`.
    """
    if split not in SPLITS:
        raise ValueError(f"Expected a split out of {SPLITS}, got {split!r}.")
    root = Path(root)
    paths, labels, is_train, names = (
        _read_table(root / f"{name}.txt") for name in ("images", "image_class_labels", "train_test_split", "classes")
    )
    if not paths.keys() == labels.keys() == is_train.keys() or not set(labels.values()) <= names.keys():
        raise ValueError(f"Expected a label and a split for every image in {root / 'images.txt'}, got others. Unpack the archive anew.")
    wanted = "1" if split == SPLITS[0] else "0"
    images = tuple(
        LabelledImage(join_inside(root / "images", path, check=False), label=int(labels[number]))
        for number, path in paths.items()
        if is_train[number] == wanted
    )
    refuse_missing(images)
    return LabelledImages(images, {int(number): name.partition(".")[2] for number, name in names.items()})


def _read_table(file: Path) -> dict[str, str]:
    """The second column of a text by the number in the first."""
    if not file.is_file():
        raise ValueError(f"Expected {file}, got no such file. Pass the folder CUB_200_2011 of the unpacked archive.")
    lines = [line.split(maxsplit=1) for line in read_lines(file)]
    bad = [line for line in lines if len(line) != 2 or not line[0].isdecimal()]
    if bad:
        raise ValueError(f"Expected a number and a value in every line of {file}, got {' '.join(bad[0])!r}. Unpack the archive anew.")
    return {number: value.strip() for number, value in lines}
