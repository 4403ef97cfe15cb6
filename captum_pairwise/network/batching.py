"""Forward passes in chunks of rows that fit into memory; a chunk is halved when memory runs out."""

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor
from tqdm import tqdm

CPU_CHUNK_BYTES, GPU_CHUNK_BYTES = 2**22, 2**27
# parts of messages in lower case: from the allocators of all devices, cuBLAS, cuDNN and C++
OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory", "alloc_failed", "bad_alloc")
MEMORY_RAN_OUT = (
    "Memory ran out, so at most {size} rows go through the network at once from here on. To begin with fewer, pass "
    "`perturbations_per_eval`, `internal_batch_size` or `batch_size`."
)
Result = TypeVar("Result")


@dataclass
class MemoryNotice:
    """The warning that memory ran out. All chunks of one call share it, so the call gives it once."""

    was_given: bool = False

    def give(self, size: int) -> None:
        """Warn, the first time."""
        if not self.was_given:
            self.was_given = True
            warnings.warn(MEMORY_RAN_OUT.format(size=size), stacklevel=3)


@dataclass
class Chunk:
    """The number of rows that go through a network at once. It is halved when memory runs out, and stays so for the rest of a call.

    Attributes:
        size: the maximum number of rows.
        notice: the warning that memory ran out.
    """

    size: int
    notice: MemoryNotice = field(default_factory=MemoryNotice)

    def map_slices(self, function: Callable[[slice], Result], n_rows: int, cost: int = 1) -> Iterator[Result]:
        """Yield the results of a function for slices of the rows, each as long as memory allows.

        Args:
            function: maps a slice of the rows to a result.
            n_rows: the number of rows.
            cost: the memory of one row, relative to an ordinary row.

        Raises:
            Exception: any error of the function, also if memory is too small for a single row; `size` is then as before.
        """
        done, initial_size = 0, self.size
        while done < n_rows:
            size = min(max(1, self.size // cost), n_rows - done)
            try:
                result = function(slice(done, done + size))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or size == 1:
                    self.size = initial_size
                    raise
                self.size = size // 2 * cost
                continue
            if self.size < initial_size:
                self.notice.give(self.size)
            done += size
            yield result


@dataclass
class Evaluator:
    """Calls a function on rows, one chunk at a time.

    Attributes:
        function: maps any number of rows to as many rows.
        chunk: the maximum number of rows in a call; halved when memory runs out.
        description: the text of the progress bar; None shows no bar.
        cost: the memory of one row, relative to an ordinary row.
        n_rows: the rows evaluated so far. The bar continues from them and leaves no line, because an estimator may call many times.
    """

    function: Callable[[Tensor], Tensor]
    chunk: Chunk
    description: str | None = None
    cost: int = 1
    n_rows: int = 0

    def __call__(self, rows: Tensor) -> Tensor:
        """Evaluate every row."""
        n_before, results = self.n_rows, []
        self.n_rows += len(rows)
        if rows.requires_grad:  # autograd keeps the memory of all chunks, so smaller chunks would not help
            return torch.cat([self.function(part) for part in rows.split(max(1, self.chunk.size // self.cost))])
        with tqdm(total=self.n_rows, initial=n_before, desc=self.description, leave=False, disable=self.description is None) as progress:
            for result in self.chunk.map_slices(lambda part: self.function(rows[part]), len(rows), self.cost):
                results.append(result)
                progress.update(len(result))
        return torch.cat(results)


def is_out_of_memory(error: BaseException) -> bool:
    """True if an exception means that the memory of a device ran out."""
    is_typed = isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError))
    return is_typed or (isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in OUT_OF_MEMORY))


def choose_chunk_size(row: Tensor) -> int:
    """The number of rows like this one for a network at once: small batches are fastest on a CPU, large batches on a GPU."""
    size = CPU_CHUNK_BYTES if row.device.type == "cpu" else GPU_CHUNK_BYTES
    return max(1, size // max(1, row.numel() * row.element_size()))


def get_memory_bytes(device: torch.device) -> int:
    """The free bytes of a GPU, or all bytes of memory of the machine for another device."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else sys.maxsize
