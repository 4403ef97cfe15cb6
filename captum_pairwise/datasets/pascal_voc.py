"""PASCAL VOC 2012, the segmentation challenge."""

from pathlib import Path

from torchvision.datasets import VOCSegmentation

from captum_pairwise.datasets.labelled import LabelledImage, LabelledImages, refuse_missing
from captum_pairwise.datasets.safe_paths import inside

SPLITS = ("train", "val", "trainval")
# as the challenge numbers them
NAMES = (
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person pottedplant sheep sofa "
    "train tvmonitor"
).split()


def voc(root: str | Path, split: str) -> LabelledImages:
    """PASCAL VOC 2012, 1464 images to train and 1449 to validate, with its 20 classes; the background is none.

    Args:
        root: the folder that holds `VOCdevkit/VOC2012`, as the archive of the challenge has it.
        split: `"train"`, `"val"` or `"trainval"`.

    Raises:
        ValueError: the split has another name, or there is no such folder.
    """
    if split not in SPLITS:
        raise ValueError(f"Expected a split of VOC, one of {SPLITS}, got {split!r}.")
    try:
        found = VOCSegmentation(root, image_set=split)
    except (RuntimeError, OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"Expected {Path(root) / 'VOCdevkit/VOC2012'} with ImageSets/Segmentation/{split}.txt, JPEGImages and SegmentationClass, got "
            f"something else ({error}). Pass the folder in which VOCtrainval_11-May-2012.tar was unpacked."
        ) from error
    pairs = zip(found.images, found.masks, strict=True)
    images = tuple(LabelledImage(_listed(root, image), _listed(root, mask)) for image, mask in pairs)
    refuse_missing(images)
    return LabelledImages(images, dict(enumerate(NAMES)), frozenset({NAMES.index("background")}))


def _listed(root: str | Path, file: str) -> Path:
    """A file that the list of the split names, inside the root."""
    return inside(Path(root), str(Path(file).relative_to(root)), check=False)
