"""Options that several commands have: the model, the method, the output; and the checks of their values."""

import argparse
import os
import random
import sys
import webbrowser
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from captum_pairwise.explanations.shown import PICTURES
from captum_pairwise.files.arguments import parse_positive
from captum_pairwise.files.images import list_images

DEFAULT_MODEL = "efficientnet_lite0"
ENDINGS = (".html", *PICTURES)
N_BACKGROUND = 8  # photos of a gallery


def add_model_options(parser: argparse.ArgumentParser, others: str = "") -> None:
    """Add the options for the model and the method; `others` names models that only some commands take."""
    names = f"efficientnet_lite0 (the default), {others}resnet50=weights.pth and other backbones with a file of weights"
    function = "or module:function, your function that returns an encoder or a SimilarityWrapper"
    transform = "its attribute transform maps a PIL image to its input, unless it is of timm or torchvision"
    parser.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME", help=f"{names}, {function}; {transform}")
    parser.add_argument("--layer", metavar="NAME", help="the layer whose places are the parts, as layer4 (default: the last with places)")
    methods = "'closed form', factorised, path or opaque (default: the cheapest that is right for the model)"
    parser.add_argument("--method", metavar="NAME", help=methods)
    parser.add_argument("--samples", type=parse_positive, metavar="N", help="the budget of the method")
    parser.add_argument("--seed", type=int, default=0, help="seed of all random draws (default 0)")


def add_output_options(parser: argparse.ArgumentParser, folder: Path) -> None:
    """Add the options for the picture and the page."""
    where = f"a folder for the page and the picture, or one file that ends in {', '.join(ENDINGS)} (default: {folder})"
    parser.add_argument("--out", type=Path, default=folder, metavar="PATH", help=where)
    parser.add_argument("--open", action="store_true", help="open the page, or the picture, in the browser")


def take_method(options: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `explain` and `explain_ranking` for the options of the method."""
    names = {"layer": options.layer, "method": options.method, "n_samples": options.samples, "seed": options.seed}
    return names | {"show_progress": sys.stderr.isatty()}


def sample_photos(files: Sequence[Path], seed: int) -> list[Path] | None:
    """A few photos of a gallery, in random order; None if there are none."""
    return random.Random(seed).sample(list(files), min(N_BACKGROUND, len(files))) or None


def sample_background(folder: Path | None, seed: int) -> list[Path] | None:
    """A few photos of a folder, or None if no folder is given.

    Raises:
        ValueError: the folder holds no image.
    """
    if folder is None:
        return None
    photos = sample_photos(list_images(folder), seed)
    if photos is None:
        raise ValueError(f"Expected images in {folder}, got none. Choose another folder, or leave --background out.")
    return photos


def plan_files(out: Path, stem: str, inputs: Iterable[str | Path]) -> list[Path]:
    """The files to write: one if `out` names it, else a page and a picture in the folder `out`, which is made.

    Args:
        out: the file or the folder.
        stem: the name of the page and of the picture in the folder.
        inputs: the photos and sentences of the user.

    Raises:
        ValueError: a file to write is one of the photos.
    """
    is_file = out.suffix.lower() in ENDINGS
    folder, files = (out.parent, [out]) if is_file else (out, [out / f"{stem}.html", out / f"{stem}.png"])
    written = [file for file in files if file.is_file()]
    for photo in inputs if written else ():
        if os.path.isfile(photo) and any(file.samefile(photo) for file in written):  # a long sentence is no path for pathlib
            raise ValueError(f"Expected --out to leave your photos as they are, got {photo}, which is one. Choose another name.")
    folder.mkdir(parents=True, exist_ok=True)
    return files


def save_views(view: Any, files: Sequence[Path], is_opened: bool) -> None:
    """Save an explanation or a ranking under each name, and print where; open the first if asked."""
    for file in files:
        view.save(file)
        print(f"{'page' if file.suffix.lower() == '.html' else 'picture'}: {file}")
    if is_opened:
        webbrowser.open(files[0].resolve().as_uri())
