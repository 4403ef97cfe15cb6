"""The work of one process of an audit: it loads the model once, and turns shards of pairs into files of rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from captum_pairwise.audits.audited_model import AuditedModel
from captum_pairwise.audits.pair_row import make_row
from captum_pairwise.audits.search_pair import SearchPair
from captum_pairwise.audits.shard_files import RowFolder
from captum_pairwise.models.named_models import load_model


@dataclass(frozen=True)
class AuditTask:
    """The part of an audit that all of its shards share; it goes to other processes.

    Attributes:
        model: the model, or its name as on a command line.
        layer: the layer, or its name.
        transform: maps a photo to the input, or None.
        folder: of the rows.
        device: where the model runs; None leaves it where it is.
    """

    model: Any
    folder: RowFolder
    layer: Any = None
    transform: Any = None
    device: str | None = None


def load_audited(task: AuditTask) -> AuditedModel:
    """The model of a task, on its device."""
    model = load_model(task.model) if isinstance(task.model, str) else task.model
    if task.device is not None and isinstance(model, torch.nn.Module):
        model = model.to(task.device)
    return AuditedModel(model, task.layer, task.transform)


def explain_shard(model: AuditedModel, folder: RowFolder, pairs: Sequence[SearchPair]) -> tuple[int, int]:
    """Write the rows of some pairs; returns their number, and the number of those with an error."""
    rows = [make_row(pair, model) for pair in pairs]
    folder.write(rows)
    return len(rows), sum(bool(row["error"]) for row in rows)
