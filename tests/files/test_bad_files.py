"""One file of each kind of damage; `test_untrusted_*.py` test many files of each kind, and side effects."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import assert_refused
from safetensors.torch import save_file
from test_untrusted_checkpoints import make_attacks
from test_untrusted_images import WHOLE, write_png_header
from torch import nn

import captum_pairwise as cp
from captum_pairwise.datasets import open_mask, read_pairs
from captum_pairwise.evaluation.convergence.study import Row
from captum_pairwise.evaluation.rows import read_rows
from captum_pairwise.models.backbones import ImageEncoder, create

Written = Callable[[Path], object]
ENCODER = ImageEncoder(nn.Conv2d(3, 4, 3))
STATE = {"weight": torch.ones(2, 3)}


def holding(content: bytes | str) -> Written:
    return lambda file: file.write_bytes(content.encode() if isinstance(content, str) else content)


def cut(file: Path) -> None:
    torch.save(STATE, file)
    file.write_bytes(file.read_bytes()[:-20])


def linked(file: Path) -> None:
    secret = file.parent.parent / "secret.jpg"
    secret.touch()
    (file.parent / "a.jpg").symlink_to(secret)
    file.write_text("query,retrieved\na.jpg,a.jpg\n")


def weights(file: Path) -> object:
    return create("resnet50", file)


def photo(file: Path) -> object:
    return ENCODER.preprocess(file)


def rows(file: Path) -> object:
    return read_rows(file, Row)


HEADER = ",".join(Row.__dataclass_fields__)
LIST = "query,retrieved\n"
CASES: dict[str, tuple[str, Written, Callable[[Path], object], str]] = {
    "weights with code in them": (
        "net.pth",
        lambda file: torch.save(make_attacks("ran")["a shell"], file),
        weights,
        "a file of weights, got other or damaged",
    ),
    "weights cut off": ("net.pth", cut, weights, "a file of weights, got other or damaged"),
    "an empty file of weights": ("net.pth", holding(b""), weights, "a file of weights, got other or damaged"),
    "a header that claims 2**62 bytes": ("net.safetensors", holding(struct.pack("<Q", 2**62) + b"{}"), weights, "damaged"),
    "weights of another network": ("net.pth", lambda file: torch.save(STATE, file), weights, "the weights of a ResNet, got .* missing"),
    "a photo cut off": (
        "photo.jpg",
        holding(WHOLE["JPEG"][: len(WHOLE["JPEG"]) // 2]),
        photo,
        "an image, got content that cannot be read",
    ),
    "an empty photo": ("photo.jpg", holding(b""), photo, "an image, got content that cannot be read"),
    "a text for a photo": ("photo.jpg", holding("a photo"), photo, "an image, got content that cannot be read"),
    "a photo of 20 000 × 20 000": ("photo.png", lambda file: write_png_header(file, 20_000, 20_000), photo, "pixels.*MAX_IMAGE_PIXELS"),
    "a mask in JPEG": ("mask.jpg", holding(WHOLE["JPEG"]), open_mask, "exact numbers in .*, got JPEG, .* Save the mask as PNG"),
    "no photo there": ("photo.png", lambda _: None, photo, "photo.png"),
    "a list of missing photos": ("pairs.csv", holding(LIST + "a.jpg,b.jpg\n"), read_pairs, "a file at .*, got none"),
    "a way out of the folder": ("pairs.csv", holding(LIST + "../a.jpg,b.jpg\n"), read_pairs, "a path inside the root.* without '..'"),
    "a photo by its absolute path": ("pairs.csv", holding(LIST + "/etc/passwd,b.jpg\n"), read_pairs, "a path inside the root"),
    "a link out of the folder": ("pairs.csv", linked, read_pairs, "to lie inside the root, got a link to"),
    "a list in Latin-1": (
        "pairs.csv",
        holding((LIST + "Kätzchen.jpg,b.jpg\n").encode("latin-1")),
        read_pairs,
        "UTF-8, got other bytes",
    ),
    "a list in UTF-16": ("pairs.csv", holding((LIST + "a.jpg,b.jpg\n").encode("utf-16")), read_pairs, "UTF-8, got other bytes"),
    "a list without its header": ("pairs.csv", holding("a.jpg;b.jpg\n"), read_pairs, "the columns query,retrieved"),
    "a quote without an end": ("pairs.csv", holding(LIST + '"a.jpg,b.jpg\n'), read_pairs, "got a damaged row"),
    "a line of 2 MB": ("pairs.csv", holding("a" * 2**21), read_pairs, "lines of at most 1048576 characters"),
    "another table for results": ("results.csv", holding("a,b\n1,2\n"), rows, r"the columns .*, got \['a', 'b'\]"),
    "a result with a cell too few": ("results.csv", holding(f"{HEADER}\nA,all,kernel\n"), rows, "cells in row 2 of"),
    "a word for a number": ("results.csv", holding(f"{HEADER}\nA,all,kernel,here,many,0,1,1,1,1,1,1\n"), rows, "row 2 .*'many'"),
    "interactions cut off": ("pair.safetensors", holding(struct.pack("<Q", 99) + b"{"), cp.Interactions.load, "Interactions"),
    "tensors of something else": ("pair.safetensors", lambda file: save_file(STATE, file), cp.Interactions.load, "it holds something else"),
}


def attempt(case: str, folder: Path) -> object:
    """Write the file of a case into a new folder in `folder`, and read it."""
    name, write, read, _ = CASES[case]
    file = folder / case / name
    file.parent.mkdir()
    write(file)
    return read(file)


@pytest.mark.filterwarnings("ignore:Image size")  # Pillow warns before it refuses
@pytest.mark.parametrize("case", CASES)
def test_a_bad_file_is_refused_with_a_clear_message(case, tmp_path, without_type_checks):
    assert_refused(lambda: attempt(case, tmp_path), CASES[case][-1])
