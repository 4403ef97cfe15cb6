"""SBSM of one photo, beside xaitk-saliency: the same windows, network and batches, on one thread.

    python tutorials/measurements/sbsm_speed.py
    python tutorials/measurements/sbsm_speed.py --stride 3 --out folder

The right view of the stereo motorcycle explained by the left one: EfficientNet-Lite0 at 224 pixels, cosine, black windows of 20 × 20. Both
sides embed each photo once and each window once; `SBSM` would explain the left view too, so its estimator is run on the right view's
game alone. xaitk-saliency scales its maps by their largest value, so ours is scaled before they are compared.
"""

import argparse
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import skimage.data
import torch
from matplotlib.figure import Figure
from smqtk_descriptors.interfaces.image_descriptor_generator import ImageDescriptorGenerator
from torch import Tensor
from xaitk_saliency.impls.gen_image_similarity_blackbox_sal.sbsm import SBSMStack

import captum_pairwise as cp
from captum_pairwise import backbones, visualization
from captum_pairwise.estimators.occlusion import sbsm
from captum_pairwise.games.build import build_window_pairs
from captum_pairwise.games.context import ForwardContext
from captum_pairwise.games.game import make_one_image_games
from captum_pairwise.players.regions import whole_image

Result = TypeVar("Result")
WINDOW = 20


class Batches(ImageDescriptorGenerator):
    """The encoder as xaitk-saliency wants it: arrays of images in, embeddings out, so many images in a pass."""

    def __init__(self, encoder: torch.nn.Module, size: int) -> None:
        self.encoder, self.size = encoder, size

    def get_config(self) -> dict[str, Any]:
        """Nothing to restore it from."""
        return {}

    def generate_arrays_from_images(self, img_mat_iter: Iterable[np.ndarray | None]) -> list[np.ndarray]:
        """The embedding of each image."""
        images = img_mat_iter if isinstance(img_mat_iter, np.ndarray) else np.stack([one for one in img_mat_iter if one is not None])
        batches = torch.from_numpy(images).split(self.size)
        return [row for batch in batches for row in self.encoder(batch.permute(0, 3, 1, 2).contiguous()).mean((2, 3)).numpy()]


def timed(run: Callable[[], Result]) -> tuple[Result, float]:
    """What comes back, and seconds of computing: on one thread those of an idle machine, whatever else runs."""
    started = time.process_time()
    return run(), time.process_time() - started


def ours(model: cp.SimilarityWrapper, pair: tuple[Tensor, Tensor], stride: int, batch: int) -> Tensor:
    """The map of the second photo."""
    pairs, windows = build_window_pairs(model, pair, ForwardContext(max_rows=batch), WINDOW, stride, players=whole_image)
    return sbsm(make_one_image_games(next(pairs.games()))[1], windows[1])


def theirs(encoder: torch.nn.Module, pair: tuple[Tensor, Tensor], stride: int, batch: int) -> Tensor:
    """The scaled map of the second photo, which they call the reference."""
    query, reference = (photo[0].permute(1, 2, 0).contiguous().numpy() for photo in pair)
    stack = SBSMStack((WINDOW, WINDOW), (stride, stride), proximity_metric="cosine", fill=[0, 0, 0])
    return torch.from_numpy(stack.generate(reference, [query], Batches(encoder, batch))[0])


def draw(photo: Tensor, scaled: Tensor) -> Figure:
    figure = Figure(figsize=(7, 3.5), layout="constrained", dpi=110)
    shown = photo[0].permute(1, 2, 0).double().numpy()
    for panel, picture in zip(figure.subplots(1, 2), (shown, visualization.overlay(shown, scaled.double().numpy())), strict=True):
        panel.imshow(picture)
        panel.set_axis_off()
    return figure


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description="Time SBSM beside xaitk-saliency.")
    parser.add_argument("--stride", type=int, default=12, help="from one window to the next; the paper's is 3")
    parser.add_argument("--batch", type=int, default=4, help="images in a pass, of both packages")
    parser.add_argument("--out", type=Path, default=None, help="folder for a picture of the map")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    encoder = backbones.create("efficientnet_lite0")
    left, right, _ = skimage.data.stereo_motorcycle()
    pair = encoder.preprocess(left), encoder.preprocess(right)
    model = cp.SimilarityWrapper(encoder)
    model(*pair)  # the first pass is slow
    found, seconds = timed(lambda: ours(model, pair, arguments.stride, arguments.batch))
    print(f"captum_pairwise: {seconds:.1f} s")
    expected, their_seconds = timed(lambda: theirs(encoder, pair, arguments.stride, arguments.batch))
    print(f"xaitk-saliency: {their_seconds:.1f} s, {their_seconds / seconds:.2f} times as long")
    scaled = found / found.max()
    print(f"largest difference of the scaled maps: {(scaled - expected).abs().max():.1e}")
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        draw(pair[1], scaled).savefig(arguments.out / "sbsm.png")
        print(f"picture: {arguments.out / 'sbsm.png'}")


if __name__ == "__main__":
    main()
