"""`python -m captum_pairwise.datasets <data set>`: pairs of images for experiments, in a CSV file."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from captum_pairwise.datasets.builtin import builtin_pairs
from captum_pairwise.datasets.coco_stuff import coco
from captum_pairwise.datasets.labelled import LabelledImages
from captum_pairwise.datasets.mining import conditional_nearest_neighbours
from captum_pairwise.datasets.online_products import CONDITIONS, stanford_online_products
from captum_pairwise.datasets.pair_list import write_pairs
from captum_pairwise.datasets.pascal_voc import voc
from captum_pairwise.datasets.safe_paths import refuse_links_out
from captum_pairwise.models import backbones

INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m captum_pairwise.datasets", description=__doc__)
    commands = top.add_subparsers(dest="data_set", required=True)
    for name, what in {"voc": "PASCAL VOC 2012", "coco": "COCO 2017 with COCO-Stuff", "sop": "Stanford Online Products"}.items():
        _add_mining(
            commands.add_parser(name, help=f"mine pairs of {what}", description=f"Conditional nearest neighbours in {what} (§A.2).")
        )
    kind = "what a pair shares: the kind of product, from train to test (default), or the product, within test"
    commands.choices["sop"].add_argument("--condition", choices=CONDITIONS, default=CONDITIONS[0], help=kind)
    what = "write a few pairs that need no download"
    builtin = commands.add_parser("builtin", help=what, description=f"{what.capitalize()}, for trying and testing, not for conclusions.")
    builtin.set_defaults(run=write_builtin)
    builtin.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where images, masks and pairs.csv go")
    return top


def _add_mining(line: argparse.ArgumentParser) -> None:
    """The options that mining has on every data set."""
    line.set_defaults(run=mine)
    line.add_argument("--root", type=Path, required=True, help="folder of the data set, unpacked as it is published")
    line.add_argument(
        "--backbone", required=True, metavar="NAME[=FILE]", help="what tells how alike images are; the paper's is moco_v2=FILE"
    )
    line.add_argument("--out", type=Path, required=True, metavar="FILE", help="the CSV file; its paths are relative to the root")
    line.add_argument("--limit", type=_positive, metavar="N", help="only the first N validation images")
    line.add_argument("--seed", type=int, default=0, help="of the class that is drawn for each image (default 0)")
    line.add_argument("--batch-size", type=_positive, default=32, metavar="N", help="images (default 32)")
    line.add_argument("--device", default="cpu", help="as PyTorch calls it (default cpu)")
    line.add_argument("--cache", type=Path, metavar="FILE", help="safetensors file that remembers embeddings, one for each backbone")
    line.add_argument("--workers", type=int, default=0, metavar="N", help="processes that read images (default: none beside this one)")


def _positive(text: str) -> int:
    if int(text) < 1:
        raise ValueError
    return int(text)


def splits(options: argparse.Namespace) -> tuple[LabelledImages, LabelledImages]:
    """Where queries come from, and the images to be explained."""
    if options.data_set == "sop":
        test = stanford_online_products(options.root, "test", options.condition)
        return test if options.condition == "class" else stanford_online_products(options.root, "train", options.condition), test
    read = {"voc": voc, "coco": coco}[options.data_set]
    return read(options.root, "train"), read(options.root, "val")


def mine(options: argparse.Namespace) -> None:
    """Mine pairs, write them and say how they are read."""
    encoder = backbones.parse(options.backbone).to(options.device)
    train, val = splits(options)
    for image in (*train.images, *val.images):
        refuse_links_out(image.image, options.root)  # now, and not when all is computed and the pairs are written
    pairs = conditional_nearest_neighbours(
        train,
        replace(val, images=val.images[: options.limit]),
        encoder,
        seed=options.seed,
        batch_size=options.batch_size,
        cache=options.cache,
        n_workers=options.workers,
    )
    write_pairs(pairs, options.out, options.root)
    print(f"{len(pairs)} pairs: {options.out}")
    if options.root.resolve() != options.out.parent.resolve():
        print(f"Their paths are relative to {options.root}: pass this root whenever the file is read.")


def write_builtin(options: argparse.Namespace) -> None:
    """Write the built-in pairs and say where they are."""
    pairs = builtin_pairs(options.out)
    print(f"{len(pairs)} pairs: {options.out / 'pairs.csv'}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; what it returns is the exit status."""
    line = parser()
    options = line.parse_args(arguments)
    try:
        options.run(options)
    except (ValueError, OSError, ImportError) as error:
        line.error(str(error))
    except KeyboardInterrupt:
        print("\nInterrupted. With --cache the same command goes on where it was.", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
