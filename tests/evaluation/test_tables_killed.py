"""Processes of the tables that die: nothing is lost, nothing is done twice, and nothing is left half written."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import LONG
from table_cases import command_line, read_all_rows, remove_time, write_cases
from table_workers import Workers

from captum_pairwise.commands import command_line as command
from captum_pairwise.evaluation.rows import read_rows
from captum_pairwise.evaluation.tables.study import TableRow
from captum_pairwise.evaluation.tables.table_methods import TABLE_METHODS

pytestmark = pytest.mark.slow

pytest.importorskip("sklearn", reason="LIME is among the methods: pip install 'captum-pairwise[lime]'")
REPOSITORY = Path(__file__).parents[2]
by_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the processes by /proc")
KILLS, PAIRS = (100, 40) if LONG else (10, 6)
ENOUGH = ("--set", "second=200")  # coalitions for the pairs of any two images
KILLS_OF_THE_WRITER = 0.2  # of all: while the table is written, not the rows


@pytest.fixture
def started(tmp_path):
    """A function that starts the command in a new process. The process is stopped after the test."""
    processes = []

    def start(arguments, launcher=()):
        processes.append(_process(arguments, launcher, tmp_path))
        return processes[-1]

    yield start
    for process in processes:
        process.terminate()  # torchrun then stops its workers
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()


def _process(arguments, launcher, folder):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")]), "OMP_NUM_THREADS": "1"}
    module = [*launcher, "-m", "captum_pairwise"]
    return subprocess.Popen(
        [sys.executable, *module, *arguments], env=environment, stdout=(folder / "log").open("ab"), stderr=subprocess.STDOUT
    )


def _when(process, out, n_rows, patience=600):  # seconds, for machines that do other work
    """Wait until so many rows are on the disk."""
    end = time.monotonic() + patience
    while len(read_all_rows(out)) < n_rows:
        assert process.poll() is None, (out.parent / "log").read_text()
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture
def workers(tmp_path):
    """Four worker processes, which are stopped after the test."""
    line = command_line(tmp_path, *ENOUGH, methods=["all"], n_pairs=PAIRS)
    crew = Workers(line, tmp_path / "log")
    yield crew
    crew.stop()


def test_drafts_of_the_dead_are_removed(tmp_path):
    draft, other = tmp_path / "out" / "table.md.1.tmp", tmp_path / "out" / "mine.tmp"
    for file in (draft, other):
        file.parent.mkdir(exist_ok=True)
        file.write_text("half of a")
    assert command.run_command(command_line(tmp_path, n_pairs=1, methods=["sam"])) == 0
    assert not draft.exists() and other.exists()


def _kill_all_along(workers, out):
    """Kill workers while rows are written, then the one that writes the table; yields how many rows there were at each kill."""
    draws, n_rows = random.Random(0), PAIRS * len(TABLE_METHODS)
    for number in range(KILLS):
        rank = draws.randrange(4)
        if number < (1 - KILLS_OF_THE_WRITER) * KILLS:
            _when(workers, out, min(n_rows, len(read_all_rows(out)) + draws.randrange(4)))
        else:
            _when(workers, out, n_rows)
            rank = 0
        time.sleep(draws.random() * 0.3)
        before = len(read_all_rows(out))
        if workers.kill(rank):
            yield before


@by_proc
def test_killed_at_random_nothing_is_lost_or_double(tmp_path, workers, record_property):
    out, n_rows = tmp_path / "out", PAIRS * len(TABLE_METHODS)
    kills = list(_kill_all_along(workers, out))
    assert workers.exit_codes() == [0] * 4, (tmp_path / "log").read_text()
    landed = {"kills": len(kills), "kills while rows were written": sum(rows < n_rows for rows in kills)}
    print(landed)
    for name, value in landed.items():
        record_property(name, value)
    assert landed["kills"] > 0.8 * KILLS and landed["kills while rows were written"] > 0.3 * KILLS
    assert not workers.left_behind()
    runs = [row.key for row in read_all_rows(out)]
    assert len(runs) == len(set(runs)) == n_rows
    by_rank = {f"rows/rank-{rank}.{kind}" for rank in range(4) for kind in ("csv", "lock")}
    assert {str(file.relative_to(out)) for file in out.rglob("*.*")} == by_rank | {
        "results.csv",
        "page.md",
        "table.md",
        "table.tex",
        "table.png",
    }
    assert all(file.read_bytes().endswith(b"\n") for file in (out / "rows").glob("*.csv"))
    calm = tmp_path / "calm"
    assert command.run_command(command_line(tmp_path, *ENOUGH, methods=["all"], out=calm)) == 0
    for name in ("page.md", "table.md", "table.tex"):
        assert (out / name).read_bytes() == (calm / name).read_bytes()
    rows, others = ([remove_time(row) for row in read_rows(folder / "results.csv", TableRow)] for folder in (calm, out))
    assert rows == others


def _children(pid):
    tasks = Path(f"/proc/{pid}/task")
    return [int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()]


@by_proc
def test_torchrun_shares_the_pairs_and_survives_a_rank_that_dies(tmp_path, started):
    write_cases(tmp_path, 6)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "3"]
    out, n_rows = tmp_path / "out", 6 * len(TABLE_METHODS)
    process = started(command_line(tmp_path, methods=["all"], out=out), launcher)
    _when(process, out, 8)
    before = len(read_all_rows(out))
    os.kill(random.Random(0).choice(_children(process.pid)), signal.SIGKILL)
    assert process.wait(timeout=600) == 0, (tmp_path / "log").read_text()
    assert before < n_rows
    by_rank = [read_rows(out / "rows" / f"rank-{rank}.csv", TableRow) for rank in range(2)]
    assert all(len(rows) > n_rows / 6 for rows in by_rank)
    runs = [row.key for rows in by_rank for row in rows]
    assert len(runs) == len(set(runs)) == n_rows
    assert command.run_command(command_line(tmp_path, methods=["all"], out=tmp_path / "alone")) == 0
    for name in ("table.md", "table.tex"):
        assert (out / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


def test_torchrun_ends_when_a_pair_fails(tmp_path, started):
    write_cases(tmp_path, 4)
    photo = tmp_path / "retrieved, 1.png"
    photo.write_bytes(photo.read_bytes()[:100])
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "1"]
    process = started(command_line(tmp_path, out=tmp_path / "out"), launcher)
    assert process.wait(timeout=600) == 1, (tmp_path / "log").read_text()
    rows = read_all_rows(tmp_path / "out")
    assert len(rows) == 12 and sum(bool(row.error) for row in rows) == 3
    assert "3 of 12 runs failed" in (tmp_path / "out" / "table.md").read_text()
