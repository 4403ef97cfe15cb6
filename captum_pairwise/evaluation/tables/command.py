"""`python -m captum_pairwise.evaluation tables`: what it is told, and what it prints."""

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from captum_pairwise.datasets.builtin import builtin_pairs
from captum_pairwise.datasets.pair_list import Pair, read_pairs
from captum_pairwise.evaluation.convergence.command import positive
from captum_pairwise.evaluation.rows import write_rows
from captum_pairwise.evaluation.tables import report as table_report
from captum_pairwise.evaluation.tables import table_methods as entrants
from captum_pairwise.evaluation.tables.image_pair import Model
from captum_pairwise.evaluation.tables.processes import Ranks, device_of, ranks
from captum_pairwise.evaluation.tables.settings import PRESETS, Settings, changed
from captum_pairwise.evaluation.tables.study import POLL, Errand, TableRow, alone, awaited, plan, rows_file, settings_digest, study
from captum_pairwise.files.atomic import remove_drafts, write_atomically
from captum_pairwise.models import backbones
from captum_pairwise.visualization.tables_figure import table_figure

FAILED = 1
BUILT_IN = "built-in"


def add_to(studies: Any) -> None:
    """Add the study to the command line."""
    one = studies.add_parser(
        "tables",
        help="every method of the paper on pairs of images: its Tables 1, 2 and 4",
        description="Faithfulness, inefficiency and label propagation of every method of the paper, for your models and pairs of images.",
        epilog="Writes a row for each pair, model and method to OUT/rows as it is done, then results.csv and table.md, .tex and .png. "
        "Given again, the command goes on where it was stopped; rows are known by the names of their files, so take a new OUT for changed "
        "images. Several processes share the pairs, on several machines if all see OUT: `torchrun --nproc-per-node 2 -m "
        "captum_pairwise.evaluation tables ...`; with `--max-restarts 3` they survive one that dies. The exit status is 1 if a run failed.",
    )
    _add_inputs(one)
    _add_methods(one)
    one.add_argument("--out", type=Path, default=Path("results"), metavar="DIR", help="where everything goes (default: results)")
    one.add_argument("--limit", type=positive, metavar="N", help="the first N pairs only")
    one.add_argument("--seed", type=int, default=0, help="of all random draws, and of random weights (default 0)")
    one.add_argument("--device", help="cpu, cuda, cuda:1 (default: a GPU if there is one)")
    one.add_argument("--retry", action="store_true", help="run again what failed")
    one.set_defaults(run=tables)


def _add_inputs(one: argparse.ArgumentParser) -> None:
    """Whose pairs, and whose models."""
    pairs = "a pairs.csv (python -m captum_pairwise.datasets -h); without it 13 built-in pairs, written to OUT/pairs"
    one.add_argument("--pairs", default=BUILT_IN, metavar="FILE", help=pairs)
    one.add_argument("--root", type=Path, metavar="DIR", help="what paths in the pairs.csv are relative to (default: its folder)")
    names = f"{', '.join(backbones.BACKBONES)}, whose weights are random without a FILE (but those of efficientnet_lite0, the default)"
    yours = "or NAME=module:function, a function of yours that returns a captum_pairwise.backbones.ImageEncoder"
    one.add_argument("--backbones", nargs="+", action="extend", metavar="NAME[=FILE]", help=f"{names}; {yours}")


def _add_methods(one: argparse.ArgumentParser) -> None:
    """Which methods, and what they may cost."""
    methods = f"all (default), or some of {', '.join(entrants.ENTRANTS)}"
    one.add_argument("--methods", nargs="+", action="extend", metavar="NAME", help=methods)
    preset = "sizes and budgets: the paper's (default; about 100 000 network passes a pair, for GPUs), or small ones to try the command"
    one.add_argument("--preset", choices=PRESETS, default="paper", help=preset)
    settings = ", ".join(f"{name} ({value})" for name, value in vars(PRESETS["paper"]).items())
    what = "change the preset; captum_pairwise.evaluation.tables.settings.Settings explains, in brackets the paper's"
    one.add_argument("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help=f"{what}: {settings}")


def tables(options: argparse.Namespace) -> int:
    """Run the study, print what was found, and draw it; what it returns is the exit status."""
    methods = entrants.chosen(options.methods or ["all"])
    among = ranks()
    errands, settings = _plan(options, methods, among)
    study(errands, settings, options.seed, options.out, among, options.retry and not among.is_restarted)
    if not among.is_first:
        return 0
    rows = awaited(errands, options.out)
    with alone(rows_file(options.out, among)):
        _write(rows, methods, options)
    return FAILED if any(row.error for row in rows) else 0


def _plan(options: argparse.Namespace, methods: Sequence[str], among: Ranks) -> tuple[list[Errand], Settings]:
    pairs, root = _pairs(options, among)
    device, settings = device_of(options.device), changed(PRESETS[options.preset], options.set)
    models = [_model(text, options.seed, device) for text in options.backbones or ["efficientnet_lite0"]]
    return plan(pairs, root, models, methods, settings_digest(settings, options.seed, device)), settings


def _pairs(options: argparse.Namespace, among: Ranks) -> tuple[list[Pair], Path]:
    """The pairs, and the folder that their names in the rows are relative to."""
    if options.pairs == BUILT_IN:
        root = options.out / "pairs"
        file = root / "pairs.csv"
        if among.is_first and not file.exists():
            builtin_pairs(root)
        while not file.exists():  # it comes last
            time.sleep(POLL)
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
    for name in ("results.csv", "table.md", "table.tex", "table.png"):
        remove_drafts(options.out / name)
    about = ", ".join([f"preset {options.preset}", *options.set, f"seed {options.seed}"])
    text, caption = table_report.markdown(rows, methods), table_report.caption(rows, about)
    write_rows(options.out / "results.csv", rows, TableRow)
    for name, content in (("table.md", f"{caption}\n\n{text}\n"), ("table.tex", table_report.latex(rows, methods))):
        with write_atomically(options.out / name) as draft:
            draft.write_text(content, encoding="utf-8")
    panels = table_report.panels(rows, methods)
    (options.out / "table.png").unlink(missing_ok=True)
    if panels:
        with write_atomically(options.out / "table.png") as draft:
            table_figure(panels, about).savefig(draft, format="png")
    print(f"\n{caption}\n\n{text}\n\nRows, tables and picture: {options.out}{os.sep}")
