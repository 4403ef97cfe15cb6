"""The report of an audit: one page that holds all pairs, and pictures of those that it shows first."""

import io
from base64 import b64encode
from math import isfinite
from typing import Any

import numpy as np
from PIL import Image

from captum_pairwise.audits.audit_result import Audit, describe_cluster
from captum_pairwise.audits.audit_rows import AuditRows
from captum_pairwise.audits.clustered_mean import ClusteredMean
from captum_pairwise.audits.photo_reader import PhotoReader
from captum_pairwise.results.verdict import Trust, Verdict
from captum_pairwise.visualization.viewer import Viewer, load_template

MOST_CLUSTERS = 20
MOST_PICTURES = 1500
SIDE, QUALITY = 128, 72  # pixels and JPEG quality of a picture
TITLE = "What does the search look at?"
STEPS = 127  # of a map, on each side of 0
FIRST_PAIRS = 100  # of the list, which have pictures


def write_audit_page(audit: Audit, reader: PhotoReader) -> None:
    """Write the report to the folder of an audit."""
    rows = audit.rows
    names = [*rows.get("query"), *rows.get("hit"), *(file for cluster in audit.clusters for file, _ in cluster.examples)]
    numbers = {file: number for number, file in enumerate(dict.fromkeys(names))}
    grids = rows.get("query_grid")
    data = {
        "files": list(numbers),
        "grid": grids[0] if grids else [1, 1],
        "thumbs": _take_pictures(audit, reader, numbers),
        "clusters": [_show_cluster(cluster, numbers) for cluster in audit.clusters[:MOST_CLUSTERS]],
        "tags": [_show_tag(share) for share in audit.tags],
        "removals": [_show_removal(removal) for removal in audit.removals],
        "pairs": _describe_pairs(rows, numbers),
    }
    facts = f"{audit.n_pairs} pairs of {len(np.unique(rows.queries))} queries, {audit.n_failed} of them failed."
    verdict = Verdict(TITLE, tuple(map(_keep_units, audit.verdict)), Trust("", ()))
    template = load_template("audit.html", ("audit.js",), ("viewer.css", "audit.css"))
    Viewer(template.render(data=data, title=TITLE, verdict=verdict, facts=facts, choices=audit.choices)).save(audit.page)


def _finite(value: float, digits: int = 5) -> float | None:
    """A number for JSON."""
    return round(value, digits) if isfinite(value) else None


def _keep_units(words: str) -> str:
    """The words with no line break before a per cent sign."""
    return words.replace(" %", "\N{NO-BREAK SPACE}%")


def _describe_mean(mean: ClusteredMean) -> list[float | None]:
    return [_finite(mean.mean), _finite(mean.standard_error)]


def _show_cluster(cluster: Any, numbers: dict[str, int]) -> dict[str, Any]:
    words = describe_cluster(cluster)
    return {
        "number": cluster.number,
        "suspect": bool(cluster.is_suspect),
        "words": _keep_units(f"{words[:1].upper()}{words[1:]}."),
        "examples": [[numbers[file], part] for file, part in cluster.examples],
    }


def _show_tag(share: Any) -> dict[str, Any]:
    split = f"{share.split}: {share.value}" if share.value else share.split
    numbers = {"credit": _describe_mean(share.credit), "area": _finite(share.area.mean), "ratio": _finite(share.ratio, 2)}
    return {"split": split, "tag": share.tag, **numbers, "pairs": _describe_mean(share.pair_credit), "n": share.credit.n_pairs}


def _show_removal(removal: Any) -> dict[str, Any]:
    before, after = map(_finite, removal.accuracy)
    counts = {"images": removal.n_images, "changed": removal.n_changed, "lists": removal.n_lists}
    return {"name": removal.name, **counts, "before": before, "after": after}


def _describe_pairs(rows: AuditRows, numbers: dict[str, int]) -> dict[str, list[Any]]:
    """The columns of all pairs."""
    grids = rows.get("query_grid"), rows.get("hit_grid")
    columns: dict[str, list[Any]] = {side: [numbers[file] for file in rows.get(side)] for side in ("query", "hit")}
    columns |= {f"{side}_map": [_pack_map(values) for values in rows.get(f"{side}_map")] for side in ("query", "hit")}
    columns["correct"] = [None if value is None else int(value) for value in rows.get("is_correct")]
    columns |= {name: [_finite(value, 4) for value in rows.get(name)] for name in ("similarity", "r2")}
    is_one_size = len({tuple(grid) for side in grids for grid in side}) <= 1
    return columns | {"grids": [] if is_one_size else [list(pair) for pair in zip(*grids, strict=True)]}


def _pack_map(values: list[float]) -> str:
    """A map relative to its largest value, a byte for each part."""
    array = np.array(values)
    scaled = array / max(np.abs(array).max(), np.finfo(float).tiny)
    return b64encode((scaled * STEPS + 128).round().astype(np.uint8).tobytes()).decode()


def _take_pictures(audit: Audit, reader: PhotoReader, numbers: dict[str, int]) -> dict[int, str]:
    """The pictures that the page shows first: examples of clusters, wrong hits, and the first pairs."""
    rows = audit.rows
    wanted = [file for cluster in audit.clusters[:MOST_CLUSTERS] for file, _ in cluster.examples]
    sides = list(zip(rows.get("query"), rows.get("hit"), strict=True))
    similar = np.argsort([-value for value in rows.get("similarity")], kind="stable")
    wrong = [place for place in similar.tolist() if rows.is_correct[place] == 0]
    order = [*range(min(FIRST_PAIRS, len(sides))), *wrong, *range(FIRST_PAIRS, len(sides))]
    wanted += [file for place in order for file in sides[place]]
    pictures = {}
    for file in list(dict.fromkeys(wanted))[:MOST_PICTURES]:
        pictures[numbers[file]] = _draw_picture(reader, file)
    return pictures


def _draw_picture(reader: PhotoReader, file: str) -> str:
    """The part of a photo that the network sees, small, as an address of its data."""
    photo = reader.open(file)
    view = reader.find_view(photo)
    if view is not None:
        left, top, right, bottom = view
        photo = photo.crop((round(left * photo.width), round(top * photo.height), round(right * photo.width), round(bottom * photo.height)))
    buffer = io.BytesIO()
    photo.resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2).save(buffer, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{b64encode(buffer.getvalue()).decode()}"
