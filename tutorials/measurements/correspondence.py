"""Draw a picture of the gallery: two images of a cat and a cup, with lines between matching parts.

    python tutorials/measurements/correspondence.py
    python tutorials/measurements/correspondence.py --out folder

In the second image, cat and cup are mirrored and have exchanged their sides.
"""

import argparse
from pathlib import Path

import skimage.data
import torch

import captum_pairwise as cp
from captum_pairwise import backbones, visualization


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw a picture of the gallery.")
    parser.add_argument("--out", type=Path, default=Path("explanation"), help="folder for the picture")
    arguments = parser.parse_args()
    encoder = backbones.create("efficientnet_lite0")
    cat, cup = (encoder.preprocess(photo)[..., 56:168] for photo in (skimage.data.chelsea(), skimage.data.coffee()))
    query, retrieved = torch.cat([cat, cup], 3), torch.cat([cup.flip(3), cat.flip(3)], 3)
    method = cp.LayerFactorisedShapleyTaylor(cp.SimilarityWrapper(encoder), encoder.features)
    interactions = method.interactions((query, retrieved), n_samples=2000)
    arguments.out.mkdir(parents=True, exist_ok=True)
    picture = arguments.out / "correspondence.png"
    visualization.matches_figure(interactions, (query, retrieved), n_matches=8).savefig(picture)
    print(f"picture: {picture}")


if __name__ == "__main__":
    main()
