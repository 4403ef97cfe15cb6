"""Steps around a projection that find the object of a mask better, and what each of them costs."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from captum_pairwise.files.arguments import check_count
from captum_pairwise.games.checks import unpack_pair
from captum_pairwise.games.context import Baselines
from captum_pairwise.players.baselines import Backgrounds, Baseline
from captum_pairwise.players.regions import Players, average, paint, superpixels


@dataclass(frozen=True)
class ProjectionRecipe:
    r"""Steps of `project_attention_through` around its sum of maps. The default has none; `OBJECT_RECIPE` is the preset that finds objects.

    A map of `project_attention` is linear in the attention and sums to the credit that the attention carries (completeness). A part without
    interactions gets 0 (dummy), and parts that can be exchanged get the same (symmetry). The sum over layers, and each step, give up some
    of this, so a map of a recipe shows *where* the object is, not how much similarity a part explains:

    | step | linearity in the attention | completeness | dummy | symmetry |
    |---|---|---|---|---|
    | `contrast` | kept | kept; constant attention has the sum 0 | kept | kept |
    | several layers, each map divided by its largest value | lost: only the sign of a factor is left | lost | lost | lost |
    | `scales` | kept for each scale | kept for each scale, of another similarity | kept for each scale | kept for each scale |
    | `n_segments` | kept | kept | lost: a superpixel shares its credit | kept, and made: pixels of a superpixel are equal |
    | zero or wider blurred baselines | kept | kept, of another game | kept | kept |

    Dummy and symmetry are lost where maps are resized and added, because a cell is no player of the other layers. The network at another
    scale is another game: the similarity of the resized photos. Superpixels come from the photo's colours, not from the network.

    Attributes:
        contrast: subtract the mean of the attention from it. What every part of the query supports then cancels:
            $\sum_i (a_i - \bar a) \phi_{ij}$.
        scales: factors of height and width. Every layer is explained at each of them, of photos that are resized; tensors as baselines are
            resized with them, and functions see the resized photos.
        n_segments: numbers of SLIC superpixels of the other photo. The map becomes the mean of its means over each division; empty: the map
            stays as it is.

    Raises:
        ValueError: `scales` is empty or holds a number that is not positive, or `n_segments` holds no whole number of at least 1.
    """

    contrast: bool = False
    scales: tuple[float, ...] = (1.0,)
    n_segments: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.scales or not all(0 < scale < float("inf") for scale in self.scales):
            raise ValueError(f"Expected scales to be positive factors, got {self.scales!r}. Pass (1.0,) for the size of the photos.")
        for number in self.n_segments:
            check_count(number, "n_segments", least=1)


PLAIN = ProjectionRecipe()
OBJECT_RECIPE = ProjectionRecipe(contrast=True, scales=(1.0, 2.0), n_segments=(50, 150))


def prepare_attention(attention: Shaped[Tensor, "batch ..."], recipe: ProjectionRecipe) -> Shaped[Tensor, "batch ..."]:
    """The attention, minus its mean over each query if the recipe has `contrast`.

    >>> prepare_attention(torch.tensor([[[True, False, False, False]]]), ProjectionRecipe(contrast=True))
    tensor([[[ 0.7500, -0.2500, -0.2500, -0.2500]]])
    """
    if not recipe.contrast:
        return attention
    values = attention if attention.is_floating_point() else attention.float()
    return values - values.mean(tuple(range(1, values.dim())), keepdim=True)


def scale_photos(inputs: tuple[Tensor, Tensor], baselines: Baselines, scale: float) -> tuple[tuple[Tensor, Tensor], Baselines]:
    """Photos and their baselines at another scale. Numbers and functions stay as they are."""
    if scale == 1:
        return inputs, baselines
    query, retrieved = inputs
    first, second = unpack_pair(baselines, "baselines")
    return (_resize(query, scale), _resize(retrieved, scale)), (_scale_baseline(first, scale), _scale_baseline(second, scale))


def _scale_baseline(baseline: Baseline, scale: float) -> Baseline:
    if isinstance(baseline, Backgrounds):
        return Backgrounds(_resize(baseline.images, scale))
    return _resize(baseline, scale) if isinstance(baseline, Tensor) else baseline


def _resize(photos: Float[Tensor, "*batch channels height width"], scale: float) -> Float[Tensor, "*batch channels rows columns"]:
    size = [max(1, round(length * scale)) for length in photos.shape[-2:]]
    resized = F.interpolate(photos.reshape(-1, *photos.shape[-3:]), size, mode="bilinear", antialias=True)
    return resized.reshape(*photos.shape[:-2], *size)


def smooth_over_superpixels(
    maps: Float[Tensor, "batch height width"], photos: Float[Tensor, "batch channels height width"], n_segments: tuple[int, ...]
) -> Float[Tensor, "batch height width"]:
    """The mean of the map's means over the superpixels of each division; without a division the map itself.

    >>> halves = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(1, 3, 4, 4)
    >>> smooth_over_superpixels(torch.arange(16.0).reshape(1, 4, 4), halves, (1,))[0, 0]
    tensor([7.5000, 7.5000, 7.5000, 7.5000])
    """
    if not n_segments:
        return maps
    divisions = [superpixels(photos, number) for number in n_segments]
    means = [paint(average(maps, Players(ids, (int(ids.max()) + 1,))), ids)[:, 0] for ids in divisions]
    return torch.stack(means).mean(0)
