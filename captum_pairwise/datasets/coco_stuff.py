"""COCO 2017 with the maps of COCO-Stuff (Caesar et al. 2018), where things and stuff have labels alike."""

from collections.abc import Sequence
from pathlib import Path

from captum_pairwise.datasets.labelled import LabelledImage, LabelledImages, refuse_missing
from captum_pairwise.datasets.safe_paths import read_list

SPLITS = ("train", "val")


def coco(root: str | Path, split: str) -> LabelledImages:
    """COCO 2017, 118 287 images to train and 5000 to validate, with the 171 classes of COCO-Stuff that have pixels.

    The images of a split lie in `images/<split>2017` or `<split>2017`; its maps, from `stuffthingmaps_trainval2017.zip`, in
    `annotations/<split>2017` or `stuffthingmaps/<split>2017`. Classes are named by the `labels.txt` of COCO-Stuff in any of `root`,
    `annotations` and `stuffthingmaps`; without it by their number in the maps.

    Args:
        root: the folder that holds these.
        split: `"train"` or `"val"`.

    Raises:
        ValueError: the split has another name, there are no such folders, or an image has no map.
    """
    if split not in SPLITS:
        raise ValueError(f"Expected a split of COCO, one of {SPLITS}, got {split!r}.")
    root, part = Path(root), f"{split}2017"
    files = sorted(_folder([root / "images" / part, root / part], "images", "jpg").glob("*.jpg"))
    maps = _folder([root / "annotations" / part, root / "stuffthingmaps" / part], "maps", "png")
    images = tuple(LabelledImage(file, maps / f"{file.stem}.png") for file in files)
    refuse_missing(images)
    return LabelledImages(images, _names([root, root / "annotations", root / "stuffthingmaps"]))


def _folder(folders: Sequence[Path], what: str, ending: str) -> Path:
    """The first of these folders that holds such files."""
    for folder in folders:
        if any(folder.glob(f"*.{ending}")):
            return folder
    raise ValueError(f"Expected the {what} of COCO, *.{ending}, in {folders[0]} or {folders[1]}, got none there. Unpack the archives.")


def _names(folders: Sequence[Path]) -> dict[int, str]:
    """The names of labels, where a `labels.txt` has them."""
    for file in (folder / "labels.txt" for folder in folders):
        if file.is_file():
            lines = [line.partition(":") for line in read_list(file)]
            bad = ["".join(line) for line in lines if not (line[0].strip().isdecimal() and line[2].strip())]
            if bad:
                raise ValueError(
                    f"Expected lines like '1: person' in {file}, got {bad[0]!r}. Take labels.txt from COCO-Stuff, or remove the file."
                )
            # its numbers are COCO's, from 1 on, and 0 is unlabelled; in the maps they begin with 0, and 255 is unlabelled
            return {int(number) - 1: name.strip() for number, _, name in lines if int(number) > 0}
    return {}
