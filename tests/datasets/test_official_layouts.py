from pathlib import Path

import pytest
from data_sets import make_coco, make_products, make_voc, save_photo

from captum_pairwise.datasets import LabelledImage, LabelledImages, coco, stanford_online_products, voc

LAYOUTS = [("images", "annotations"), ("", "stuffthingmaps"), ("images", "stuffthingmaps"), ("", "annotations")]


def test_voc_has_a_mask_for_each_image_of_the_split(tmp_path):
    home = make_voc(tmp_path) / "VOCdevkit/VOC2012"
    for split, first, count in (("train", 0, 8), ("val", 100, 5)):
        names = [f"2007_{number:06}" for number in range(first, first + count)]
        assert voc(tmp_path, split).images == tuple(
            LabelledImage(home / f"JPEGImages/{name}.jpg", home / f"SegmentationClass/{name}.png") for name in names
        )
    val = voc(str(tmp_path), "val")
    assert val.name(0) == "background" and val.background == {0}
    assert (val.name(1), val.name(15), val.name(20), len(val.names)) == ("aeroplane", "person", "tvmonitor", 21)


@pytest.mark.parametrize(("images", "maps"), LAYOUTS)
def test_coco_is_read_from_each_layout(tmp_path, images, maps):
    make_coco(tmp_path, images, maps)
    for split, first in (("train", 1), ("val", 101)):
        assert coco(tmp_path, split).images == tuple(
            LabelledImage(tmp_path / images / f"{split}2017/{number:012}.jpg", tmp_path / maps / f"{split}2017/{number:012}.png")
            for number in range(first, first + 4)
        )


@pytest.mark.parametrize("folder", ["", "annotations"])
def test_labels_of_coco_count_from_1_and_its_maps_from_0(tmp_path, folder):
    make_coco(tmp_path)
    assert coco(tmp_path, "val").name(123) == "123"
    (tmp_path / folder / "labels.txt").write_text("0: unlabeled\n1: person\n124: grass\n")
    val = coco(tmp_path, "val")
    assert val.names == {0: "person", 123: "grass"} and not val.background


def test_the_label_of_a_product_is_its_kind_or_its_number(tmp_path):
    make_products(tmp_path)
    train, test = (stanford_online_products(tmp_path, split) for split in ("train", "test"))
    assert [image.label for image in train.images] == [2, 2, 1, 1, 2, 2] and [image.label for image in test.images] == [1, 1, 2, 2, 1, 1]
    assert train.images[2] == LabelledImage(tmp_path / "chair_final/000000000002_0.JPG", label=1)
    assert train.names == {1: "chair", 2: "coffee_maker"}
    products = stanford_online_products(tmp_path, "test", "class")
    assert [image.label for image in products.images] == [4, 4, 5, 5, 6, 6]
    assert products.names == {4: "chair", 5: "coffee_maker", 6: "chair"}


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (voc, "Expected .*VOCdevkit/VOC2012 with ImageSets/Segmentation/train.txt, JPEGImages and SegmentationClass"),
        (coco, r"images of COCO, \*.jpg, in .*images/train2017 or .*/train2017"),
        (stanford_online_products, "Expected .*Ebay_train.txt"),
    ],
)
def test_errors_name_the_expected_folder(tmp_path, read, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, "train")
    with pytest.raises(ValueError, match=r"split"):
        read(tmp_path, "trial")


def test_a_missing_split_of_voc_is_refused(tmp_path):
    (make_voc(tmp_path) / "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt").unlink()
    with pytest.raises(ValueError, match=r"ImageSets/Segmentation/val.txt"):
        voc(tmp_path, "val")


def test_coco_without_maps_is_refused(tmp_path):
    save_photo(tmp_path / "train2017/000000000001.jpg", 1)
    (tmp_path / "annotations/train2017").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"maps of COCO, \*.png, in .*annotations/train2017 or .*stuffthingmaps/train2017"):
        coco(tmp_path, "train")


@pytest.mark.parametrize(
    ("make", "read", "missing"),
    [
        (make_voc, voc, "VOCdevkit/VOC2012/JPEGImages/2007_000003.jpg"),
        (make_voc, voc, "VOCdevkit/VOC2012/SegmentationClass/2007_000003.png"),
        (make_coco, coco, "annotations/train2017/000000000003.png"),
        (make_products, stanford_online_products, "chair_final/000000000002_1.JPG"),
    ],
)
def test_errors_name_the_missing_file(tmp_path, make, read, missing):
    (make(tmp_path) / missing).unlink()
    with pytest.raises(ValueError, match=rf"a file at .*{missing}, got none \(1 are missing\)"):
        read(tmp_path, "train")


@pytest.mark.parametrize("text", ["", "image_id path\n1 a.JPG\n"])
def test_a_table_of_products_with_other_columns_is_refused(tmp_path, text):
    (tmp_path / "Ebay_train.txt").write_text(text)
    with pytest.raises(ValueError, match=r"columns image_id class_id super_class_id path in .*Ebay_train.txt"):
        stanford_online_products(tmp_path, "train")


@pytest.mark.parametrize("image", [LabelledImage(Path("a.jpg")), LabelledImage(Path("a.jpg"), Path("a.png"), 1)])
def test_an_image_has_either_a_mask_or_a_label(image):
    with pytest.raises(ValueError, match=r"Expected a.jpg to have a mask or a label"):
        LabelledImages((image,), {})
