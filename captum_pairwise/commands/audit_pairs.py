"""`captum-pairwise audit`: what a search looks at, over thousands of pairs of a query and a hit."""

import argparse
import os
import sys
import webbrowser
from pathlib import Path

import captum_pairwise as cp
from captum_pairwise.audits.audit_run import DEFAULT_TOP, ENGINES
from captum_pairwise.commands.shared_options import DEFAULT_MODEL
from captum_pairwise.files.arguments import parse_positive

DONE, FAILED = 0, 1
N_SHOWN = 3  # sentences of failed pairs


def add_audit_options(parser: argparse.ArgumentParser) -> None:
    """Describe the command, and add its options."""
    parser.description = (
        "Explain the pairs of a search, and report where the credit goes and what the search matches on: the parts of the images that "
        "recur over unrelated queries are suspected shortcuts, and the search is repeated without them. A run that was killed goes on "
        "where it was. The exit status is 1 if a pair could not be explained; its row says why."
    )
    columns = (
        "a Parquet or CSV table with the columns query and hit, files relative to the table, and score, label (1 or 0), group, hit_group, "
        "query_NAME_mask, hit_NAME_mask and tag_NAME as you have them; or a folder of photos, which is searched first"
    )
    parser.add_argument("pairs", metavar="PAIRS", type=Path, help=columns)
    parser.add_argument("--out", type=Path, default=Path("audit"), metavar="FOLDER", help="the folder for the results (default: audit)")
    parser.add_argument("--top", type=parse_positive, metavar="N", help=f"hits of each photo of a folder (default {DEFAULT_TOP})")
    parser.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME", help="as for captum-pairwise search")
    parser.add_argument("--layer", metavar="NAME", help="the layer whose places are the parts (default: the last with places)")
    parser.add_argument("--engine", choices=ENGINES, default=ENGINES[0], help="this machine, or Ray on any number of machines")
    parser.add_argument("--workers", type=parse_positive, metavar="N", help="processes (default: one for each core, one for a GPU)")
    parser.add_argument("--device", metavar="NAME", help="where the model runs, as cuda")
    parser.add_argument("--remove", nargs="+", default=[], metavar="TAG", help="also search without these tags: border, centre, flat, …")
    parser.add_argument("--retry", action="store_true", help="explain pairs again that have failed")
    parser.add_argument("--open", action="store_true", help="open the report in the browser")
    parser.set_defaults(run=run_audit)


def run_audit(options: argparse.Namespace) -> int:
    """Run an audit, and print what it found; returns the exit status."""
    n_workers = options.workers or (1 if options.device else len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)
    result = cp.audit(
        options.model,
        options.pairs,
        options.out,
        top=options.top,
        layer=options.layer,
        engine=options.engine,
        n_workers=n_workers,
        device=options.device,
        remove=options.remove,
        retry=options.retry,
        show_progress=sys.stderr.isatty(),
    )
    for sentence in result.verdict:
        print(sentence)
    for failure in result.rows.failed.slice(0, N_SHOWN).to_pylist():
        print(f"failed: {failure['query']} and {failure['hit']}: {failure['error']}", file=sys.stderr)
    print(f"report: {result.page}")
    if options.open:
        webbrowser.open(result.page.resolve().as_uri())
    return FAILED if result.n_failed else DONE
