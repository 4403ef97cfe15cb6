"""Explain why two photos are similar: draw a figure, and write an interactive page.

    python tutorials/quickstart.py
    python tutorials/quickstart.py --query A.jpg --retrieved B.jpg --backbone resnet50 --weights file.pth --out folder

Without photos it uses scikit-image's stereo pair of a motorcycle. The true matches of this pair are known, so the script also prints how
many of the strongest matches agree with them.
"""

import argparse
import time
from pathlib import Path

import skimage.data
import torch
from torch import Tensor

import captum_pairwise as cp
from captum_pairwise import backbones, visualization


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Explain why two photos are similar.")
    parser.add_argument("--query", type=Path, help="a photo")
    parser.add_argument("--retrieved", type=Path, help="the photo that a search returned for it")
    parser.add_argument("--backbone", default="efficientnet_lite0", choices=sorted(backbones.BACKBONES))
    parser.add_argument("--weights", type=Path, help="a file of weights for the backbone")
    parser.add_argument("--samples", type=int, default=2000, help="embeddings of each photo")
    parser.add_argument("--out", type=Path, default=Path("explanation"), help="folder for the picture and the page")
    arguments = parser.parse_args()
    if (arguments.query is None) != (arguments.retrieved is None):
        parser.error("give both --query and --retrieved, or neither")
    return arguments


def true_matches(disparity: Tensor, cells: int) -> Tensor:
    """For each cell of the left photo, the position of its middle in the right photo, as (row, column) in cells; NaN if unknown."""
    height, width = disparity.shape
    row, column = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    is_known = disparity.isfinite()
    cell = (row * cells // height * cells + column * cells // width).long()
    matches = torch.stack([row * cells / height, (column - disparity) * cells / width], -1)
    means = torch.zeros(cells**2, 2).index_add_(0, cell[is_known], matches[is_known])
    counts = torch.bincount(cell[is_known], minlength=cells**2)
    return torch.where(counts[:, None] > 0, means / counts[:, None], torch.nan)


def print_agreement(between: Tensor, disparity: Tensor) -> None:
    """Compare the strongest match of each query cell with the true one."""
    cells = int(len(between) ** 0.5)
    truth = true_matches(disparity, cells)
    centres = torch.cartesian_prod(torch.arange(cells) + 0.5, torch.arange(cells) + 0.5)
    hits = torch.cdist(truth, centres) < 1  # [query cell, retrieved cell]: less than one cell from the true position
    is_known = ~truth.isnan().any(1)
    strength, match = between.max(1)
    strongest = strength.masked_fill(~is_known, -torch.inf).argsort(descending=True)[:10]
    right = hits[torch.arange(len(match)), match]
    chance, in_place = hits.double().mean(1), hits.diagonal()
    print(f"agreement with the true disparity (strongest match less than one cell of {cells}x{cells} away):")
    for name, chosen in (("10 strongest matches", strongest), (f"all {int(is_known.sum())} parts", is_known)):
        print(
            f"  {name}: {right[chosen].double().mean():.0%} right, {chance[chosen].mean():.0%} by chance, "
            f"{in_place[chosen].double().mean():.0%} for the same place in both photos"
        )


def relative_error(interactions: cp.Interactions, name: str) -> float:
    errors = interactions.standard_error
    return (errors[name].norm() / interactions[name].norm()).item() if errors is not None else 0.0


def main() -> None:
    arguments = parse_arguments()
    encoder = backbones.create(arguments.backbone, arguments.weights)
    left, right, disparity = skimage.data.stereo_motorcycle()
    query = encoder.preprocess(arguments.query or left)
    retrieved = encoder.preprocess(arguments.retrieved or right)

    model = cp.SimilarityWrapper(encoder)
    method = cp.LayerFactorisedShapleyTaylor(model, encoder.features)
    start = time.perf_counter()
    interactions = method.interactions((query, retrieved), n_samples=arguments.samples)
    seconds = time.perf_counter() - start

    arguments.out.mkdir(parents=True, exist_ok=True)
    picture = arguments.out / "explanation.png"
    similarity = interactions.full.item()
    title = f"cosine similarity {similarity:.3f} ({interactions.empty.item():.3f} when both are blurred)"
    visualization.pair_figure(interactions, (query, retrieved), title=title).savefig(picture)
    print(f"similarity: {similarity:.4f}, and {interactions.empty.item():.4f} when both photos are blurred")
    print(f"method: {method.get_name()} on {arguments.backbone}, cosine; {encoder.preprocessing}")
    print(
        f"embeddings used: {int(interactions.n_evaluations)} of masked feature maps, after 4 network passes (both photos and their blurs)"
    )
    print(f"seconds: {seconds:.2f}")
    print(f"completeness gap: {round(interactions.completeness_gap.item(), 5) + 0.0:+.5f}")
    pairs, maps = (relative_error(interactions, name) for name in ("between", "marginal"))
    print(f"standard error: {pairs:.1%} of the pairs, {maps:.1%} of the heat maps")
    if arguments.query is None:
        print_agreement(interactions["between"][0], torch.from_numpy(disparity))
    page = cp.viewer(interactions, (query, retrieved), title="Why are these two photos similar?").save(arguments.out / "explanation.html")
    print(f"picture: {picture}\ninteractive page: {page}")


if __name__ == "__main__":
    main()
