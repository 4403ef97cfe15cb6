"""Several processes, on one machine or more, that share one run: what `torchrun` starts."""

import os
from dataclasses import dataclass
from typing import TypeVar

import torch

Thing = TypeVar("Thing")
VARIABLES = {"RANK": "0", "WORLD_SIZE": "1", "TORCHELASTIC_RESTART_COUNT": "0"}  # as torchrun sets them, and without it


@dataclass(frozen=True)
class Ranks:
    """Who this process is among those of a run.

    Attributes:
        rank: its number, from 0.
        size: how many there are.
        is_restarted: whether they were started again because one of them died.
    """

    rank: int = 0
    size: int = 1
    is_restarted: bool = False

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes what all have found."""
        return self.rank == 0

    def share(self, things: list[Thing]) -> list[Thing]:
        """What this process has to do, whatever others have done: shares differ by one at most."""
        return things[self.rank :: self.size]


def ranks() -> Ranks:
    """This process among those that `torchrun` has started; alone if it has not."""
    rank, size, restarts = (int(os.environ.get(name, default)) for name, default in VARIABLES.items())
    return Ranks(rank, size, restarts > 0)


def device_of(name: str | None) -> torch.device:
    """The device of this name; the GPU of this process if that has no number, or if there is no name but a GPU.

    Raises:
        ValueError: there is no such device.
    """
    try:
        device = torch.device(name if name is not None else "cuda" if torch.cuda.is_available() else "cpu")
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # of a build without CUDA
        raise ValueError(f"Expected a device that is there, such as cpu, cuda or cuda:1, got {name!r}: {error}") from error
    return device
