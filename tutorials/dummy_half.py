"""Draw the paper's Figure 8: GradCAM credits the half of a photo that the similarity cannot see, Shapley values do not (A.4).

    python tutorials/dummy_half.py
    python tutorials/dummy_half.py --samples 5000 --out folder

The similarity is `cos(GAP(x), GAP(y ⊙ M))` of EfficientNet-Lite0's 7×7 maps of the stereo motorcycle, with `M` zero on the left
half. Printed is the share of the absolute credit that each method gives to the blind half.
"""

import argparse
import copy
from pathlib import Path

import skimage.data
import torch
from captum.attr import LayerGradCam
from matplotlib.figure import Figure
from torch import Tensor, nn

import captum_pairwise as cp
from captum_pairwise import backbones, visualization

Layers = tuple[nn.Module, nn.Module]


class Masked(nn.Module):
    """`y ⊙ M`, with `M` zero for the columns `w ≤ W/2`, counted from 1."""

    def forward(self, maps: Tensor) -> Tensor:
        """Blind the left half."""
        return maps * seen_columns(maps)


def seen_columns(maps: Tensor) -> Tensor:
    return torch.arange(1, maps.shape[-1] + 1) > maps.shape[-1] / 2


def grad_cam(model: cp.SimilarityWrapper, layers: Layers, pair: tuple[Tensor, Tensor]) -> Tensor:
    credit = LayerGradCam(model.given_query(pair[0]), layers[1]).attribute(pair[1])
    assert isinstance(credit, Tensor)  # one layer, one map
    return credit[0, 0].detach()


def kernel_sam(model: cp.SimilarityWrapper, layers: Layers, pair: tuple[Tensor, Tensor], n_samples: int) -> tuple[Tensor, Tensor]:
    """The map, and its standard errors."""
    _, found = cp.LayerKernelSAM(model, layers).interactions(pair, n_samples=n_samples)
    assert found.standard_error is not None
    return found["marginal"].reshape(7, 7), found.standard_error["marginal"].reshape(7, 7)


def draw(photos: tuple[Tensor, Tensor], maps: dict[str, Tensor]) -> Figure:
    """Both photos, the mask, and each method's map over the retrieved photo, each on a scale of its own."""
    query, retrieved = (photo[0].permute(1, 2, 0).double().numpy() for photo in photos)
    figure = Figure(figsize=(3 * (3 + len(maps)), 3.4), layout="constrained", dpi=110)
    axes = figure.subplots(1, 3 + len(maps))
    height, width = retrieved.shape[:2]
    mask = seen_columns(next(iter(maps.values()))).double().expand(7, 7)
    axes[0].imshow(query)
    axes[1].imshow(retrieved)
    axes[2].imshow(0.2 + 0.6 * mask.numpy(), cmap="gray", vmin=0, vmax=1)
    for panel, credit in zip(axes[3:], maps.values(), strict=True):
        cells = nn.functional.interpolate(credit[None, None].double(), (height, width))[0, 0]  # not smoothed: what is 0 shows as 0
        panel.imshow(visualization.overlay(retrieved, cells.numpy()))
        panel.axvline(width * 3 / 7 - 0.5, color="black", linestyle=":")
    for panel, name in zip(axes, ("query x", "retrieved y", "mask M of y's map", *maps), strict=True):
        panel.set_title(name)
        panel.set_axis_off()
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description="GradCAM and the dummy axiom.")
    parser.add_argument("--samples", type=int, default=5000, help="coalitions for KSAM")
    parser.add_argument("--out", type=Path, default=Path("explanation"), help="folder for the picture")
    arguments = parser.parse_args()
    encoder = backbones.create("efficientnet_lite0")
    blind = cp.SplitEncoder(copy.deepcopy(encoder), Masked())
    model, layers = cp.SimilarityWrapper(encoder, blind), (encoder, blind.features)
    left, right, _ = skimage.data.stereo_motorcycle()
    pair = encoder.preprocess(left), encoder.preprocess(right)

    ksam, errors = kernel_sam(model, layers, pair, arguments.samples)
    maps = {"GradCAM": grad_cam(model, layers, pair), "KSAM": ksam}
    maps["IG-SAM"] = cp.LayerIGSAM(model, layers).attribute(pair)[1][0, 0]
    for name, credit in maps.items():
        share = credit[:, ~seen_columns(credit)].abs().sum() / credit.abs().sum()
        print(f"{name}: {share:.2%} of the absolute credit is on the half that the similarity cannot see")
    unsure = (ksam.abs() <= 2 * errors)[:, ~seen_columns(ksam)].double().mean()
    print(f"KSAM is sampled: {unsure:.0%} of its cells there are within two standard errors of 0, which more --samples bring them to")

    arguments.out.mkdir(parents=True, exist_ok=True)
    picture = arguments.out / "dummy_half.png"
    draw(pair, maps).savefig(picture)
    print(f"picture: {picture}")


if __name__ == "__main__":
    main()
