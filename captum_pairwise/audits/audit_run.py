"""`cp.audit`: explain the pairs of a search, and say what the model looks at."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from captum_pairwise import __version__
from captum_pairwise.audits.audit_page import write_audit_page
from captum_pairwise.audits.audit_result import Audit
from captum_pairwise.audits.audit_rows import AuditRows, load_rows
from captum_pairwise.audits.audit_tables import write_audit_tables
from captum_pairwise.audits.audited_model import AuditedModel
from captum_pairwise.audits.local_engine import run_here, run_pool
from captum_pairwise.audits.nearest_images import PhotoEmbeddings, embed_folder, embed_photos, list_nearest_pairs
from captum_pairwise.audits.part_removal import (
    RemovalResult,
    check_tag,
    find_shown,
    search_without_clusters,
    search_without_tag,
)
from captum_pairwise.audits.ray_engine import run_ray
from captum_pairwise.audits.search_pair import SearchPair, read_search_pairs
from captum_pairwise.audits.shard_files import RowFolder, hash_settings, split_shards
from captum_pairwise.audits.shard_worker import AuditTask, load_audited
from captum_pairwise.audits.shortcuts import ClusterSummary, rank_clusters
from captum_pairwise.audits.tag_shares import share_tags
from captum_pairwise.datasets.embeddings import fingerprint
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.network.threads import use_one_thread

ENGINES = LOCAL, RAY = "local", "ray"
MOST_REMOVED = 3  # clusters that are removed, beside all of them together
MOST_SEARCHED = 2000  # images of a search without some parts; more are sampled evenly
DEFAULT_TOP = 5


def audit(
    model: Any,
    pairs: Any,
    out: str | Path,
    *,
    top: int | None = None,
    layer: Any = None,
    transform: Any = None,
    engine: str = LOCAL,
    n_workers: int = 1,
    device: str | None = None,
    remove: Sequence[str] = (),
    retry: bool = False,
    show_progress: bool = False,
) -> Audit:
    """Explain the pairs of a search, say where the credit goes and what the search matches on, and search again without it.

    Each pair is a row: the maps of both images, the strongest pairs of parts, `r2` and the error. Rows are on the disk as soon as 256 of
    them are done, and a run that was killed goes on where it was. The strongest parts of all pairs are clustered by the features of the
    layer. A cluster is a suspected shortcut if it carries much credit in queries of several groups, and more in wrong hits than in correct
    ones. The parts of the suspects, and what they add to the embeddings, are then removed, and the search is repeated.

    The folder has `audit.html`, `tags.csv`, `clusters.csv`, `removals.csv`, the same as Parquet, and the rows in `rows/`.

    Args:
        model: an encoder, a `SimilarityWrapper`, or a function of two batches of images; or the name of a model as on the command line,
            which other processes can load.
        pairs: a Parquet or CSV table, or an iterable of mappings or tuples, as `read_search_pairs` describes; or a folder of photos, which
            is searched first: photos in subfolders are in the group of their name.
        out: the folder for the results.
        top: the number of hits of each photo of a folder, 5 by default.
        layer: the layer whose places are the parts, or its name.
        transform: maps a Pillow image to the input of the network.
        engine: `"local"`, or `"ray"` for Ray Data on any number of machines that share `out`.
        n_workers: processes, or actors of Ray, each with one thread and a model of its own.
        device: where the model runs, such as `"cuda"`.
        remove: tags whose parts are removed, beside the suspected clusters: `"border"`, `"centre"`, `"flat"` or a field such as
            `"bottom right"`.
        retry: explain pairs again whose rows have an error.
        show_progress: show a progress bar.

    Raises:
        ValueError: the pairs or an option do not fit.
        ImportError: a package of the extra `audit` or `ray` is missing.

    For example::

        result = cp.audit(encoder, "search.csv", "audit")
        print(result.verdict, result.page)

    See also `Audit` and `explain_ranking`.
    """
    if engine not in ENGINES:
        raise ValueError(f"Expected engine to be one of {list(ENGINES)}, got {engine!r}. Pass one of these.")
    for tag in remove:
        check_tag(tag)
    folder, task = Path(out), AuditTask(model, RowFolder(Path(out), ""), layer, transform, device)
    with use_one_thread():
        audited = load_audited(task)
        listed, photos = _list_pairs(audited, pairs, top)
        task = AuditTask(model, RowFolder(folder, _hash_model(audited, model, layer)), layer, transform, device)
        _explain_missing(task, listed, engine, n_workers, retry, show_progress)
        rows = load_rows(task.folder, [pair.key for pair in listed])
        clusters = rank_clusters(rows)
        results = _search_without(audited, rows, photos, clusters, remove)
        result = Audit(folder, rows, share_tags(rows), clusters, results, audited.choices)
        write_audit_tables(result)
        write_audit_page(result, audited.reader)
    return result


def _list_pairs(model: AuditedModel, pairs: Any, top: int | None) -> tuple[list[SearchPair], PhotoEmbeddings | None]:
    """The pairs, and the embeddings of a folder that was searched for them."""
    if isinstance(pairs, (str, Path)) and Path(pairs).is_dir():
        photos = embed_folder(model, Path(pairs))
        return list_nearest_pairs(photos, Path(pairs), DEFAULT_TOP if top is None else top), photos
    if top is not None:
        raise ValueError("Expected top only with a folder of photos, because a table has the hits already. Leave it out.")
    return read_search_pairs(pairs), None


def _hash_model(audited: AuditedModel, model: Any, layer: Any) -> str:
    """A digest of all that the rows depend on beside the pairs."""
    wrapper = audited.forward_func
    if isinstance(wrapper, SimilarityWrapper):
        words = audited.reader.preprocessing.description
        encoders = [fingerprint(encoder, words) for encoder in (wrapper.query_encoder, wrapper.retrieved_tower)]
    else:
        encoders = [model if isinstance(model, str) else getattr(wrapper, "__qualname__", type(wrapper).__name__)]
    return hash_settings({"encoders": encoders, "head": repr(getattr(wrapper, "head", "")), "layer": str(layer), "version": __version__})


def _explain_missing(task: AuditTask, pairs: Sequence[SearchPair], engine: str, n_workers: int, retry: bool, show_progress: bool) -> None:
    """Write the rows of all pairs that have none."""
    task.folder.remove_drafts()
    shards = split_shards(pairs, task.folder.read_keys(keep_errors=not retry))
    if not shards:
        return
    if engine == RAY:
        counts = run_ray(task, shards, n_workers)
    else:
        counts = run_here(task, shards) if n_workers == 1 else run_pool(task, shards, n_workers)
    total = sum(map(len, shards))
    with tqdm(total=total, desc="audit", unit="pair", disable=not show_progress) as progress:
        for n_rows, _ in counts:
            progress.update(n_rows)


def _search_without(
    model: AuditedModel, rows: AuditRows, photos: PhotoEmbeddings | None, clusters: Sequence[ClusterSummary], tags: Sequence[str]
) -> list[RemovalResult]:
    """The search without each suspect, without all of them, and without each tag; empty for models that cannot search."""
    suspects = [cluster for cluster in clusters if cluster.is_suspect]
    chosen = [(f"cluster {one.number}", [place]) for place, one in enumerate(suspects[:MOST_REMOVED])]
    if len(suspects) > 1:
        chosen.append(("all suspected clusters", list(range(len(suspects)))))
    wrapper = model.forward_func
    if not (chosen or tags) or not isinstance(wrapper, SimilarityWrapper) or wrapper.head.lift_query is None:
        return []
    if photos is None or len(photos.files) > MOST_SEARCHED:
        photos = embed_photos(model, _sample_files(rows))
    groups, top = _find_groups(rows), int(max(np.bincount(rows.queries)))
    shown = find_shown(model, photos.files, [one.cluster for one in suspects]) if suspects else []
    results = [search_without_clusters(model, photos, [parts[places] for parts in shown], name, top, groups) for name, places in chosen]
    return results + [search_without_tag(model, photos, tag, top, groups) for tag in tags]


def _sample_files(rows: AuditRows) -> list[str]:
    """The images of the pairs; a sample if they are very many."""
    files = sorted({*rows.get("query"), *rows.get("hit")})
    return [files[int(place)] for place in np.unique(np.linspace(0, len(files) - 1, min(len(files), MOST_SEARCHED)).round())]


def _find_groups(rows: AuditRows) -> dict[str, str]:
    """The group of each image that has one."""
    sides = (("query", "group"), ("hit", "hit_group"))
    return {file: group for side, column in sides for file, group in zip(rows.get(side), rows.get(column), strict=True) if group}
