"""Processes that share a run of the tables as those of `torchrun` do, and that can be killed one by one."""

import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing import get_context
from pathlib import Path
from threading import RLock

import torch
from tqdm.auto import tqdm

from captum_pairwise.commands import command_line as command

PROCESSES = get_context("forkserver")  # imports once, then forks, so a start is fast
PROCESSES.set_forkserver_preload(["captum_pairwise.commands.command_line", "captum_pairwise.evaluation.tables.command"])


def work(rank, size, arguments, log):
    """Run the command in a session of its own; the session identifies all processes that this process starts."""
    os.setsid()
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(size))
    torch.set_num_threads(1)
    tqdm.set_lock(RLock())  # the default lock is a system object, which a killed process leaks
    with log.open("a") as file, redirect_stdout(file), redirect_stderr(file):
        sys.exit(command.run_command(arguments))


class Workers:
    """`size` processes that share the run of a command."""

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
        """Kill one process and start it again. Return True if it was alive before."""
        process = self.processes[rank]
        process.kill()
        process.join()
        self.processes[rank] = self._started(rank)
        return process.exitcode < 0

    def poll(self):
        """The exit code of a process that failed, or None."""
        return next((process.exitcode for process in self.processes if process.exitcode), None)

    def stop(self):
        """Kill them all."""
        for process in self.processes:
            process.kill()
            process.join()

    def exit_codes(self, patience=600):
        """Restart all processes, wait until they end without a kill, and return their exit codes."""
        self.stop()
        self.processes = [self._started(rank) for rank in range(self.size)]
        for process in self.processes:
            process.join(patience)
        return [process.exitcode for process in self.processes]

    def left_behind(self):
        """The processes that are alive in any of the sessions."""
        return [folder.name for folder in Path("/proc").glob("[0-9]*") if _session(folder) in self.sessions]


def _session(folder):
    """The session of a process; None if the process has ended."""
    try:
        state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
    except OSError:
        return None
    return None if state == "Z" else int(session)
