"""COCO 2017 with the label maps of COCO-Stuff (Caesar et al. 2018), for things and stuff."""

from collections.abc import Sequence
from pathlib import Path

from captum_pairwise.datasets.labelled import LabelledImage, LabelledImages, refuse_missing
from captum_pairwise.datasets.safe_paths import read_lines

SPLITS = ("train", "val")


def coco(root: str | Path, split: str) -> LabelledImages:
    """COCO 2017, 118 287 images to train and 5000 to validate, with the 171 classes of COCO-Stuff that have pixels.

    The images of a split are in `images/<split>2017` or `<split>2017`. Its label maps, from `stuffthingmaps_trainval2017.zip`, are in
    `annotations/<split>2017` or `stuffthingmaps/<split>2017`. The class names come from the `labels.txt` of COCO-Stuff in `root`,
    `annotations` or `stuffthingmaps`. Without this file, a class is named by its number in the label maps.

    Args:
        root: the folder that holds these folders.
        split: `"train"` or `"val"`.

    Raises:
        ValueError: the split is unknown, the folders do not exist, or an image has no label map.

    For example::

        train, val = (cp.datasets.coco("coco", split) for split in ("train", "val"))
        pairs = cp.datasets.conditional_nearest_neighbours(train, val, encoder)

    See also `conditional_nearest_neighbours` and `voc`.
    """
    if split not in SPLITS:
        raise ValueError(f"Expected a split of COCO, one of {SPLITS}, got {split!r}.")
    root, part = Path(root), f"{split}2017"
    files = sorted(_find_folder([root / "images" / part, root / part], "images", "jpg").glob("*.jpg"))
    maps = _find_folder([root / "annotations" / part, root / "stuffthingmaps" / part], "maps", "png")
    images = tuple(LabelledImage(file, maps / f"{file.stem}.png") for file in files)
    refuse_missing(images)
    return LabelledImages(images, _read_names([root, root / "annotations", root / "stuffthingmaps"]))


def _find_folder(folders: Sequence[Path], content: str, ending: str) -> Path:
    """The first folder with files of this ending."""
    for folder in folders:
        if any(folder.glob(f"*.{ending}")):
            return folder
    raise ValueError(f"Expected the {content} of COCO, *.{ending}, in {folders[0]} or {folders[1]}, got no such file. Unpack the archives.")


def _read_names(folders: Sequence[Path]) -> dict[int, str]:
    """Names by label, from the first `labels.txt`; empty without one."""
    file = next((folder / "labels.txt" for folder in folders if (folder / "labels.txt").is_file()), None)
    if file is None:
        return {}
    lines = [line.partition(":") for line in read_lines(file)]
    bad = ["".join(line) for line in lines if not (line[0].strip().isdecimal() and line[2].strip())]
    if bad:
        raise ValueError(f"Expected lines like '1: person' in {file}, got {bad[0]!r}. Take labels.txt from COCO-Stuff, or remove the file.")
    # labels.txt counts from 1, and 0 is unlabelled; the label maps count from 0, and 255 is unlabelled
    return {int(number) - 1: name.strip() for number, _, name in lines if int(number) > 0}
