"""The protocols of the field, and the paper's Tables 1, 2 and 4, for any pairs of images: a row for each pair, model and method."""

import hashlib
import os
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from textwrap import shorten

import torch
from filelock import FileLock, Timeout
from tqdm import tqdm

from captum_pairwise import __version__
from captum_pairwise.datasets.pair_list import Pair
from captum_pairwise.evaluation.escaping import join_lines
from captum_pairwise.evaluation.rows import Journal, read_rows
from captum_pairwise.evaluation.tables.image_pair import ImagePair, Model, open_pair
from captum_pairwise.evaluation.tables.measures import Measures, measure_explanation
from captum_pairwise.evaluation.tables.method_runs import MethodRun
from captum_pairwise.evaluation.tables.processes import Ranks
from captum_pairwise.evaluation.tables.settings import Settings
from captum_pairwise.evaluation.tables.table_methods import TABLE_METHODS, TableMethod, explain_pair

POLL = 2.0  # seconds
MAX_ERROR_LENGTH = 500


@dataclass(frozen=True)
class Run:
    """One method on one pair for one model.

    Attributes:
        model: the name of the backbone.
        weights: a digest of its weights.
        method: a name of `TABLE_METHODS`.
        settings: a digest of the settings, the seed, the kind of device and the version of this package.
        query: the file of the query.
        retrieved: the file of the image that is explained.
        category: the class that both images show.
        label: its number in the masks; empty if the masks have only one object.
        query_mask: the file of the query's mask; empty if there is none.
        retrieved_mask: the file of the retrieved image's mask; empty if there is none.
        protocol: how explanations of the pair are measured, see `Pair`.
        truth: a digest of the points, or the file of the image before patches were planted; empty without them.
    """

    model: str
    weights: str
    method: str
    settings: str
    query: str
    retrieved: str
    category: str
    label: str
    query_mask: str
    retrieved_mask: str
    protocol: str = "object"
    truth: str = ""


@dataclass(frozen=True)
class TableRow(Measures, Run):
    """The result of one run.

    Attributes:
        passes: masked images that the network embedded for the method.
        seconds: time of the method and its metrics.
        error: the reason why there are no numbers; empty if there are.
    """

    passes: int = 0
    seconds: float = 0.0
    error: str = ""

    @property
    def key(self) -> Run:
        """The run, by which rows are compared."""
        return Run(*(getattr(self, name) for name in Run.__dataclass_fields__))


@dataclass(frozen=True)
class PairJob:
    """The runs of one pair for one model."""

    pair: Pair
    model: Model
    runs: tuple[Run, ...]


def plan_jobs(
    pairs: Sequence[Pair], root: Path, models: Sequence[Model], methods: Sequence[str], settings: str, n_slow: int = 0
) -> list[PairJob]:
    """All jobs, model by model.

    Args:
        pairs: of images.
        root: the folder that their files are relative to.
        models: of the tables.
        methods: names of `TABLE_METHODS`.
        settings: the digest of the settings.
        n_slow: slow methods explain only so many pairs of each protocol; 0 for all.

    Raises:
        ValueError: a pair, or the name of a model, is listed twice, or a name has a line break.
    """
    descriptions, names = [_describe_pair(pair, root) for pair in pairs], [model.name for model in models]
    for things, kind in ((descriptions, "pair"), (names, "backbone (write NEW_NAME=module:function)")):
        twice = [thing for thing, times in Counter(things).items() if times > 1]
        if twice:
            raise ValueError(f"Expected every {kind} once, got {twice[0]} twice. Remove one of them.")
    broken = [texts for texts in descriptions if any(sign in text for text in texts for sign in "\r\n\0")]
    if broken:
        raise ValueError(f"Expected names without line breaks, because a row is one line, got {broken[0]}. Rename them.")
    chosen = [_choose_runs(methods, pairs[:number], pair, n_slow) for number, pair in enumerate(pairs)]
    return [
        PairJob(pair, model, tuple(Run(model.name, model.weights, method, settings, *texts) for method in names))
        for model in models
        for pair, texts, names in zip(pairs, descriptions, chosen, strict=True)
    ]


def _choose_runs(methods: Sequence[str], earlier: Sequence[Pair], pair: Pair, n_slow: int) -> list[str]:
    """The methods that explain a pair: those that its protocol measures, and slow ones only for the first pairs of the protocol."""
    is_late = n_slow > 0 and sum(other.protocol == pair.protocol for other in earlier) >= n_slow
    has_truth = pair.protocol != "object" or pair.query_mask is not None
    has_maps = pair.protocol in ("object", "mosaic")

    def is_measured(method: TableMethod) -> bool:
        has_order = (has_maps and method.first is not None) or (has_truth and method.second is not None)
        return has_order and not (is_late and method.is_slow) and (has_truth or not method.needs_truth)

    return [name for name in methods if is_measured(TABLE_METHODS[name])]


def _describe_pair(pair: Pair, root: Path) -> tuple[str, ...]:
    """The pair in the fields of a run, with files relative to the root."""
    files = (pair.query, pair.retrieved, pair.query_mask, pair.retrieved_mask, pair.before)
    query, retrieved, *masks, before = ("" if file is None else Path(os.path.relpath(file, root)).as_posix() for file in files)
    label = "" if pair.label is None else str(pair.label)
    return query, retrieved, pair.category, label, masks[0], masks[1], pair.protocol, _digest(pair.points) if pair.points else before


def settings_digest(settings: Settings, seed: int, device: torch.device) -> str:
    """A digest of the settings, the seed, the kind of device and the version of this package."""
    return _digest((settings, seed, device.type, __version__))


def _digest(content: object) -> str:
    return hashlib.blake2b(repr(content).encode(), digest_size=6).hexdigest()


def run_jobs(jobs: Sequence[PairJob], settings: Settings, seed: int, folder: Path, ranks: Ranks, retry: bool = False) -> None:
    """Run this process's share, without the runs that have a row already, and write each row at once.

    Args:
        jobs: all jobs of all processes.
        settings: of the methods.
        seed: of all random draws.
        folder: the results; the rows are in its `rows`, one file for each process.
        ranks: the processes that share the jobs.
        retry: True to repeat runs that failed.

    Raises:
        ValueError: another process writes to the same file.
    """
    file = rank_file(folder, ranks)
    with exclusive_lock(file):
        done = {run for run, row in read_done_rows(jobs, folder).items() if not (retry and row.error)}
        missing = [PairJob(job.pair, job.model, tuple(run for run in job.runs if run not in done)) for job in jobs]
        _run_share([job for job in missing[ranks.share] if job.runs], settings, seed, Journal(file, TableRow), ranks)


def rank_file(folder: Path, ranks: Ranks) -> Path:
    """The file of a process's rows."""
    return folder / "rows" / f"rank-{ranks.rank}.csv"


def read_done_rows(jobs: Sequence[PairJob], folder: Path) -> dict[Run, TableRow]:
    """The rows of these jobs that any process has written."""
    wanted = {run for job in jobs for run in job.runs}
    files = sorted((folder / "rows").glob("*.csv"))
    return merge_rows(row for file in files for row in read_rows(file, TableRow) if row.key in wanted)


def wait_for_rows(jobs: Sequence[PairJob], folder: Path) -> list[TableRow]:
    """All rows of the jobs in their order; waits without limit for those of other processes."""
    runs = [run for job in jobs for run in job.runs]
    while len(rows := read_done_rows(jobs, folder)) < len(runs):
        time.sleep(POLL)
    return [rows[run] for run in runs]


def merge_rows(rows: Iterable[TableRow]) -> dict[Run, TableRow]:
    """One row for each run: the first row without an error, or else the first."""
    merged: dict[Run, TableRow] = {}
    for row in rows:
        if row.key not in merged or (merged[row.key].error and not row.error):
            merged[row.key] = row
    return merged


def exclusive_lock(file: Path) -> AbstractContextManager:
    """A held lock against other writers of a file; it is released at the end of the `with` block, or when the process dies.

    Raises:
        ValueError: another process holds it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        return FileLock(file.with_suffix(".lock")).acquire(timeout=0)
    except Timeout as error:
        raise ValueError(f"Expected no other writer to {file}, got another process. Wait for it, or choose another folder.") from error


def _run_share(jobs: Sequence[PairJob], settings: Settings, seed: int, journal: Journal[TableRow], ranks: Ranks) -> None:
    name = "tables" if ranks.size == 1 else f"tables, rank 0 of {ranks.size}"
    total = sum(len(job.runs) for job in jobs)
    with tqdm(total=total, desc=name, unit="row", dynamic_ncols=True, smoothing=0.05, disable=None if ranks.is_first else True) as progress:
        for job in jobs:
            pair = _open_or_error(job, settings)
            for run in job.runs:
                progress.set_postfix_str(f"{run.model}: {TABLE_METHODS[run.method].title} on {Path(run.retrieved).name}")
                journal.append(measure_run(run, job.model, pair, settings, seed))
                progress.update()


def _open_or_error(job: PairJob, settings: Settings) -> ImagePair | Exception:
    """The images of a job, or the error of opening them."""
    try:
        return open_pair(job.pair, job.model, settings.n_segments, (2, settings.n_columns))
    except Exception as error:  # a damaged file may raise anything; the study continues
        _raise_if_fatal(error, job.model)
        return error


def _raise_if_fatal(error: Exception, model: Model) -> None:
    """Let the process die if memory is exhausted or the GPU has failed: its next rows would be wrong."""
    if isinstance(error, MemoryError):
        raise error
    device = model.encoder.mean.device
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure_run(run: Run, model: Model, pair: ImagePair | Exception, settings: Settings, seed: int) -> TableRow:
    """The row of a run: its measures, or its error."""
    start, measures, n_passes, message = time.perf_counter(), Measures(), 0, ""
    try:
        if isinstance(pair, Exception):
            raise pair
        method_run = MethodRun(pair, settings, _seed_generator(run, seed))
        measures = measure_explanation(*explain_pair(run.method, method_run), pair, settings.n_curve_steps)
        n_passes = method_run.n_passes
    except Exception as error:  # a model or a method may raise anything; the study continues
        _raise_if_fatal(error, model)
        message = shorten(join_lines(f"{type(error).__name__}: {error}"), MAX_ERROR_LENGTH)  # a row is one line of UTF-8
        tqdm.write(join_lines(f"{run.model}, {TABLE_METHODS[run.method].title}, {run.query} and {run.retrieved}: {message}"))
    seconds = round(time.perf_counter() - start, 3)
    return TableRow(**asdict(run), **asdict(measures), passes=n_passes, seconds=seconds, error=message)


def _seed_generator(run: Run, seed: int) -> torch.Generator:
    """A random source for one run, which does not depend on other runs."""
    identity = (seed, run.method, run.query, run.retrieved, run.category, run.label)
    content = hashlib.blake2b(repr(identity).encode(), digest_size=7)
    return torch.Generator().manual_seed(int.from_bytes(content.digest(), "big"))
