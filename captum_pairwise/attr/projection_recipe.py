"""Steps around a projection that find the object of a mask better, and what each of them costs."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from captum_pairwise.files.arguments import check_count
from captum_pairwise.games.checks import promote_half, unpack_pair
from captum_pairwise.games.context import Baselines
from captum_pairwise.players.baselines import Backgrounds, Baseline
from captum_pairwise.players.regions import Players, average, paint, superpixels


@dataclass(frozen=True)
class ProjectionRecipe:
    r"""Steps of `project_attention_through` before and after its sum of maps. By default there are none.

    `OBJECT_RECIPE`, the preset, is `ProjectionRecipe(contrast=True, scales=(1.0, 2.0), n_segments=(50, 150))`. It is for finding the object
    of a mask, through the last layer and one of twice its resolution. Its map shows *where* the object is, not how much similarity each
    part explains, because the steps give up axioms that a map of `project_attention` keeps. That map is linear in the attention, sums to
    the credit of the attention (completeness), is 0 where no pair has credit (dummy), and equal for parts that can be exchanged (symmetry).

    * `contrast` keeps all four. The credits then sum to the credit of the attention minus its mean.
    * Several layers or several `scales` lose all four, because each map is divided by its largest value.
    * `n_segments` keeps linearity, and completeness, because each superpixel keeps its sum. It loses dummy, and symmetry between two.
    * Another baseline, such as zero or a wider blur, keeps all four, for another game.

    A cell of one layer is no player of another layer, so the sum of their maps has no players. Photos of another scale have another
    similarity. Superpixels come from the colours of the photo, not from the network.

    Attributes:
        contrast: subtract the mean from the attention, so that what every part of the query supports cancels:
            $\sum_i (a_i - \bar a) \phi_{ij}$.
        scales: factors of the height and width of both photos; each layer is explained at each scale. Baselines that are tensors are
            resized like the photos; a function receives the resized photos. A network or a `token_grid` for one size needs `(1.0,)`.
        n_segments: numbers of SLIC superpixels of the photo that the map is over. The map becomes its mean over each superpixel, averaged
            over these numbers. Empty: the map stays as it is.

    Raises:
        ValueError: `scales` is no tuple of positive numbers, or `n_segments` no tuple of whole numbers of at least 1.

    >>> from dataclasses import replace
    >>> replace(OBJECT_RECIPE, scales=(1.0,))  # for a network of one input size
    ProjectionRecipe(contrast=True, scales=(1.0,), n_segments=(50, 150))

    See also `project_attention_through`.
    """

    contrast: bool = False
    scales: tuple[float, ...] = (1.0,)
    n_segments: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.scales, tuple) or not self.scales or not all(map(_is_factor, self.scales)):
            raise ValueError(
                f"Expected scales to be a tuple of positive factors, got {self.scales!r}. Pass (1.0,) for the photos as they are."
            )
        if not isinstance(self.n_segments, tuple):
            raise ValueError(f"Expected n_segments to be a tuple of numbers of superpixels, got {self.n_segments!r}. Pass () for none.")
        for number in self.n_segments:
            check_count(number, "n_segments", least=1)


def _is_factor(scale: object) -> bool:
    return isinstance(scale, (int, float)) and not isinstance(scale, bool) and 0 < scale < float("inf")


PLAIN = ProjectionRecipe()
OBJECT_RECIPE = ProjectionRecipe(contrast=True, scales=(1.0, 2.0), n_segments=(50, 150))


def prepare_attention(attention: Shaped[Tensor, "batch ..."], recipe: ProjectionRecipe) -> Shaped[Tensor, "batch ..."]:
    """The attention, minus its mean over each query if the recipe has `contrast`.

    >>> prepare_attention(torch.tensor([[[True, False, False, False]]]), ProjectionRecipe(contrast=True))
    tensor([[[ 0.7500, -0.2500, -0.2500, -0.2500]]])
    """
    if not recipe.contrast:
        return attention
    values, places = attention if attention.is_floating_point() else attention.float(), tuple(range(1, attention.dim()))
    above = values - values.amin(places, keepdim=True)  # a constant becomes exactly 0; a rounding error would be enlarged to a map
    return above - above.mean(places, keepdim=True)


def scale_photos(inputs: tuple[Tensor, Tensor], baselines: Baselines, scale: float) -> tuple[tuple[Tensor, Tensor], Baselines]:
    """Photos and their baselines at another scale. Numbers and functions stay as they are."""
    if scale == 1:
        return inputs, baselines
    query, retrieved = inputs
    first, second = unpack_pair(baselines, "baselines")
    return (_resize_photos(query, scale), _resize_photos(retrieved, scale)), (_scale_baseline(first, scale), _scale_baseline(second, scale))


def _scale_baseline(baseline: Baseline, scale: float) -> Baseline:
    if isinstance(baseline, Backgrounds):
        return Backgrounds(_resize_photos(baseline.images, scale))
    return _resize_photos(baseline, scale) if isinstance(baseline, Tensor) else baseline


def _resize_photos(photos: Float[Tensor, "*batch channels height width"], scale: float) -> Float[Tensor, "*batch channels rows columns"]:
    size = [max(1, round(length * scale)) for length in photos.shape[-2:]]
    resized = F.interpolate(promote_half(photos).reshape(-1, *photos.shape[-3:]), size, mode="bilinear", antialias=True)
    return resized.to(photos.dtype).reshape(*photos.shape[:-2], *size)


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
