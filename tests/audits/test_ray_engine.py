"""Ray writes the same rows as one process, also when its workers are killed at random."""

import random
import signal
import threading
import time

import numpy as np
import psutil
import pytest
from audit_cases import make_tiny
from conftest import LONG
from PIL import Image

from captum_pairwise.audits import shard_files
from captum_pairwise.audits.audit_run import audit

pytest.importorskip("pyarrow", reason="pip install 'captum-pairwise[audit]'")
ray = pytest.importorskip("ray", reason="pip install 'captum-pairwise[ray]'")

N_KILLS = 10 if LONG else 3  # a kill costs about half a minute
N_PHOTOS, SHARD = 12, 4


@pytest.fixture
def pairs(tmp_path, monkeypatch):
    monkeypatch.setattr(shard_files, "SHARD", SHARD)
    files = []
    for number in range(N_PHOTOS):
        files.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (40, 30, 3), dtype=np.uint8)).save(files[-1])
    return [(query, hit) for query in files for hit in files if query != hit]


def find_actors():
    """The workers of Ray under this process that explain shards."""
    actors = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "MapWorker" in " ".join(process.cmdline()):
                actors.append(process)
        except psutil.Error:  # it has ended meanwhile
            pass
    return actors


def kill_actors(stop, killed):
    """Kill a worker, again and again; half a second after it appeared it loads its model, or explains."""
    generator = random.Random(0)
    while not stop.is_set() and len(killed) < N_KILLS:
        actors = [process for process in find_actors() if process.pid not in killed]
        if actors:
            time.sleep(generator.uniform(0, 1))
            process = generator.choice(actors)
            try:
                process.send_signal(signal.SIGKILL)
                killed.append(process.pid)
            except psutil.Error:  # it has ended by itself
                pass
        time.sleep(0.1)


@pytest.mark.slow
def test_no_row_is_lost_or_double_when_workers_are_killed(pairs, tmp_path):
    here = audit(make_tiny(), pairs, tmp_path / "here").rows.table
    stop, killed = threading.Event(), []
    killer = threading.Thread(target=kill_actors, args=(stop, killed))
    killer.start()
    try:
        there = audit("audit_cases:make_tiny", pairs, tmp_path / "there", engine="ray", n_workers=2).rows.table
    finally:
        stop.set()
        killer.join()
        ray.shutdown()
    assert len(killed) == N_KILLS
    assert there.num_rows == len(pairs) and there.equals(here)
