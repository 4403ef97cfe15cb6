"""`python -m captum_pairwise.evaluation tables`: what it is told, and what it prints."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from captum_pairwise import backbones
from captum_pairwise.datasets.builtin import builtin_pairs
from captum_pairwise.datasets.pairs import Pair, read_pairs
from captum_pairwise.datasets.replacing import replacing
from captum_pairwise.evaluation import entrants, table_report
from captum_pairwise.evaluation.presets import PRESETS, changed
from captum_pairwise.evaluation.ranks import Ranks, device_of, ranks
from captum_pairwise.evaluation.rows import write_rows
from captum_pairwise.evaluation.subject import Model
from captum_pairwise.evaluation.tables import TableRow, digest, plan, study
from captum_pairwise.visualization.tables import table_figure

FAILED = 1
BUILT_IN = "built-in"


def add_to(studies: Any) -> None:
    """Add the study to the command line."""
    one = studies.add_parser(
        "tables",
        help="every method of the paper on pairs of images: its Tables 1, 2 and 4",
        description="Faithfulness, inefficiency and label propagation of every method of the paper, for your models and pairs of images.",
        epilog="Writes a row for each pair, model and method to OUT/rows as it is done, then results.csv and table.md, .tex and .png. "
        "Given again, the command goes on where it was stopped. Several processes share the pairs: "
        "`torchrun --nproc-per-node 2 -m captum_pairwise.evaluation tables ...`; with `--max-restarts 3` they survive one that dies.",
    )
    one.add_argument("--pairs", default=BUILT_IN, metavar="FILE", help="a pairs.csv, as captum_pairwise.datasets makes; or a small set")
    one.add_argument("--root", type=Path, help="the folder that paths in the pairs.csv are relative to; its own if not given")
    one.add_argument(
        "--backbones",
        nargs="+",
        default=["efficientnet_lite0"],
        metavar="NAME[=FILE]",
        help=f"{', '.join(backbones.BACKBONES)}, with a file of weights; or YOURS=module:function, a function that returns an ImageEncoder",
    )
    one.add_argument("--methods", nargs="+", default=["all"], metavar="NAME", help=f"all, or some of {', '.join(entrants.ENTRANTS)}")
    one.add_argument("--preset", choices=PRESETS, default="paper", help="sizes and budgets: the paper's, or small ones to try the command")
    one.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help=f"change the preset: {', '.join(vars(PRESETS['paper']))}")
    one.add_argument("--out", type=Path, default=Path("results"), help="folder; rows that it has are not computed again")
    one.add_argument("--limit", type=int, metavar="N", help="the first N pairs only")
    one.add_argument("--seed", type=int, default=0, help="of all that is drawn at random, and of weights for which there is no file")
    one.add_argument("--device", help="cpu, cuda, cuda:1; a GPU if there is one and this is not given")
    one.add_argument("--retry", action="store_true", help="run again what failed")
    one.set_defaults(run=tables)


def tables(options: argparse.Namespace) -> int:
    """Run the study, print what was found, and draw it; what it returns is the exit status."""
    methods = entrants.chosen(options.methods)
    with ranks() as among:
        rows = _rows(options, methods, among)
        if among.is_first:
            _write(rows, methods, options)
    return FAILED if any(row.error for row in rows) else 0


def _rows(options: argparse.Namespace, methods: Sequence[str], among: Ranks) -> list[TableRow]:
    pairs, root = _pairs(options, among)
    device, settings = device_of(options.device), changed(PRESETS[options.preset], options.set)
    models = [_model(text, options.seed, device) for text in options.backbones]
    errands = plan(pairs, root, models, methods, digest(settings, options.seed))
    return study(errands, settings, options.seed, options.out, among, options.retry)


def _pairs(options: argparse.Namespace, among: Ranks) -> tuple[list[Pair], Path]:
    """The pairs, and the folder that their names in the rows are relative to."""
    if options.pairs == BUILT_IN:
        root = options.out / "pairs"
        file = root / "pairs.csv"
        if among.is_first and not file.exists():
            builtin_pairs(root)
        among.gather([])  # the others wait for the files
    else:
        file = Path(options.pairs)
        root = options.root if options.root is not None else file.parent
    pairs = read_pairs(file, root)[: options.limit]
    if not pairs:
        raise ValueError(f"Expected pairs in {file}, got none.")
    return pairs, root


def _model(text: str, seed: int, device: torch.device) -> Model:
    """A backbone of the command line; random weights are those of the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Model(text.partition("=")[0], backbones.parse(text).to(device).eval())


def _write(rows: list[TableRow], methods: Sequence[str], options: argparse.Namespace) -> None:
    """The rows, the tables and the picture."""
    about = ", ".join([f"preset {options.preset}", *options.set, f"seed {options.seed}"])
    text, caption = table_report.markdown(rows, methods), table_report.caption(rows, about)
    write_rows(options.out / "results.csv", rows, TableRow)
    for name, content in (("table.md", f"{caption}\n\n{text}\n"), ("table.tex", table_report.latex(rows, methods))):
        with replacing(options.out / name) as draft:
            draft.write_text(content, encoding="utf-8")
    panels = table_report.panels(rows, methods)
    if panels:
        with replacing(options.out / "table.png") as draft:
            table_figure(panels, about).savefig(draft, format="png")
    print(f"\n{caption}\n\n{text}\n\nRows, tables and picture: {options.out}{os.sep}")
