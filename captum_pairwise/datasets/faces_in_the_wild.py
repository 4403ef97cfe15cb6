"""Labelled Faces in the Wild (Huang et al. 2007): pairs of faces of one person, or of two."""

from pathlib import Path

from captum_pairwise.datasets.pair_list import Pair
from captum_pairwise.datasets.safe_paths import join_inside, read_lines

KINDS = ("matched", "mismatched")


def lfw(root: str | Path, kind: str = "matched") -> list[Pair]:
    """The 3000 matched or 3000 mismatched pairs of View 2; there are no masks.

    Args:
        root: the folder with `pairs.txt` and the folder `lfw` of the archive.
        kind: `"matched"`, two photos of a person, whose name is the category; or `"mismatched"`, of two persons.

    Raises:
        ValueError: the kind is unknown, or files are missing or damaged.

    For example::

        pairs = cp.datasets.lfw("lfw", "matched")
        cp.explain(encoder, pairs[0].query, pairs[0].retrieved)

    See also `Pair` and `write_pairs`.
    """
    root, file = Path(root), Path(root) / "pairs.txt"
    if kind not in KINDS:
        raise ValueError(f"Expected kind to be one of {KINDS}, got {kind!r}.")
    if not file.is_file():
        raise ValueError(f"Expected {file}, got no such file. Put pairs.txt beside the folder lfw of the unpacked archive.")
    lines = [line.split() for line in read_lines(file)[1:]]  # the first line has the number of folds
    bad = [line for line in lines if len(line) not in (3, 4) or not line[-1].isdecimal() or not line[1].isdecimal()]
    if bad:
        raise ValueError(f"Expected lines like 'Name 1 4' or 'Name 1 Other 2' in {file}, got {' '.join(bad[0])!r}. Load it anew.")
    length = 3 if kind == KINDS[0] else 4
    return [_make_face_pair(root, line) for line in lines if len(line) == length]


def _make_face_pair(root: Path, line: list[str]) -> Pair:
    """The pair of a line: a person and two numbers, or twice a person and a number."""
    faces = [(line[0], line[1]), (line[-2] if len(line) == 4 else line[0], line[-1])]
    query, retrieved = (join_inside(root, f"lfw/{name}/{name}_{int(number):04}.jpg") for name, number in faces)
    return Pair(query, retrieved, line[0] if len(line) == 3 else "")
