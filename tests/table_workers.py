"""Processes that share a run of the tables as those of `torchrun` do, and that can be killed one by one."""

import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing import get_context
from pathlib import Path
from threading import RLock

import torch
from tqdm.auto import tqdm

from captum_pairwise.evaluation import __main__ as command

PROCESSES = get_context("forkserver")  # which imports once, and forks: a start takes no seconds
PROCESSES.set_forkserver_preload(["captum_pairwise.evaluation.__main__"])


def work(rank, size, arguments, log):
    """What a process does, in a session of its own: whoever it starts is known by that."""
    os.setsid()
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(size))
    torch.set_num_threads(1)
    tqdm.set_lock(RLock())  # its own is one of the system, which is leaked by a process that is killed
    with log.open("a") as file, redirect_stdout(file), redirect_stderr(file):
        sys.exit(command.run_command(arguments))


class Workers:
    """So many processes that share the run of a command."""

    def __init__(self, arguments, log, size=4):
        self.arguments, self.log, self.size = arguments, log, size
        self.sessions = set()
        self.processes = [self._started(rank) for rank in range(size)]

    def _started(self, rank):
        process = PROCESSES.Process(target=work, args=(rank, self.size, self.arguments, self.log), daemon=True)
        process.start()
        self.sessions.add(process.pid)
        return process

    def kill(self, rank):
        """Kill one, and start it again; whether it was alive."""
        process = self.processes[rank]
        process.kill()
        process.join()
        self.processes[rank] = self._started(rank)
        return process.exitcode < 0

    def poll(self):
        """How one has failed, None if none has."""
        return next((process.exitcode for process in self.processes if process.exitcode), None)

    def stop(self):
        """Kill them all."""
        for process in self.processes:
            process.kill()
            process.join()

    def exit_codes(self, patience=600):
        """Start all again, so that each has been left alone, and wait for their ends."""
        self.stop()
        self.processes = [self._started(rank) for rank in range(self.size)]
        for process in self.processes:
            process.join(patience)
        return [process.exitcode for process in self.processes]

    def left_behind(self):
        """The processes that are alive in any of the sessions."""
        return [folder.name for folder in Path("/proc").glob("[0-9]*") if _session(folder) in self.sessions]


def _session(folder):
    """That of a process; None if it has ended."""
    try:
        state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
    except OSError:
        return None
    return None if state == "Z" else int(session)
