"""How many rows go through a network at once: what fits into memory, and half of it when it does not."""

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor
from tqdm.auto import tqdm

BYTES_PER_CHUNK = {"cpu": 2**22}
BYTES_PER_CHUNK_ELSEWHERE = 2**27
# in lower case: of the allocators of all devices, of cuBLAS and cuDNN, and of C++
OUT_OF_MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "cannot allocate memory",
    "status_alloc_failed",
    "bad_alloc",
)
Result = TypeVar("Result")


@dataclass
class MemoryNotice:
    """The warning that memory ran out; all chunks of one call share it, so that the call gives it once."""

    was_given: bool = False

    def give(self) -> None:
        """Warn, the first time."""
        if not self.was_given:
            self.was_given = True
            warnings.warn(
                "Memory ran out, so from here on fewer rows go through the network at once. To begin with fewer, pass "
                "`perturbations_per_eval`, `internal_batch_size` or `batch_size`, whichever the call takes.",
                stacklevel=4,
            )


@dataclass
class Chunk:
    """How many rows go through a network at once, in all that one call does with them: when memory runs out, fewer from then on.

    Attributes:
        size: the most rows.
        notice: the warning that memory ran out.
    """

    size: int
    notice: MemoryNotice = field(default_factory=MemoryNotice)

    def map_slices(self, function: Callable[[slice], Result], n_rows: int, cost: int = 1) -> Iterator[Result]:
        """Yield what a function makes of the rows, of as many at once as fit.

        Args:
            function: of a slice of the rows.
            n_rows: how many there are.
            cost: how many times the memory of others such a row takes.

        Raises:
            Exception: the function's own; that of a lack of memory for a single row, too, for which the size is not to blame.
        """
        done, at_first = 0, self.size
        while done < n_rows:
            size = min(max(1, self.size // cost), n_rows - done)
            try:
                result = function(slice(done, done + size))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or size == 1:
                    self.size = at_first
                    raise
                self.size = size // 2 * cost
                continue
            if self.size < at_first:
                self.notice.give()
            done += size
            yield result


@dataclass
class Evaluator:
    """Calls a function on rows, a chunk at a time.

    Attributes:
        function: one row in, one row out, in any number.
        chunk: the most rows in a call; halved when memory runs out.
        description: what a progress bar says; None shows no bar.
        cost: how many times the memory of others a row takes.
        n_rows: rows asked for so far. A bar goes on from them, and leaves no line: an estimator may call many times.
    """

    function: Callable[[Tensor], Tensor]
    chunk: Chunk
    description: str | None = None
    cost: int = 1
    n_rows: int = 0

    def __call__(self, rows: Tensor) -> Tensor:
        """Evaluate every row."""
        if rows.requires_grad:  # whoever remembers all of them has to take fewer
            return self._whole(rows)
        results, before = [], self.n_rows
        self.n_rows += len(rows)
        with tqdm(total=self.n_rows, initial=before, desc=self.description, leave=False, disable=self.description is None) as progress:
            for result in self.chunk.map_slices(lambda part: self.function(rows[part]), len(rows), self.cost):
                results.append(result)
                progress.update(len(result))
        return torch.cat(results)

    def _whole(self, rows: Tensor) -> Tensor:
        self.n_rows += len(rows)
        return torch.cat([self.function(part) for part in rows.split(max(1, self.chunk.size // self.cost))])


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory has run out, that of any device."""
    is_typed = isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError))
    return is_typed or (isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in OUT_OF_MEMORY))


def choose_chunk_size(row: Tensor) -> int:
    """How many rows like this one to put through a network at once: small batches are fastest on a CPU, large ones on a GPU."""
    size = BYTES_PER_CHUNK.get(row.device.type, BYTES_PER_CHUNK_ELSEWHERE)
    return max(1, size // max(1, row.numel() * row.element_size()))


def get_memory_bytes(device: torch.device) -> int:
    """The bytes of memory that a device has: free ones of a GPU, all of the machine otherwise."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else sys.maxsize
