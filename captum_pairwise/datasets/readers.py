"""Read files in batches, in other processes if wanted."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

T = TypeVar("T")


def read_in_batches(
    read: Callable[[Path], T], files: Sequence[Path], batch_size: int, n_workers: int = 0, description: str | None = None
) -> Iterator[list[T]]:
    """Read files in order.

    Args:
        read: reads one file; other processes must be able to import it.
        files: any number.
        batch_size: files in a batch; the last batch may be smaller.
        n_workers: processes that read; 0 means this process.
        description: of the progress bar; None means no bar.

    Yields:
        the results of a batch.
    """
    generator = torch.Generator()  # without it, the loader would draw from the global generator
    dataset = cast("Dataset[Path]", files)  # any sequence does
    loader = DataLoader(dataset, batch_size, num_workers=n_workers, collate_fn=partial(_read_files, read), generator=generator)
    with tqdm(total=len(files), desc=description, unit="file", dynamic_ncols=True, disable=description is None) as progress:
        for batch in loader:
            yield batch
            progress.update(len(batch))


def _read_files(read: Callable[[Path], T], files: Sequence[Path]) -> list[T]:
    return [read(file) for file in files]
