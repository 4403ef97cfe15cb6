"""Photos with matched keypoints: SPair-71k (Min et al. 2019) and PF-PASCAL (Ham et al. 2018)."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import scipy
from jaxtyping import Float

from captum_pairwise.datasets.known_truth import Points
from captum_pairwise.datasets.pair_list import Pair
from captum_pairwise.datasets.pascal_voc import NAMES
from captum_pairwise.datasets.safe_paths import join_inside, read_lines
from captum_pairwise.files.images import read_image

SPLITS = ("trn", "val", "test")
Places = Float[np.ndarray, "points 2"]  # column and row in pixels; NaN for a point that is not visible


def spair(root: str | Path, split: str = "test") -> list[Pair]:
    """SPair-71k: 53 340 pairs of photos of one class to train, 5384 to validate and 12 234 to test, with their common keypoints.

    Args:
        root: the folder `SPair-71k` of the archive, with `PairAnnotation` and `JPEGImages`.
        split: `"trn"`, `"val"` or `"test"`.

    Raises:
        ValueError: the split is unknown, or files are missing or damaged.

    For example::

        pairs = cp.datasets.spair("SPair-71k", "test")
        pairs[0].points  # row and column in both photos, as shares of height and width

    See also `pf_pascal` and `cp.metrics.correct_keypoints`.
    """
    _refuse_split(split)
    folder = Path(root) / "PairAnnotation" / split
    files = sorted(folder.glob("*.json"))
    if not files:
        raise ValueError(f"Expected {folder} with a *.json for each pair, got none. Pass the folder SPair-71k of the unpacked archive.")
    return [_read_spair(file, Path(root)) for file in files]


def _read_spair(file: Path, root: Path) -> Pair:
    """The pair of an annotation file."""
    try:
        entry = json.loads(file.read_text(encoding="utf-8"))
        category, names = str(entry["category"]), (str(entry["src_imname"]), str(entry["trg_imname"]))
        places = [np.array(entry[f"{side}_kps"], dtype=float).reshape(-1, 2) for side in ("src", "trg")]
        sizes = [(float(entry[f"{side}_imsize"][0]), float(entry[f"{side}_imsize"][1])) for side in ("src", "trg")]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ValueError(
            f"Expected an annotation of SPair-71k in {file}, got something else ({error}). Unpack the archive anew."
        ) from error
    query, retrieved = (join_inside(root, f"JPEGImages/{category}/{name}") for name in names)
    return Pair(query, retrieved, category, protocol="points", points=_match_points(places, sizes, file))


def pf_pascal(root: str | Path, split: str = "test") -> list[Pair]:
    """PF-PASCAL: 1351 pairs of photos of one class, with the keypoints that both show.

    Args:
        root: the folder with `PF-dataset-PASCAL` of the archive, and the lists `trn_pairs.csv`, `val_pairs.csv` and `test_pairs.csv` of
            the usual split.
        split: `"trn"`, `"val"` or `"test"`.

    Raises:
        ValueError: the split is unknown, or files are missing or damaged.

    For example::

        pairs = cp.datasets.pf_pascal("pf-pascal", "test")
        pairs[0].points  # row and column in both photos, as shares of height and width

    See also `spair` and `cp.metrics.correct_keypoints`.
    """
    _refuse_split(split)
    root, file = Path(root), Path(root) / f"{split}_pairs.csv"
    if not file.is_file():
        raise ValueError(f"Expected {file}, the list of the split, got no such file. Put it beside PF-dataset-PASCAL.")
    rows = list(csv.reader(read_lines(file)))
    bad = [row for row in rows[1:] if len(row) < 3 or not row[2].strip().isdecimal() or not 0 < int(row[2]) < len(NAMES)]
    if bad or not rows or rows[0][:3] != ["source_image", "target_image", "class"]:
        raise ValueError(f"Expected the columns source_image,target_image,class in {file}, got {(bad or rows or [[]])[0]}. Load it anew.")
    return [_read_pf_pascal(root, row[:2], NAMES[int(row[2])]) for row in rows[1:]]


def _read_pf_pascal(root: Path, names: list[str], category: str) -> Pair:
    """The pair of a row of the list."""
    query, retrieved = (join_inside(root, name) for name in names)
    places, sizes = [], []
    for image in (query, retrieved):
        file = join_inside(root, f"PF-dataset-PASCAL/Annotations/{category}/{image.stem}.mat")
        places.append(_read_mat(file))
        with read_image(image, "a photo") as photo:
            sizes.append((float(photo.width), float(photo.height)))
    return Pair(query, retrieved, category, protocol="points", points=_match_points(places, sizes, query))


def _read_mat(file: Path) -> Places:
    """The keypoints of an annotation in MATLAB's format."""
    try:
        return np.asarray(scipy.io.loadmat(file)["kps"], dtype=float).reshape(-1, 2)
    except (ValueError, KeyError, TypeError, NotImplementedError, OSError) as error:
        raise ValueError(f"Expected keypoints `kps` in {file}, got something else ({error}). Unpack the archive anew.") from error


def _match_points(places: list[Places], sizes: list[tuple[float, float]], file: Path) -> Points:
    """The points that both images show, as shares of the sides."""
    if len(places[0]) != len(places[1]):
        raise ValueError(f"Expected as many keypoints in both images of {file}, got {len(places[0])} and {len(places[1])}. Load it anew.")
    return tuple(_list_shared(places, sizes))


def _list_shared(places: list[Places], sizes: list[tuple[float, float]]) -> Iterator[tuple[float, float, float, float]]:
    """Rows and columns as shares.

    Yields:
        row and column in the query, row and column in the retrieved image.
    """
    for query, retrieved in zip(*places, strict=True):
        (a, b), (c, d) = (
            np.clip(point[::-1] / (np.array(size[::-1]) - 1), 0, 1).tolist() for point, size in zip((query, retrieved), sizes, strict=True)
        )
        if not np.isnan([a, b, c, d]).any():
            yield a, b, c, d


def _refuse_split(split: str) -> None:
    if split not in SPLITS:
        raise ValueError(f"Expected a split out of {SPLITS}, got {split!r}.")
