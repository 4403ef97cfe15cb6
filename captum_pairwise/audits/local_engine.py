"""The engine of one machine: this process, or a pool of processes with one thread each."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

import torch

from captum_pairwise.audits.audited_model import AuditedModel
from captum_pairwise.audits.search_pair import SearchPair
from captum_pairwise.audits.shard_worker import AuditTask, explain_shard, load_audited
from captum_pairwise.network.threads import use_one_thread

_MODEL: list[AuditedModel] = []  # of a process of the pool


def run_here(task: AuditTask, shards: Sequence[Sequence[SearchPair]]) -> Iterator[tuple[int, int]]:
    """Explain all shards in this process, with one thread, so that the numbers are those of any other engine.

    Yields:
        the number of rows of a shard, and of those with an error.
    """
    with use_one_thread():
        model = load_audited(task)
        for shard in shards:
            yield explain_shard(model, task.folder, shard)


def run_pool(task: AuditTask, shards: Sequence[Sequence[SearchPair]], n_workers: int) -> Iterator[tuple[int, int]]:
    """Explain all shards in several processes.

    Yields:
        the number of rows of a shard, and of those with an error, as each is done.
    """
    context = get_context("spawn")
    with ProcessPoolExecutor(min(n_workers, len(shards)), context, _start_worker, (task,)) as pool:
        futures = [pool.submit(_explain_shard, task, shard) for shard in shards]
        for future in as_completed(futures):
            yield future.result()


def _start_worker(task: AuditTask) -> None:
    torch.set_num_threads(1)
    _MODEL.append(load_audited(task))


def _explain_shard(task: AuditTask, shard: Sequence[SearchPair]) -> tuple[int, int]:
    return explain_shard(_MODEL[0], task.folder, shard)
