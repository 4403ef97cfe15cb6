"""The paper's Tables 1, 2 and 4 over any pairs of images: a row for every pair, model and method."""

import hashlib
import os
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from textwrap import shorten

import torch
from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from captum_pairwise import __version__
from captum_pairwise.datasets.pair_list import Pair
from captum_pairwise.evaluation.escaping import one_line
from captum_pairwise.evaluation.rows import Journal, read_rows
from captum_pairwise.evaluation.tables.image_pair import Model, Subject, subject_of
from captum_pairwise.evaluation.tables.measures import Measures, measured
from captum_pairwise.evaluation.tables.processes import Ranks
from captum_pairwise.evaluation.tables.settings import Settings
from captum_pairwise.evaluation.tables.table_methods import ENTRANTS

POLL = 2.0  # seconds
MOST_OF_A_SENTENCE = 500


@dataclass(frozen=True)
class Run:
    """One method on one pair, as one model sees it.

    Attributes:
        model: the name of the backbone.
        weights: what tells its weights from others.
        method: of `ENTRANTS`.
        settings: what tells the settings, the seed, the kind of device and the version of this package from others.
        query: the file of the reference.
        retrieved: that of the image that is explained.
        category: what both show.
        label: its number in the masks; empty if the masks have but one object.
        query_mask: the file that shows it in the query; empty if there is none.
        retrieved_mask: the same of the retrieved image.
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
        ValueError: a pair, or the name of a model, is listed twice, or a name has a line break.
    """
    models, whats = list(models), [_what(pair, root) for pair in pairs]
    for things, what in ((whats, "pair"), ([model.name for model in models], "backbone (write NEW_NAME=module:function)")):
        twice = [thing for thing, times in Counter(things).items() if times > 1]
        if twice:
            raise ValueError(f"Expected every {what} once, got {twice[0]} twice.")
    broken = [what for what in whats if any(sign in text for text in what for sign in "\r\n\0")]
    if broken:
        raise ValueError(f"Expected names without line breaks, as a row is a line, got {broken[0]}. Rename them.")
    return [
        Errand(pair, model, tuple(Run(model.name, model.weights, method, settings, *what) for method in methods))
        for model in models
        for pair, what in zip(pairs, whats, strict=True)
    ]


def _what(pair: Pair, root: Path) -> tuple[str, str, str, str, str, str]:
    """What a run says of its pair, files relative to the root."""
    files = (pair.query, pair.retrieved, pair.query_mask, pair.retrieved_mask)
    query, retrieved, *masks = ("" if file is None else Path(os.path.relpath(file, root)).as_posix() for file in files)
    return query, retrieved, pair.category, "" if pair.label is None else str(pair.label), masks[0], masks[1]


def settings_digest(settings: Settings, seed: int, device: torch.device) -> str:
    """What tells these settings, this seed, this kind of device and this version of the package from others."""
    return hashlib.blake2b(repr((settings, seed, device.type, __version__)).encode(), digest_size=6).hexdigest()


def study(errands: Sequence[Errand], settings: Settings, seed: int, folder: Path, among: Ranks, retry: bool = False) -> None:
    """Run what no process has run yet of this process's share, and write each row as it comes.

    Args:
        errands: the plan.
        settings: of the methods.
        seed: of all that is drawn at random.
        folder: rows are in its `rows`, a file for each process; it is one folder for all.
        among: the processes that share the plan.
        retry: whether runs that failed are run again.

    Raises:
        ValueError: another process writes to the same file.
    """
    file = rows_file(folder, among)
    with alone(file):
        known = rows_of(errands, folder)
        done = {run for run, row in known.items() if not (retry and row.error)}
        left = [errand.without(done) for errand in among.share(list(errands))]
        _run_all([errand for errand in left if errand.runs], settings, seed, Journal(file, TableRow), among)


def rows_file(folder: Path, among: Ranks) -> Path:
    """Where a process writes its rows."""
    return folder / "rows" / f"rank-{among.rank}.csv"


def rows_of(errands: Sequence[Errand], folder: Path) -> dict[Run, TableRow]:
    """The rows that the folder has of a plan."""
    wanted = {run for errand in errands for run in errand.runs}
    files = sorted((folder / "rows").glob("*.csv"))
    return merged(row for file in files for row in read_rows(file, TableRow) if row.key in wanted)


def awaited(errands: Sequence[Errand], folder: Path) -> list[TableRow]:
    """All rows of a plan in its order, once those of the other processes are there, however long they take."""
    runs = [run for errand in errands for run in errand.runs]
    while len(found := rows_of(errands, folder)) < len(runs):
        time.sleep(POLL)
    return [found[run] for run in runs]


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
        subject = subject_of(errand.pair, errand.model, settings.n_segments)
        subject.prepare()
    except Exception as error:  # a damaged file may raise anything; the run goes on
        _refuse_to_go_on(error, errand.model)
        return error
    return subject


def _refuse_to_go_on(error: Exception, model: Model) -> None:
    """Let a process die whose memory is gone, or whose GPU answers nothing more: what it wrote down would be untrue."""
    if isinstance(error, MemoryError):
        raise error
    device = model.encoder.mean.device
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _row(run: Run, subject: Subject | Exception, settings: Settings, seed: int) -> TableRow:
    """What a run has measured, or why it has not."""
    start, numbers, n_passes, sentence = time.perf_counter(), Measures(), 0, ""
    try:
        if isinstance(subject, Exception):
            raise subject
        found = ENTRANTS[run.method].explain(subject, settings, _generator(run, seed))
        numbers, n_passes = measured(found, subject), found.n_passes
    except Exception as error:  # whatever a model or a method raises is written down, and the run goes on
        if isinstance(subject, Subject):
            _refuse_to_go_on(error, subject.model)
        sentence = shorten(one_line(f"{type(error).__name__}: {error}"), MOST_OF_A_SENTENCE)  # a row is a line, in UTF-8
        tqdm.write(one_line(f"{run.model}, {ENTRANTS[run.method].title}, {run.query} and {run.retrieved}: {sentence}"))
    seconds = round(time.perf_counter() - start, 3)
    return TableRow(**asdict(run), **asdict(numbers), passes=n_passes, seconds=seconds, error=sentence)


def _generator(run: Run, seed: int) -> torch.Generator:
    """A source of randomness of its own, whatever was run before."""
    what = (seed, run.method, run.query, run.retrieved, run.category, run.label)
    content = hashlib.blake2b(repr(what).encode(), digest_size=7)
    return torch.Generator().manual_seed(int.from_bytes(content.digest(), "big"))
