"""The engine of any number of machines: Ray Data with a pool of actors that hold the model."""

import os
import pickle
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from captum_pairwise.audits.search_pair import SearchPair
from captum_pairwise.audits.shard_worker import AuditTask, explain_shard, load_audited
from captum_pairwise.files.optional_packages import import_optional


class ShardActor:
    """A worker that loads the model once. Ray starts it again after a kill; a shard that is then done twice gives the same file.

    Args:
        task: the audit.
    """

    def __init__(self, task: AuditTask) -> None:
        torch.set_num_threads(1)
        self._task, self._model = task, load_audited(task)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Explain the shards of a batch; returns the numbers of rows and of errors."""
        counts = [explain_shard(self._model, self._task.folder, pickle.loads(shard)) for shard in batch["shard"]]
        return {"rows": [rows for rows, _ in counts], "errors": [errors for _, errors in counts]}


def run_ray(task: AuditTask, shards: Sequence[Sequence[SearchPair]], n_workers: int) -> Iterator[tuple[int, int]]:
    """Explain all shards on a cluster of Ray, or on this machine if there is none. The folder of the rows must be shared.

    Yields:
        the number of rows of a shard, and of those with an error.
    """
    ray, data = import_optional("ray", "--engine ray", "ray"), import_optional("ray.data", "--engine ray", "ray")
    if not ray.is_initialized():
        paths = {"env_vars": {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}}  # for a model by module:function
        ray.init(log_to_driver=False, configure_logging=False, include_dashboard=False, runtime_env=paths)
    data.DataContext.get_current().enable_progress_bars = False
    has_gpu = task.device is not None and task.device.startswith("cuda")
    done = data.from_items([{"shard": pickle.dumps(list(shard))} for shard in shards], override_num_blocks=len(shards)).map_batches(
        ShardActor,
        fn_constructor_args=(task,),
        batch_size=1,
        compute=data.ActorPoolStrategy(size=min(n_workers, len(shards))),
        num_gpus=1 if has_gpu else 0,
    )
    for row in done.iter_rows():
        yield int(row["rows"]), int(row["errors"])
