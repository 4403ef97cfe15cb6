"""The processes that share one run, on one machine or several, as `torchrun` starts them."""

import os
from dataclasses import dataclass

import torch

VARIABLES = {"RANK": "0", "WORLD_SIZE": "1", "TORCHELASTIC_RESTART_COUNT": "0"}  # set by torchrun, and their values without it


@dataclass(frozen=True)
class Ranks:
    """The place of this process among those of a run.

    Attributes:
        rank: its number, from 0.
        size: the number of processes.
        is_restarted: True if they were started again because one of them died.
    """

    rank: int = 0
    size: int = 1
    is_restarted: bool = False

    @property
    def is_first(self) -> bool:
        """True for the process that writes the tables."""
        return self.rank == 0

    @property
    def share(self) -> slice:
        """This process's part of a list, the same at every start; the sizes of the parts differ by one at most."""
        return slice(self.rank, None, self.size)


def read_ranks() -> Ranks:
    """The place of this process, from the variables that `torchrun` sets; without them it is the only one."""
    rank, size, restarts = (int(os.environ.get(name, default)) for name, default in VARIABLES.items())
    return Ranks(rank, size, restarts > 0)


def choose_device(name: str | None) -> torch.device:
    """The device of this name. `cuda` is the GPU of this process; without a name it is that GPU, or the CPU if there is none.

    Raises:
        ValueError: there is no such device.
    """
    try:
        device = torch.device(name if name is not None else "cuda" if torch.cuda.is_available() else "cpu")
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.empty(0, dtype=torch.float32, device=device)
    except (RuntimeError, AssertionError) as error:  # AssertionError comes from a build without CUDA
        raise ValueError(f"Expected a device of this machine, such as cpu, cuda or cuda:1, got {name!r}: {error}") from error
    return device
