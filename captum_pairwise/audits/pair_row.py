"""The row of one pair in the tables of an audit: what it says of the pair takes two to three kilobytes."""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.audits.audited_model import AuditedImage, AuditedModel
from captum_pairwise.audits.grid_tags import Grid, Tags, tag_mask, tag_places
from captum_pairwise.audits.pair_credit import PairCredit
from captum_pairwise.audits.search_pair import SIDES, SearchPair
from captum_pairwise.files.optional_packages import import_optional

N_PAIRS = 12  # strongest pairs of parts
N_PARTS = 8  # strongest parts of each side, with their features
MAX_ERROR_LENGTH = 500
NUMBERS = ("similarity", "r2", "error_of_pairs")
Row = dict[str, Any]
CreditShares = tuple[Float[Tensor, "query hit"], Float[Tensor, " query"], Float[Tensor, " hit"]]  # of pairs, and of both sides


def make_schema() -> Any:
    """The columns of the rows, for pyarrow."""
    arrow = import_optional("pyarrow", "an audit", "audit")
    text, number, whole = arrow.string(), arrow.float32(), arrow.int32()
    tag = [("tag", text), *((f"{side}_{what}", number) for side in SIDES for what in ("credit", "area")), ("pair_credit", number)]
    part = [("side", text), ("part", whole), ("credit", number), ("features", arrow.list_(arrow.float16()))]
    return arrow.schema(
        [
            *((name, text) for name in ("key", "query", "hit", "group", "hit_group")),
            ("is_correct", arrow.bool_()),
            ("score", arrow.float64()),
            ("words", arrow.map_(text, text)),
            *((name, number) for name in NUMBERS),
            *((f"{side}_grid", arrow.list_(whole)) for side in SIDES),
            *((f"{side}_{what}", arrow.list_(number)) for side in SIDES for what in ("map", "credit")),
            ("pairs", arrow.list_(arrow.struct([("query", whole), ("hit", whole), ("credit", number)]))),
            ("parts", arrow.list_(arrow.struct(part))),
            ("tags", arrow.list_(arrow.struct(tag))),
            ("error", text),
        ]
    )


def make_row(pair: SearchPair, model: AuditedModel) -> Row:
    """The row of a pair; a pair that cannot be explained has a sentence in `error` and no numbers."""
    row: Row = {
        **{"key": pair.key, "query": pair.query, "hit": pair.hit, "group": pair.group, "hit_group": pair.hit_group},
        **{"is_correct": pair.is_correct, "score": pair.score, "words": list(pair.tags.items()), "error": ""},
    }
    try:
        images = model.get_image(pair.query), model.get_image(pair.hit)
        credit = model.explain_images(*images)
        if not credit.between.isfinite().all():
            raise ValueError("Expected finite credit, got NaN or infinity. Look at the weights of the model.")
        shares = share_credit(credit.between.cpu())
        return row | _describe_credit(credit, shares, images) | {"tags": _measure_tags(pair, shares, images)}
    except ValueError as error:
        return row | {"error": str(error)[:MAX_ERROR_LENGTH]}


def share_credit(between: Float[Tensor, "query hit"]) -> CreditShares:
    """The pairs of parts that raise the similarity as shares of their sum, and the sum of these shares for each part of each side.

    >>> [values.tolist() for values in share_credit(torch.tensor([[3.0, -2.0], [0.0, 1.0]]))]
    [[[0.75, 0.0], [0.0, 0.25]], [0.75, 0.25], [0.75, 0.25]]
    """
    raising = between.clamp(min=0)
    shares = raising / raising.sum().clamp(min=torch.finfo(raising.dtype).tiny)
    return shares, shares.sum(1), shares.sum(0)


def _describe_credit(credit: PairCredit, shares: CreditShares, images: tuple[AuditedImage, AuditedImage]) -> Row:
    strongest = credit.between.cpu().flatten().topk(min(N_PAIRS, shares[0].numel()))
    places = [divmod(place, shares[0].shape[1]) for place in strongest.indices.tolist()]
    pairs = [{"query": query, "hit": hit, "credit": value} for (query, hit), value in zip(places, strongest.values.tolist(), strict=True)]
    maps = (credit.query_map, credit.hit_map)
    row: Row = {"similarity": credit.similarity, "r2": credit.r2, "error_of_pairs": credit.error, "pairs": pairs, "parts": []}
    for side, image, heat_map, of_part in zip(SIDES, images, maps, shares[1:], strict=True):
        row |= {f"{side}_grid": list(image.parts.grid), f"{side}_map": heat_map.tolist(), f"{side}_credit": of_part.tolist()}
        row["parts"] += _list_strongest(side, image, of_part)
    return row


def _list_strongest(side: str, image: AuditedImage, credit: Float[Tensor, " parts"]) -> list[Row]:
    """The strongest parts of a side; empty without features."""
    features = image.parts.features
    if features is None:
        return []
    strongest = credit.topk(min(N_PARTS, len(credit))).indices.tolist()
    described = features[strongest].cpu().half().numpy()
    return [
        {"side": side, "part": part, "credit": credit[part].item(), "features": described[place]} for place, part in enumerate(strongest)
    ]


def _measure_tags(pair: SearchPair, shares: CreditShares, images: tuple[AuditedImage, AuditedImage]) -> list[Row]:
    """The share of the credit and of the area of each side that each tag has, and the share of the pairs with a part of the tag."""
    tagged = [_tag_parts(pair, side, image) for side, image in zip(SIDES, images, strict=True)]
    names = list(dict.fromkeys([*tagged[0], *tagged[1]]))
    none = [torch.zeros_like(values) for values in shares[1:]]
    weights = [torch.stack([tags.get(name, absent) for name in names]) for tags, absent in zip(tagged, none, strict=True)]
    columns = {"pair_credit": 1 - ((1 - weights[0]) @ shares[0] * (1 - weights[1])).sum(1)}
    for side, values, of_tags in zip(SIDES, shares[1:], weights, strict=True):
        columns |= {f"{side}_credit": of_tags @ values, f"{side}_area": of_tags.mean(1)}
    numbers = {column: values.tolist() for column, values in columns.items()}
    return [{"tag": name, **{column: numbers[column][place] for column in columns}} for place, name in enumerate(names)]


def _tag_parts(pair: SearchPair, side: str, image: AuditedImage) -> Tags:
    """The weights of all tags of an image; only masks that the table names have tags."""
    size: Grid = image.parts.grid
    masks = {tag: tag_mask(Path(file), image.view, size) for (of_side, tag), file in pair.masks.items() if of_side == side}
    return {**tag_places(size), "flat": image.is_flat, **masks}
