"""The paper's Tables 1, 2 and 4 over any pairs of images: a row for every pair, model and method."""

import hashlib
import os
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from captum_pairwise.datasets.pairs import Pair
from captum_pairwise.evaluation.entrants import ENTRANTS
from captum_pairwise.evaluation.measures import Measures, measured
from captum_pairwise.evaluation.presets import Settings
from captum_pairwise.evaluation.ranks import Ranks
from captum_pairwise.evaluation.rows import Journal, read_rows
from captum_pairwise.evaluation.subject import Model, Subject, subject_of


@dataclass(frozen=True)
class Run:
    """One method on one pair, as one model sees it.

    Attributes:
        model: the name of the backbone.
        weights: what tells its weights from others.
        method: of `ENTRANTS`.
        settings: what tells the settings and the seed from others.
        query: the file of the reference.
        retrieved: that of the image that is explained.
        category: what both show.
        label: its number in the masks; empty if the masks have but one object.
    """

    model: str
    weights: str
    method: str
    settings: str
    query: str
    retrieved: str
    category: str
    label: str


@dataclass(frozen=True)
class TableRow(Measures, Run):
    """What one run has measured.

    Attributes:
        passes: masked images embedded for the method.
        seconds: that it took, the metrics included.
        error: why there are no numbers; empty if there are.
    """

    passes: int = 0
    seconds: float = 0.0
    error: str = ""

    @property
    def key(self) -> Run:
        """What makes two rows the same run."""
        return Run(*(getattr(self, name) for name in Run.__dataclass_fields__))


@dataclass(frozen=True)
class Errand:
    """A pair as one model sees it, and the runs that it is for."""

    pair: Pair
    model: Model
    runs: tuple[Run, ...]

    def without(self, done: Collection[Run]) -> "Errand":
        """What is left of it."""
        return Errand(self.pair, self.model, tuple(run for run in self.runs if run not in done))


def plan(pairs: Sequence[Pair], root: Path, models: Iterable[Model], methods: Sequence[str], settings: str) -> list[Errand]:
    """Everything that is asked for, model by model.

    Raises:
        ValueError: a pair is listed twice.
    """
    errands = []
    for model in models:
        for pair in pairs:
            query, retrieved = (Path(os.path.relpath(path, root)).as_posix() for path in (pair.query, pair.retrieved))
            label = "" if pair.label is None else str(pair.label)
            runs = [Run(model.name, model.weights, name, settings, query, retrieved, pair.category, label) for name in methods]
            errands.append(Errand(pair, model, tuple(runs)))
    runs = [run for errand in errands for run in errand.runs]
    if len(set(runs)) < len(runs):
        twice = next(run for run in runs if runs.count(run) > 1)
        raise ValueError(f"Expected every pair once, got {twice.query} and {twice.retrieved} ({twice.category}) twice. Remove one of them.")
    return errands


def digest(settings: Settings, seed: int) -> str:
    """What tells these settings and this seed from others."""
    return hashlib.blake2b(repr((settings, seed)).encode(), digest_size=6).hexdigest()


def study(errands: Sequence[Errand], settings: Settings, seed: int, folder: Path, among: Ranks, retry: bool = False) -> list[TableRow]:
    """Run what no process has yet run, write each row as it comes, and return those that were asked for, in the order of the plan.

    Args:
        errands: the plan.
        settings: of the methods.
        seed: of all that is drawn at random.
        folder: rows are in its `rows`, a file for each process.
        among: the processes that share the plan.
        retry: whether runs that failed are run again.

    Raises:
        ValueError: another process writes to the same file.
    """
    file = folder / "rows" / f"rank-{among.rank}.csv"
    with alone(file):
        known = merged(among.gather([row for other in sorted(file.parent.glob("*.csv")) for row in read_rows(other, TableRow)]))
        journal = Journal(file, TableRow)
        done = {run for run, row in known.items() if not (retry and row.error)}
        left = [errand for errand in (errand.without(done) for errand in errands) if errand.runs]
        _run_all(among.share(left), settings, seed, journal, among)
        rows = merged([*known.values(), *among.gather(journal.rows)])
    return [rows[run] for errand in errands for run in errand.runs]


def merged(rows: Iterable[TableRow]) -> dict[Run, TableRow]:
    """One row for each run: of several the first with numbers, or the first."""
    found: dict[Run, TableRow] = {}
    for row in rows:
        if row.key not in found or (found[row.key].error and not row.error):
            found[row.key] = row
    return found


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Inside, no other process writes to a file; a process that dies is no longer inside.

    Raises:
        ValueError: another process holds it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ValueError(
            f"Expected nobody else to write to {file}, but another process does. Wait for it, or choose another folder."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _run_all(errands: Sequence[Errand], settings: Settings, seed: int, journal: Journal[TableRow], among: Ranks) -> None:
    name = "tables" if among.size == 1 else f"tables, rank 0 of {among.size}"
    total = sum(len(errand.runs) for errand in errands)
    with tqdm(total=total, desc=name, unit="row", dynamic_ncols=True, smoothing=0.05, disable=not among.is_first) as progress:
        for errand in errands:
            subject = _opened(errand, settings)
            for run in errand.runs:
                progress.set_postfix_str(f"{run.model}: {ENTRANTS[run.method].title} on {Path(run.retrieved).name}")
                journal.append(_row(run, subject, settings, seed))
                progress.update()


def _opened(errand: Errand, settings: Settings) -> Subject | Exception:
    """The pair, or why it cannot be opened."""
    try:
        return subject_of(errand.pair, errand.model, settings.n_segments)
    except Exception as error:  # a damaged file may raise anything; the run goes on
        return error


def _row(run: Run, subject: Subject | Exception, settings: Settings, seed: int) -> TableRow:
    """What a run has measured, or why it has not."""
    start, numbers, n_passes, sentence = time.perf_counter(), Measures(), 0, ""
    try:
        if isinstance(subject, Exception):
            raise subject
        found = ENTRANTS[run.method].explain(subject, settings, _generator(run, seed))
        numbers, n_passes = measured(found, subject), found.n_passes
    except Exception as error:  # whatever a model or a method raises is written down, and the run goes on
        sentence = " ".join(f"{type(error).__name__}: {error}".split())
        tqdm.write(f"{run.model}, {ENTRANTS[run.method].title}, {run.query} and {run.retrieved}: {sentence}")
    seconds = round(time.perf_counter() - start, 3)
    return TableRow(**asdict(run), **asdict(numbers), passes=n_passes, seconds=seconds, error=sentence)


def _generator(run: Run, seed: int) -> torch.Generator:
    """A source of randomness of its own, whatever was run before."""
    content = hashlib.blake2b(repr((seed, run.method, run.query, run.retrieved, run.category, run.label)).encode(), digest_size=7)
    return torch.Generator().manual_seed(int.from_bytes(content.digest(), "big"))
