"""Coalitions per second: only the layers after the explained layer, compared with the whole network.

    python tutorials/measurements/tail_speed.py

A ResNet50's `layer4` on one pair of photos. Both ways give the same values. The weights are random; they do not change the speed.
"""

import copy
import time

import skimage.data
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor

import captum_pairwise as cp
from captum_pairwise.games.build import build_layer_pairs
from captum_pairwise.games.context import ForwardContext
from captum_pairwise.games.game import Game


def photo(pixels: object) -> Tensor:
    return F.interpolate(torch.as_tensor(pixels).permute(2, 0, 1)[None] / 255, (224, 224), mode="bilinear", antialias=True)


def coalitions_per_second(game: Game, z: Tensor) -> tuple[float, Tensor]:
    game.values(z[:2])
    start = time.perf_counter()
    values = game.values(z)
    return len(z) / (time.perf_counter() - start), values


@torch.no_grad()
def main() -> None:
    torch.manual_seed(0)
    encoder = torchvision.models.resnet50(weights=None, num_classes=128).eval()
    other = copy.deepcopy(encoder)
    left, right, _ = skimage.data.stereo_motorcycle()
    pair = (photo(left), photo(right))

    def hand_written(query: Tensor, retrieved: Tensor) -> Tensor:
        return F.cosine_similarity(encoder(query), other(retrieved))

    tail = next(build_layer_pairs(cp.SimilarityWrapper(encoder), encoder.layer4, pair, ForwardContext()).games())
    whole = next(build_layer_pairs(hand_written, (encoder.layer4, other.layer4), pair, ForwardContext()).games())
    z = torch.rand(20_000, tail.n_players) < torch.rand(20_000, 1)
    fast, values = coalitions_per_second(tail, z)
    slow, again = coalitions_per_second(whole, z[:32])
    print(f"{tail.n_players} cells: {fast:.0f} coalitions per second with the tail only, {slow:.2f} with the network: {fast / slow:.0f}x")
    print(f"largest difference between the two: {(values[:32] - again).abs().max():.1e}")


if __name__ == "__main__":
    main()
