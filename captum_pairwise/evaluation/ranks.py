"""Several processes, on one machine or more, that share one run: what `torchrun` starts."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from typing import Any, TypeVar

import torch
import torch.distributed as dist

Thing = TypeVar("Thing")
PATIENCE = timedelta(days=30)  # the first process that is done waits for the last


@dataclass(frozen=True)
class Ranks:
    """Who this process is among those of a run.

    Attributes:
        rank: its number, from 0.
        size: how many there are.
        group: through which they speak to each other.
    """

    rank: int = 0
    size: int = 1
    group: Any = None

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes what all have found."""
        return self.rank == 0

    def share(self, things: list[Thing]) -> list[Thing]:
        """What this process has to do: shares differ by one at most."""
        return things[self.rank :: self.size]

    def gather(self, mine: list[Thing]) -> list[Thing]:
        """The lists of all processes in a row; every process waits here for the others, however long they take."""
        if self.size == 1:
            return mine
        parts: list[list[Thing]] = [[] for _ in range(self.size)]
        dist.all_gather_object(parts, mine, self.group)
        return list(chain.from_iterable(parts))


@contextmanager
def ranks() -> Iterator[Ranks]:
    """This process among those that `torchrun` has started; alone if it has not.

    Only rows travel between processes, which gloo does, whatever device each computes on.

    Yields:
        who this process is.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Ranks()
        return
    dist.init_process_group("gloo")
    try:
        patient = dist.new_group(timeout=PATIENCE)  # made when all are there: to wait for them so long would keep orphans alive
        yield Ranks(dist.get_rank(), dist.get_world_size(), patient)
    finally:
        dist.destroy_process_group()


def device_of(name: str | None) -> torch.device:
    """The device of this name; if None the GPU of this process where there is one, or the CPU."""
    if name is not None:
        return torch.device(name)
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if torch.cuda.is_available() else torch.device("cpu")
