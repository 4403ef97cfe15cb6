"""The counterfactual proof: the same search after some parts were filled in all images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from captum_pairwise.audits.audited_model import AuditedImage, AuditedModel
from captum_pairwise.audits.grid_tags import tag_places
from captum_pairwise.audits.nearest_images import Nearest, search_photos
from captum_pairwise.audits.part_clusters import PartCluster

CHOSEN = 0.5  # weight of a tag from which on a part is filled
Choose = Callable[[str, AuditedImage], Bool[Tensor, " parts"]]


@dataclass(frozen=True)
class RemovalResult:
    """The effect of some parts on a search.

    Attributes:
        name: of the parts.
        n_images: the images in which parts were filled.
        n_lists: the queries.
        n_changed: the queries whose hits are other images than before.
        accuracy: the share of correct hits before and after; NaN without groups.
        before: the search with all parts.
        after: the search without them.
    """

    name: str
    n_images: int
    n_lists: int
    n_changed: int
    accuracy: tuple[float, float]
    before: Nearest
    after: Nearest


def remove_parts_and_search(
    model: AuditedModel, before: Nearest, choose: Choose, name: str, groups: dict[str, str] | None = None
) -> RemovalResult:
    """Fill parts in all images, queries and gallery, with the colours around them, and search again.

    Args:
        model: the model.
        before: the search with all parts.
        choose: the parts to fill, from a file and its image.
        name: of the parts, in words.
        groups: of each file; a hit is correct if it is of the group of its query.
    """
    filled: set[str] = set()

    def change(file: str, photo: Image.Image) -> Image.Image:
        image = model.get_image(file)
        chosen = choose(file, image)
        if not chosen.any() or chosen.all():  # nothing is left around a whole image
            return photo
        filled.add(file)
        return fill_parts(photo, chosen.reshape(image.parts.grid), image.view)

    after = search_photos(model, before.files, before.places.shape[1], change)
    hits = [[set(places) for places in nearest.places.tolist()] for nearest in (before, after)]
    n_changed = sum(first != second for first, second in zip(*hits, strict=True))
    accuracy = (measure_accuracy(before, groups), measure_accuracy(after, groups))
    return RemovalResult(name, len(filled), len(before.files), n_changed, accuracy, before, after)


def choose_cluster(cluster: PartCluster) -> Choose:
    """The parts of every image that belong to a cluster."""

    def choose(_: str, image: AuditedImage) -> Bool[Tensor, " parts"]:
        if image.parts.features is None:
            return torch.zeros(image.parts.grid[0] * image.parts.grid[1], dtype=torch.bool, device="cpu")
        return torch.from_numpy(cluster.contains(image.parts.features.cpu().numpy()))

    return choose


def choose_tag(name: str) -> Choose:
    """The parts of every image with a tag that needs no mask.

    Raises:
        ValueError: there is no such tag.
    """
    known = [*tag_places((3, 3)), "flat"]
    if name not in known:
        raise ValueError(f"Expected a tag that needs no mask, one of {known}, got {name!r}. Pass one of these, or a cluster.")

    def choose(_: str, image: AuditedImage) -> Bool[Tensor, " parts"]:
        return (image.is_flat if name == "flat" else tag_places(image.parts.grid)[name]) > CHOSEN

    return choose


def choose_any(choices: Sequence[Choose]) -> Choose:
    """The parts that any of several rules chooses."""

    def choose(file: str, image: AuditedImage) -> Bool[Tensor, " parts"]:
        return torch.stack([rule(file, image) for rule in choices]).any(0)

    return choose


def measure_accuracy(nearest: Nearest, groups: dict[str, str] | None) -> float:
    """The share of hits of the group of their query, over the queries that have one; NaN if none has."""
    if not groups:
        return np.nan
    places = zip(nearest.files, nearest.places.tolist(), strict=True)
    known = [[groups.get(nearest.files[hit]) == groups[file] for hit in hits] for file, hits in places if groups.get(file)]
    return float(np.mean(known)) if known else np.nan


def fill_parts(photo: Image.Image, chosen: Bool[Tensor, "rows columns"], view: tuple[float, ...] | None) -> Image.Image:
    """The photo with the chosen parts filled by a blur of the pixels around them.

    A plain blur would leave a border of one colour as it is. So only other pixels are averaged (pull-push, Gortler et al. 1996).

    Args:
        photo: the photo.
        chosen: the parts, a grid over what the network sees.
        view: the part of the photo that the network sees, in shares of its sides; None for all of it.
    """
    pixels = torch.from_numpy(np.array(photo, dtype=np.float32)).permute(2, 0, 1)[None]
    mask = torch.zeros(1, 1, *pixels.shape[2:], dtype=torch.float32, device="cpu")
    left, top, right, bottom = (0.0, 0.0, 1.0, 1.0) if view is None else view
    rows = slice(round(top * photo.height), round(bottom * photo.height))
    columns = slice(round(left * photo.width), round(right * photo.width))
    seen = mask[:, :, rows, columns]
    mask[:, :, rows, columns] = interpolate(chosen[None, None].float(), seen.shape[2:], mode="nearest-exact")
    filled = _average_others(pixels, 1 - mask)
    array = torch.where(mask > 0, filled, pixels)[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8)
    return Image.fromarray(array.numpy())


def _average_others(pixels: Float[Tensor, "1 3 height width"], others: Float[Tensor, "1 1 height width"]) -> Tensor:
    """The pixels, and where `others` is 0 the mean of the nearest ones: of the smallest square of a pyramid that has some."""
    if min(pixels.shape[2:]) < 2 or others.min() > 0:
        return pixels
    weights = avg_pool2d(others, 2, ceil_mode=True)
    means = avg_pool2d(pixels * others, 2, ceil_mode=True) / weights.clamp(min=torch.finfo(torch.float32).tiny)
    coarse = interpolate(_average_others(means, weights), pixels.shape[2:], mode="bilinear")
    return torch.where(others > 0, pixels, coarse)
