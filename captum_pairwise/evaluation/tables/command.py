"""`captum-pairwise tables`: its options and its output."""

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from captum_pairwise.datasets.builtin import builtin_pairs
from captum_pairwise.datasets.exact_pairs import exact_pairs
from captum_pairwise.datasets.pair_list import Pair, read_pairs, write_pairs
from captum_pairwise.evaluation.rows import write_rows
from captum_pairwise.evaluation.tables import report, study
from captum_pairwise.evaluation.tables.image_pair import Model
from captum_pairwise.evaluation.tables.processes import Ranks, choose_device, read_ranks
from captum_pairwise.evaluation.tables.results_page import format_page
from captum_pairwise.evaluation.tables.settings import PRESETS, change_settings
from captum_pairwise.evaluation.tables.table_methods import TABLE_METHODS, choose_methods
from captum_pairwise.files.arguments import parse_positive
from captum_pairwise.files.atomic import remove_drafts, write_atomically
from captum_pairwise.models import backbones
from captum_pairwise.visualization.study_figures import table_figure


def add_tables_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command, and add its options."""
    parser.description = (
        "All protocols by which explanations of similarity are compared, for all methods, your models and your pairs of images."
    )
    parser.epilog = (
        "Writes each row to OUT/rows as soon as it is done, then results.csv, table.md, .tex, .png, and page.md, with rankings and tests. "
        "The same command continues after an interruption. Rows know images by the names of their files: choose a new OUT when the images "
        "change. Several processes can share the pairs, on several machines if all of them see OUT: torchrun --nproc-per-node 2 -m "
        "captum_pairwise tables ...; --max-restarts 3 replaces a process that dies."
    )
    _add_inputs(parser)
    _add_methods(parser)
    parser.add_argument("--out", type=Path, default=Path("results"), metavar="DIR", help="folder of all results (default: results)")
    parser.add_argument("--limit", type=parse_positive, metavar="N", help="use only the first N pairs")
    parser.add_argument("--seed", type=int, default=0, help="seed of all random draws and of random weights (default 0)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 (default: a GPU if there is one)")
    parser.add_argument("--retry", action="store_true", help="repeat the runs that failed")
    parser.set_defaults(run=run_tables)


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    """Options for pairs and models."""
    pairs = "a pairs.csv (python -m captum_pairwise.datasets -h); default: built-in pairs, written to OUT/pairs"
    parser.add_argument("--pairs", type=Path, metavar="FILE", help=pairs)
    parser.add_argument("--root", type=Path, metavar="DIR", help="folder of relative paths in the pairs.csv (default: its own folder)")
    names = f"{', '.join(backbones.BACKBONES)}, with random weights unless FILE is given (efficientnet_lite0, the default, has its own)"
    function = "or NAME=module:function, your function that returns a captum_pairwise.backbones.ImageEncoder"
    parser.add_argument("--backbones", nargs="+", action="extend", metavar="NAME[=FILE]", help=f"{names}; {function}")


def _add_methods(parser: argparse.ArgumentParser) -> None:
    """Options for methods and their budgets."""
    own = "NAME=module:function, your function f(model, layer, query, retrieved), see tables.table_methods.add_method"
    methods = f"all (default), {', '.join(TABLE_METHODS)}; or {own}"
    parser.add_argument("--methods", nargs="+", action="extend", metavar="NAME", help=methods)
    preset = (
        "sizes and budgets: the paper's (default; about 100 000 network passes a pair, for GPUs); field, for the built-in pairs on two "
        "cores; or quick, to try the command"
    )
    parser.add_argument("--preset", choices=PRESETS, default="paper", help=preset)
    parser.add_argument("--reference", default="layer_factorised", metavar="NAME", help="method that page.md compares the others with")
    values = ", ".join(f"{name} ({value})" for name, value in vars(PRESETS["paper"]).items())
    changes = "change the preset; see captum_pairwise.evaluation.tables.settings.Settings; the values of the preset paper are in brackets"
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help=f"{changes}: {values}")


def run_tables(options: argparse.Namespace) -> int:
    """Run the study and write its tables; returns the exit status, 1 if a run failed."""
    methods, ranks = choose_methods(options.methods or ["all"]), read_ranks()
    device, settings = choose_device(options.device), change_settings(PRESETS[options.preset], options.set)
    pairs, root = _read_pairs(options, ranks, settings.n_exact)
    models = [_make_model(text, options.seed, device) for text in options.backbones or ["efficientnet_lite0"]]
    digest = study.settings_digest(settings, options.seed, device)
    jobs = study.plan_jobs(pairs, root, models, methods, digest, settings.n_slow)
    study.run_jobs(jobs, settings, options.seed, options.out, ranks, options.retry and not ranks.is_restarted)
    if not ranks.is_first:
        return 0
    rows = study.wait_for_rows(jobs, options.out)
    with study.exclusive_lock(study.rank_file(options.out, ranks)):
        _write_tables(rows, methods, options)
    return int(any(row.error for row in rows))


def _read_pairs(options: argparse.Namespace, ranks: Ranks, n_exact: int) -> tuple[list[Pair], Path]:
    """The pairs, and the folder to which file names in the rows are relative."""
    if options.pairs is None:
        root = options.out / "pairs"
        file = root / f"benchmark_{n_exact}.csv"
        if ranks.is_first and not file.exists():
            write_pairs([*builtin_pairs(root), *exact_pairs(root, n_exact)], file)
        while not file.exists():  # it is written after the images
            time.sleep(study.POLL)
    else:
        file, root = options.pairs, options.root or options.pairs.parent
    pairs = read_pairs(file, root)[: options.limit]
    if not pairs:
        raise ValueError(f"Expected pairs in {file}, got none. Add some lines.")
    return pairs, root


def _make_model(text: str, seed: int, device: torch.device) -> Model:
    """A backbone of the command line; random weights come from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Model(text.partition("=")[0], backbones.parse(text).to(device).eval())


def _write_tables(rows: list[study.TableRow], methods: Sequence[str], options: argparse.Namespace) -> None:
    """Write the rows, the tables and the picture, and print the table."""
    for name in ("results.csv", "table.md", "table.tex", "page.md", "table.png"):
        remove_drafts(options.out / name)
    setup = ", ".join([f"preset {options.preset}", *options.set, f"seed {options.seed}"])
    table, caption = report.format_markdown(rows, methods), report.format_caption(rows, setup)
    write_rows(options.out / "results.csv", rows, study.TableRow)
    page = format_page(rows, methods, caption, options.reference)
    texts = {"table.md": f"{caption}\n\n{table}\n", "table.tex": report.format_latex(rows, methods), "page.md": page}
    for name, content in texts.items():
        with write_atomically(options.out / name) as draft:
            draft.write_text(content, encoding="utf-8")
    panels = report.collect_panels(rows, methods)
    (options.out / "table.png").unlink(missing_ok=True)
    if panels:
        with write_atomically(options.out / "table.png") as draft:
            table_figure(panels, setup).savefig(draft, format="png")
    print(f"\n{caption}\n\n{table}\n\nRows, tables and picture: {options.out}{os.sep}")
