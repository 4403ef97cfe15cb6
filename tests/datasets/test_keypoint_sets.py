import json

import numpy as np
import pytest
from data_sets import save_photo
from scipy.io import savemat

from captum_pairwise.datasets import pf_pascal, read_pairs, spair, write_pairs

# the photos have 20 rows and 24 columns
ENTRY = {
    "src_imname": "a.jpg",
    "trg_imname": "b.jpg",
    "category": "cat",
    "src_imsize": [24, 20, 3],
    "trg_imsize": [24, 20, 3],
    "src_kps": [[0, 19], [23, 0]],
    "trg_kps": [[11.5, 9.5], [23, 19]],
}
EXPECTED = ((1.0, 0.0, 0.5, 0.5), (0.0, 1.0, 1.0, 1.0))


def make_spair(root, **changes):
    for name in ("a.jpg", "b.jpg"):
        save_photo(root / "JPEGImages/cat" / name, 0)
    (root / "PairAnnotation/test").mkdir(parents=True)
    (root / "PairAnnotation/test/000001-a-b:cat.json").write_text(json.dumps(ENTRY | changes))
    return root


def make_pf_pascal(root, header="source_image,target_image,class", number="8"):  # the eighth class is the cat
    nan = float("nan")
    places = {"a": [[0, 19], [nan, nan], [23, 0]], "b": [[11.5, 9.5], [1, 1], [23, 19]]}
    for name, points in places.items():
        save_photo(root / f"PF-dataset-PASCAL/JPEGImages/{name}.jpg", 0)
        file = root / f"PF-dataset-PASCAL/Annotations/cat/{name}.mat"
        file.parent.mkdir(parents=True, exist_ok=True)
        savemat(file, {"kps": np.array(points)})
    images = ",".join(f"PF-dataset-PASCAL/JPEGImages/{name}.jpg" for name in places)
    (root / "test_pairs.csv").write_text(f"{header}\n{images},{number}\n")
    return root


@pytest.mark.parametrize(
    ("read", "make", "folder"), [(spair, make_spair, "JPEGImages/cat"), (pf_pascal, make_pf_pascal, "PF-dataset-PASCAL/JPEGImages")]
)
def test_points_that_both_photos_show_are_shares_of_the_sides(tmp_path, read, make, folder):
    (pair,) = read(make(tmp_path), "test")
    assert (pair.query, pair.retrieved) == (tmp_path / folder / "a.jpg", tmp_path / folder / "b.jpg")
    assert (pair.category, pair.protocol) == ("cat", "points")
    assert np.allclose(pair.points, EXPECTED)
    write_pairs([pair], tmp_path / "pairs.csv")
    assert np.allclose(read_pairs(tmp_path / "pairs.csv")[0].points, EXPECTED)


@pytest.mark.parametrize(
    ("read", "message"), [(spair, r"PairAnnotation.test with a \*.json"), (pf_pascal, "test_pairs.csv, the list of the split")]
)
def test_errors_name_the_expected_files(tmp_path, read, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, "test")
    with pytest.raises(ValueError, match="Expected a split out of"):
        read(tmp_path, "train")


@pytest.mark.parametrize(
    "changes", [{"src_kps": [[1]]}, {"src_kps": "x"}, {"src_imsize": []}, {"src_kps": [[0, 0]]}, {"src_imname": "../a.jpg"}]
)
def test_damaged_annotations_are_refused(tmp_path, changes):
    with pytest.raises(ValueError, match=r"Expected .* got "):
        spair(make_spair(tmp_path, **changes), "test")


@pytest.mark.parametrize("changes", [{"header": "a,b,c"}, {"number": "21"}, {"number": "cat"}])
def test_damaged_lists_are_refused(tmp_path, changes):
    with pytest.raises(ValueError, match="columns source_image,target_image,class"):
        pf_pascal(make_pf_pascal(tmp_path, **changes), "test")


def test_an_annotation_without_keypoints_is_refused(tmp_path):
    savemat(make_pf_pascal(tmp_path) / "PF-dataset-PASCAL/Annotations/cat/a.mat", {"other": np.ones(2)})
    with pytest.raises(ValueError, match=r"keypoints `kps` in .*a.mat"):
        pf_pascal(tmp_path, "test")
