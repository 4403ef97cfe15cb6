"""Ask why one result is better than another, as the paper's Figure 3 does, and why photos are unlike (§A.15).

    python tutorials/counterfactual.py
    python tutorials/counterfactual.py --out folder

The query shows a cat and a cup, and so does the best result; the second best shows a cup and a rocket. Over a blur, cup and cat make the
best result similar. Over the second best, which has a cup in the same place, it is the cat alone. Printed is how much of the credit above
0 is on the cat's half.
"""

import argparse
from pathlib import Path

import skimage.data
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import interpolate

import captum_pairwise as cp
from captum_pairwise import backbones, visualization

Panel = tuple[Tensor, Tensor | None]


def photos(encoder: backbones.ImageEncoder) -> tuple[Tensor, Tensor, Tensor]:
    """The query, the best result and the second best, each put together from two photos."""
    loaded = (skimage.data.chelsea(), skimage.data.coffee(), skimage.data.rocket())
    cat, cup, rocket = (encoder.preprocess(photo)[..., 56:168] for photo in loaded)
    pairs = (cat, cup), (cup.flip(3), cat.flip(3)), (cup, rocket)
    query, best, second = (torch.cat(halves, 3) for halves in pairs)
    return query, best, second


def on_right(credit: Tensor) -> float:
    """How much of the credit above 0 is on the right half of a photo."""
    columns = interpolate(credit, (224, 224), mode="bilinear").clamp(min=0).sum((0, 1, 2))
    return (columns[112:].sum() / columns.sum()).item()


def draw(panels: dict[str, Panel]) -> Figure:
    """Photos, and the maps over them on one scale."""
    figure = Figure(figsize=(12, 6.8), layout="constrained", dpi=110)
    scale = max(credit.abs().max().item() for _, credit in panels.values() if credit is not None)
    for axes, (name, (photo, credit)) in zip(figure.subplots(2, 4).flat, panels.items(), strict=True):
        picture = photo[0].permute(1, 2, 0).double().numpy()
        if credit is not None:
            heat = interpolate(credit.double(), picture.shape[:2], mode="bilinear")[0, 0]
            picture = visualization.overlay(picture, heat.numpy(), scale)
        axes.imshow(picture)
        axes.set_title(name, size="medium")
        axes.set_axis_off()
    figure.supxlabel(
        "Red parts make a result similar to the query, blue ones unlike it; on the query, red speaks for the best.", size="small"
    )
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description="Why is one result better than another?")
    parser.add_argument("--out", type=Path, default=Path("explanation"), help="folder for the picture")
    arguments = parser.parse_args()
    encoder = backbones.create("efficientnet_lite0")
    query, best, second = photos(encoder)
    model = cp.SimilarityWrapper(encoder)
    method = cp.LayerIGSAM(model, encoder.features)

    _, best_alone = method.attribute((query, best))  # over a blur of it
    _, second_alone = method.attribute((query, second))
    why = cp.counterfactual(method, query, best, second)

    similarities = [model(query, result).item() for result in (best, second)]
    print(f"similarity to the query: {similarities[0]:.4f} of the best result, {similarities[1]:.4f} of the second best")
    print("credit above 0 on the half of the cat:")
    print(f"  best result: {on_right(best_alone):.0%} over its blur, {on_right(why.of_better):.0%} over the second best")
    print(f"  query, for the best rather than the second best: {1 - on_right(why.of_query):.0%}")
    missed = why.of_better.sum().item() - (similarities[0] - similarities[1])
    print(f"all credit of the best over the second, less the difference of their similarities: {missed:+.1e}")

    arguments.out.mkdir(parents=True, exist_ok=True)
    picture = arguments.out / "counterfactual.png"
    panels: dict[str, Panel] = {
        "query": (query, None),
        f"best result, {similarities[0]:.3f}": (best, None),
        f"second best, {similarities[1]:.3f}": (second, None),
        "best over its blur": (best, best_alone),
        "query: the best, not the second": (query, why.of_query),
        "best over the second": (best, why.of_better),
        "second over the best": (second, why.of_worse),
        "second over its blur": (second, second_alone),
    }
    draw(panels).savefig(picture)
    print(f"picture: {picture}")


if __name__ == "__main__":
    main()
