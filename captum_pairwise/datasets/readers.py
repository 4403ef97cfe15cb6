"""Files read in batches, by other processes if there are any to do it."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Generic, TypeVar, final

import torch
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

T = TypeVar("T")


@final
class _Files(Dataset, Generic[T]):
    """What a function makes of each file."""

    def __init__(self, read: Callable[[Path], T], files: Sequence[Path]) -> None:
        self.read, self.files = read, files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> T:
        return self.read(self.files[index])


def read_in_batches(
    read: Callable[[Path], T], files: Sequence[Path], batch_size: int, n_workers: int = 0, description: str | None = None
) -> Iterator[list[T]]:
    """What `read` returns of each file, in their order, a list for each batch.

    Args:
        read: a function that other processes can import.
        files: any number.
        batch_size: files in a batch; the last one may be smaller.
        n_workers: processes that read; 0 means this one.
        description: of the progress bar; None means no bar.

    Yields:
        as many results as there are in the batch.
    """
    generator = torch.Generator()  # or the loader would draw from the global one
    loader = DataLoader(_Files(read, files), batch_size, num_workers=n_workers, collate_fn=list, generator=generator)
    with tqdm(total=len(files), desc=description, unit="file", dynamic_ncols=True, disable=description is None) as progress:
        for batch in loader:
            yield batch
            progress.update(len(batch))
