"""Files of results: the fields of an `Interactions` in a safetensors file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from captum_pairwise.files.atomic import write_atomically
from captum_pairwise.files.tensors import make_file_error, read_tensors
from captum_pairwise.players.regions import Players
from captum_pairwise.results.credits import AXES, Credits, get_blocks
from captum_pairwise.results.index import parse_index

NOTE, CONTENT = "captum_pairwise", "what `Interactions.save` wrote"  # key of the note in the file, and its name in errors
PLAYERS = ("query_players", "retrieved_players")


def write_result(path: str | Path, fields: Mapping[str, Any]) -> None:
    """Write the fields of a result, by name, to a safetensors file. An interrupted write leaves no partial file."""
    players = {name: fields[name] for name in PLAYERS if fields[name] is not None}
    tensors = {name: value for name, value in fields.items() if isinstance(value, Tensor)}
    tensors |= {f"standard_error.{name}": block for name, block in get_blocks(fields["standard_error"] or Credits()).items()}
    tensors |= {f"{name}.ids": parts.ids for name, parts in players.items()}
    note = {name: fields[name] for name in ("n_query", "r2_law")} | {name: parts.shape for name, parts in players.items()}
    if fields["index"] is not None:
        note["index"] = [fields["index"].name, fields["index"].p]
    tensors = {name: value.clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}
    with write_atomically(Path(path)) as draft:
        save_file(tensors, draft, {NOTE: json.dumps(note)})


def read_result(path: str | Path) -> dict[str, Any]:
    """The fields of a result, by name, from a file that `write_result` wrote.

    Raises:
        ValueError: the file holds something else, or is damaged.
    """
    tensors, note = read_tensors(path, NOTE, CONTENT)
    try:
        return _parse_fields(dict(tensors), json.loads(note))
    except (ValueError, TypeError, KeyError) as error:
        raise make_file_error(path, CONTENT, str(error)) from error


def _parse_fields(tensors: dict[str, Tensor], note: dict[str, Any]) -> dict[str, Any]:
    """The fields from the tensors and the note of a file, which is not trusted."""
    errors = {name: tensors.pop(f"standard_error.{name}") for name in AXES if f"standard_error.{name}" in tensors}
    players = {name: Players(tensors.pop(f"{name}.ids"), tuple(map(int, note[name]))) for name in PLAYERS if name in note}
    for name, parts in players.items():
        if parts.ids.dtype != torch.int64 or parts.ids.numel() == 0 or not -1 <= parts.ids.min() <= parts.ids.max() < parts.n_players:
            raise ValueError(f"its {name} are not the ids of {parts.n_players}")
    fields: dict[str, Any] = {"n_query": note["n_query"], "r2_law": str(note.get("r2_law", ""))}
    if "index" in note:  # files of earlier versions have none
        name, p = note["index"]
        fields["index"] = parse_index(name, 0.5 if p is None else tuple(p))
    return fields | {"standard_error": Credits(**errors) if errors else None, **players, **tensors}
