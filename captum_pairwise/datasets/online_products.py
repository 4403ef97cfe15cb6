"""Stanford Online Products (Song et al. 2016): photos of products for sale, several of each product."""

from pathlib import Path

from captum_pairwise.datasets.labelled import LabelledImage, LabelledImages, refuse_missing
from captum_pairwise.datasets.safe_paths import join_inside, read_lines

SPLITS = ("train", "test")
CONDITIONS = ("super_class", "class")
COLUMNS = ["image_id", "class_id", "super_class_id", "path"]


def stanford_online_products(root: str | Path, split: str, condition: str = "super_class") -> LabelledImages:
    """Stanford Online Products, 59 551 images to train and 60 502 to test; there are no masks.

    No product is in both splits. Pairs across the splits share the kind of product (12 super-classes); pairs of one product share a split.

    Args:
        root: the folder with `Ebay_train.txt`, `Ebay_test.txt` and the folders of images, as in the archive.
        split: `"train"` or `"test"`.
        condition: the class of an image: `"super_class"`, or `"class"` for the product itself.

    Raises:
        ValueError: the split or the condition is unknown, or files are missing or damaged.

    For example::

        train, test = (cp.datasets.stanford_online_products("Stanford_Online_Products", split) for split in ("train", "test"))
        pairs = cp.datasets.conditional_nearest_neighbours(train, test, encoder)

    See also `conditional_nearest_neighbours`.
    """
    if split not in SPLITS or condition not in CONDITIONS:
        raise ValueError(f"Expected a split out of {SPLITS} and a condition out of {CONDITIONS}, got {split!r} and {condition!r}.")
    root, file = Path(root), Path(root) / f"Ebay_{split}.txt"
    if not file.is_file():
        raise ValueError(f"Expected {file}, got no such file. Pass the folder Stanford_Online_Products of the unpacked archive.")
    header, *lines = [line.split() for line in read_lines(file)] or [[]]
    bad = [line for line in lines if len(line) != len(COLUMNS) or not all(number.isdecimal() for number in line[:-1])]
    if header != COLUMNS or bad:
        raise ValueError(
            f"Expected the columns {' '.join(COLUMNS)} in {file}, and a value for each in every line, got "
            f"{' '.join(*bad[:1] or [header])}. Unpack the archive anew."
        )
    column = COLUMNS.index(f"{condition}_id")
    images = tuple(LabelledImage(join_inside(root, line[-1], check=False), label=int(line[column])) for line in lines)
    refuse_missing(images)
    # a path is like bicycle_final/111085122871_0.JPG
    return LabelledImages(images, {int(line[column]): line[-1].partition("/")[0].removesuffix("_final") for line in lines})
