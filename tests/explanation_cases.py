"""Photos, encoders and results for the tests of explanations."""

from pathlib import Path

import numpy as np
import torch
from conftest import seeded, tiny_encoder
from PIL import Image
from torch import Tensor, nn

from captum_pairwise.explanations.contents import Photo, Sentence
from captum_pairwise.explanations.places import Places
from captum_pairwise.players.regions import cells
from captum_pairwise.results.interactions import Interactions

BLURRED = ("blurred", "blurred")


def make_photo(width: int = 40, height: int = 30, seed: int = 0) -> Image.Image:
    pixels = torch.rand(height, width, 3, generator=seeded(seed)) * 255
    return Image.fromarray(pixels.numpy().astype(np.uint8))


def save_photo(folder: Path, name: str, seed: int = 0) -> Path:
    make_photo(seed=seed).save(folder / name)
    return folder / name


def to_input(photo: Image.Image) -> Tensor:
    """The input of `tiny_encoder`, in float64."""
    return torch.from_numpy(np.asarray(photo.resize((12, 12)))).permute(2, 0, 1).double() / 255


def train_a_little(network: nn.Module) -> nn.Module:
    """Other weights than those of an initialisation: nothing stays in its bounds."""
    with torch.no_grad():
        for k, parameter in enumerate(network.parameters()):
            parameter.mul_(1.5).add_(0.1 * torch.randn(parameter.shape, generator=seeded(k)).to(parameter))
    return network


def encoder_of_photos(seed: int = 0) -> nn.Module:
    encoder = tiny_encoder(seed)
    encoder.transform = to_input
    return encoder


def make_pair(
    query_map: list[float], retrieved_map: list[float], full: float = 0.9, ends: tuple[float, float] = (0.4, 0.5)
) -> Interactions:
    """Results of a row of parts of either photo; the pairs are the products of the maps."""
    maps = torch.tensor([query_map + retrieved_map], dtype=torch.float64)
    players = [cells(torch.zeros(1, 1, 1, len(credits)), 1) for credits in (query_map, retrieved_map)]
    return Interactions(
        n_query=len(query_map),
        empty=torch.tensor([0.3], dtype=torch.float64),
        full=torch.tensor([full], dtype=torch.float64),
        without_query=torch.tensor([ends[0]], dtype=torch.float64),
        without_retrieved=torch.tensor([ends[1]], dtype=torch.float64),
        n_evaluations=torch.tensor([8]),
        given_other=maps,
        between=maps[:, : len(query_map), None] * maps[:, None, len(query_map) :],
        query_players=players[0],
        retrieved_players=players[1],
    )


def photo(name: str, width: int = 60, height: int = 20) -> Photo:
    return Photo(torch.rand(1, 3, height, width, generator=seeded(0)), name, (0, 0, width, height))


def sentence(text: str) -> Sentence:
    return Sentence(tuple(text.split()), text)


def places_of(interactions: Interactions, contents: tuple = ()) -> tuple[Places, Places]:
    query, retrieved = contents or (photo("query"), photo("retrieved"))
    return Places(query, interactions.query_players), Places(retrieved, interactions.retrieved_players)


def relative(values: Tensor, expected: Tensor) -> float:
    return ((values - expected).norm() / expected.norm()).item()
