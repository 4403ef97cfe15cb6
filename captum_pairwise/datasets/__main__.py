"""`python -m captum_pairwise.datasets <data set>`: write pairs of images for experiments into a CSV file."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from captum_pairwise.datasets.birds import cub
from captum_pairwise.datasets.builtin import builtin_pairs
from captum_pairwise.datasets.coco_stuff import coco
from captum_pairwise.datasets.faces_in_the_wild import KINDS, lfw
from captum_pairwise.datasets.keypoint_sets import SPLITS, pf_pascal, spair
from captum_pairwise.datasets.labelled import LabelledImages
from captum_pairwise.datasets.mining import conditional_nearest_neighbours
from captum_pairwise.datasets.online_products import CONDITIONS, stanford_online_products
from captum_pairwise.datasets.pair_list import write_pairs
from captum_pairwise.datasets.pascal_voc import voc
from captum_pairwise.datasets.safe_paths import refuse_links_out
from captum_pairwise.files.arguments import parse_positive
from captum_pairwise.models import backbones

INTERRUPTED = 130
TITLES = {"voc": "PASCAL VOC 2012", "coco": "COCO 2017 with COCO-Stuff", "sop": "Stanford Online Products", "cub": "CUB-200-2011"}
LISTED = {"spair": "SPair-71k", "pf_pascal": "PF-PASCAL", "lfw": "Labelled Faces in the Wild"}  # whose pairs are published
PARTS = {"spair": SPLITS, "pf_pascal": SPLITS, "lfw": KINDS}


def build_parser() -> argparse.ArgumentParser:
    """Argument parser of the command."""
    parser = argparse.ArgumentParser(prog="python -m captum_pairwise.datasets", description=__doc__)
    commands = parser.add_subparsers(dest="data_set", required=True)
    for name, title in TITLES.items():
        description = f"Conditional nearest neighbours in {title} (§A.2)."
        _add_mining_options(commands.add_parser(name, help=f"mine pairs of {title}", description=description))
    condition = "class that a pair shares: the kind of product, from train to test (default), or the product, within test"
    commands.choices["sop"].add_argument("--condition", choices=CONDITIONS, default=CONDITIONS[0], help=condition)
    for name, title in LISTED.items():
        listed = commands.add_parser(name, help=f"write the pairs of {title}", description=f"The published pairs of {title}.")
        listed.set_defaults(run=write_listed_pairs)
        listed.add_argument("--root", type=Path, required=True, help="folder of the data set, unpacked as it is published")
        listed.add_argument("--part", choices=PARTS[name], default=PARTS[name][-1 if name != "lfw" else 0], help="split or kind of pairs")
        listed.add_argument("--out", type=Path, required=True, metavar="FILE", help="CSV file; its paths are relative to the root")
    title = "write a few pairs that need no download"
    builtin = commands.add_parser("builtin", help=title, description=f"{title.capitalize()}, for trying and testing, not for conclusions.")
    builtin.set_defaults(run=write_builtin_pairs)
    builtin.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder for images, masks and pairs.csv")
    return parser


def _add_mining_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=mine_pairs)
    parser.add_argument("--root", type=Path, required=True, help="folder of the data set, unpacked as it is published")
    backbone = "encoder whose cosines are compared; the paper uses moco_v2=FILE"
    parser.add_argument("--backbone", required=True, metavar="NAME[=FILE]", help=backbone)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="CSV file to write; its paths are relative to the root")
    parser.add_argument("--limit", type=parse_positive, metavar="N", help="use only the first N validation images")
    parser.add_argument("--seed", type=int, default=0, help="seed of the class that is drawn for each image (default 0)")
    parser.add_argument("--batch-size", type=parse_positive, default=32, metavar="N", help="images in a batch (default 32)")
    parser.add_argument("--device", default="cpu", help="PyTorch device (default cpu)")
    parser.add_argument("--cache", type=Path, metavar="FILE", help="safetensors file that stores the embeddings of one backbone")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="processes that read images (default 0: this process)")


def read_splits(options: argparse.Namespace) -> tuple[LabelledImages, LabelledImages]:
    """Candidates for the query, and images to explain."""
    if options.data_set == "sop":
        test = stanford_online_products(options.root, "test", options.condition)
        return test if options.condition == "class" else stanford_online_products(options.root, "train", options.condition), test
    read, test_split = {"voc": (voc, "val"), "coco": (coco, "val"), "cub": (cub, "test")}[options.data_set]
    return read(options.root, "train"), read(options.root, test_split)


def mine_pairs(options: argparse.Namespace) -> None:
    """Mine pairs, write them and print how to read them."""
    encoder = backbones.parse(options.backbone).to(options.device)
    train, val = read_splits(options)
    for image in (*train.images, *val.images):
        refuse_links_out(image.image, options.root)  # before the long computation, not when the pairs are written
    val = replace(val, images=val.images[: options.limit])
    pairs = conditional_nearest_neighbours(
        train, val, encoder, seed=options.seed, batch_size=options.batch_size, cache=options.cache, n_workers=options.workers
    )
    write_pairs(pairs, options.out, options.root)
    print(f"{len(pairs)} pairs: {options.out}")
    if options.root.resolve() != options.out.parent.resolve():
        print(f"Their paths are relative to {options.root}: pass this root whenever you read the file.")


def write_listed_pairs(options: argparse.Namespace) -> None:
    """Write the published pairs of a data set, and print how to read them."""
    read = {"spair": spair, "pf_pascal": pf_pascal, "lfw": lfw}[options.data_set]
    pairs = read(options.root, options.part)
    write_pairs(pairs, options.out, options.root)
    print(f"{len(pairs)} pairs: {options.out}\nTheir paths are relative to {options.root}: pass this root whenever you read the file.")


def write_builtin_pairs(options: argparse.Namespace) -> None:
    """Write the built-in pairs and print where they are."""
    pairs = builtin_pairs(options.out)
    print(f"{len(pairs)} pairs: {options.out / 'pairs.csv'}")


def write_pair_list(arguments: Sequence[str] | None = None) -> int:
    """Write the pairs that a command line asks for, and return the exit status."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except (ValueError, OSError, ImportError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print("\nInterrupted. With --cache, the same command continues where it stopped.", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(write_pair_list())
