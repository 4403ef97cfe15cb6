"""PASCAL VOC 2012, the segmentation challenge."""

from importlib import import_module
from pathlib import Path

from captum_pairwise.datasets.labelled import LabelledImage, LabelledImages, refuse_missing
from captum_pairwise.datasets.safe_paths import join_inside

SPLITS = ("train", "val", "trainval")
# in the order of their labels
NAMES = (
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person pottedplant sheep sofa "
    "train tvmonitor"
).split()


def voc(root: str | Path, split: str) -> LabelledImages:
    """PASCAL VOC 2012, 1464 images to train and 1449 to validate, with its 20 classes; the background is not a class.

    Args:
        root: the folder with `VOCdevkit/VOC2012`, as in the archive of the challenge.
        split: `"train"`, `"val"` or `"trainval"`.

    Raises:
        ValueError: the split is unknown, or the folder does not exist.

    For example::

        train, val = (cp.datasets.voc("voc", split) for split in ("train", "val"))
        pairs = cp.datasets.conditional_nearest_neighbours(train, val, encoder)

    See also `conditional_nearest_neighbours`, `coco` and `open_mask`.
    """
    root = Path(root)
    if split not in SPLITS:
        raise ValueError(f"Expected a split of VOC, one of {SPLITS}, got {split!r}.")
    try:
        files = import_module("torchvision.datasets").VOCSegmentation(root, image_set=split)  # the import takes a second
    except (RuntimeError, OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"Expected {root / 'VOCdevkit/VOC2012'} with ImageSets/Segmentation/{split}.txt, JPEGImages and SegmentationClass, got "
            f"something else ({error}). Pass the folder in which VOCtrainval_11-May-2012.tar was unpacked."
        ) from error
    images, masks = (
        [join_inside(root, str(Path(file).relative_to(root)), check=False) for file in listed] for listed in (files.images, files.masks)
    )
    labelled = tuple(map(LabelledImage, images, masks))
    refuse_missing(labelled)
    return LabelledImages(labelled, dict(enumerate(NAMES)), frozenset({NAMES.index("background")}))
