"""SBSM of one photo, compared with xaitk-saliency: the same windows, network and batches, on one thread.

    python tutorials/measurements/sbsm_speed.py
    python tutorials/measurements/sbsm_speed.py --stride 3 --out folder

The map of the right view of the stereo motorcycle, given the left view: EfficientNet-Lite0 at 224 pixels, cosine, black windows of
20 × 20. Both packages embed each photo once and each window once. `SBSM` would also explain the left view, so the script runs its estimator
on the right view's game only. xaitk-saliency divides its maps by their largest value, so the script does the same before the comparison.
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
    """The encoder with the interface of xaitk-saliency: takes arrays of images, returns embeddings, `size` images in a pass."""

    def __init__(self, encoder: torch.nn.Module, size: int) -> None:
        self.encoder, self.size = encoder, size

    def get_config(self) -> dict[str, Any]:
        """Empty: this class has no configuration."""
        return {}

    def generate_arrays_from_images(self, img_mat_iter: Iterable[np.ndarray | None]) -> list[np.ndarray]:
        """The embedding of each image."""
        images = img_mat_iter if isinstance(img_mat_iter, np.ndarray) else np.stack([image for image in img_mat_iter if image is not None])
        batches = torch.from_numpy(images).split(self.size)
        return [row for batch in batches for row in self.encoder(batch.permute(0, 3, 1, 2).contiguous()).mean((2, 3)).numpy()]


def measure(run: Callable[[], Result]) -> tuple[Result, float]:
    """The result, and the processor time in seconds: on one thread, other processes do not change it."""
    started = time.process_time()
    return run(), time.process_time() - started


def explain(model: cp.SimilarityWrapper, pair: tuple[Tensor, Tensor], stride: int, batch: int) -> Tensor:
    """The map of the second photo."""
    pairs, windows = build_window_pairs(model, pair, ForwardContext(max_rows=batch), WINDOW, stride, players=whole_image)
    return sbsm(make_one_image_games(next(pairs.games()))[1], windows[1])


def explain_by_xaitk(encoder: torch.nn.Module, pair: tuple[Tensor, Tensor], stride: int, batch: int) -> Tensor:
    """The scaled map of the second photo, which xaitk-saliency calls the reference."""
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
    parser.add_argument("--stride", type=int, default=12, help="pixels from one window to the next; 3 in the paper")
    parser.add_argument("--batch", type=int, default=4, help="images in a pass, for both packages")
    parser.add_argument("--out", type=Path, default=None, help="folder for a picture of the map")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    encoder = backbones.create("efficientnet_lite0")
    left, right, _ = skimage.data.stereo_motorcycle()
    pair = encoder.preprocess(left), encoder.preprocess(right)
    model = cp.SimilarityWrapper(encoder)
    model(*pair)  # the first pass is slow
    heat, seconds = measure(lambda: explain(model, pair, arguments.stride, arguments.batch))
    print(f"captum_pairwise: {seconds:.1f} s")
    expected, their_seconds = measure(lambda: explain_by_xaitk(encoder, pair, arguments.stride, arguments.batch))
    print(f"xaitk-saliency: {their_seconds:.1f} s, {their_seconds / seconds:.2f} times as long")
    scaled = heat / heat.max()
    print(f"largest difference of the scaled maps: {(scaled - expected).abs().max():.1e}")
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        draw(pair[1], scaled).savefig(arguments.out / "sbsm.png")
        print(f"picture: {arguments.out / 'sbsm.png'}")


if __name__ == "__main__":
    main()
