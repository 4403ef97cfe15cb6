"""Cases that several test files share: tiny encoders and random games."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from captum_pairwise import SimilarityWrapper
from captum_pairwise.game import CallableGame, TwoTowerGame

torch.set_num_threads(1)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_tensor(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def tiny_encoder(seed: int = 0) -> nn.Sequential:
    """Three convolutions to a map [B, 6, 3, 3] of a 3×12×12 image, float64; layer 4 is the last, layers 0 and 2 are followed by more."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3)).double()
    with torch.no_grad():
        for index, parameter in enumerate(network.parameters()):
            spread = parameter[0].numel() ** -0.5 if parameter.dim() > 1 else 0.5
            parameter.copy_(2 * spread * random_tensor(*parameter.shape, seed=100 * seed + index))
    return network.eval()


def images(batch: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A batch of pairs of random 3×12×12 images in [0, 1], float64."""
    return tuple(torch.rand(batch, 3, 12, 12, generator=seeded(seed + k), dtype=torch.float64) for k in range(2))


def relu_tower(n_players: int, seed: int, channels: int = 20) -> Callable[[Tensor], Tensor]:
    """The unit embedding of a masked random input by a random ReLU network of three layers; not zero at the zero baseline."""
    sizes = [n_players, 20, 20, channels]
    weights = [random_tensor(a, b, seed=10 * seed + k) * (2 / a) ** 0.5 for k, (a, b) in enumerate(pairwise(sizes))]
    biases = [random_tensor(size, seed=10 * seed + 5 + k) / 2 for k, size in enumerate(sizes[1:])]
    inputs = random_tensor(n_players, seed=10 * seed + 9)

    def embed(z: Tensor) -> Tensor:
        hidden = z.double() * inputs
        for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            hidden = hidden @ weight + bias
            hidden = hidden.relu() if layer < 2 else hidden
        return nn.functional.normalize(hidden, dim=1)

    return embed


def relu_game(n_query: int, n_retrieved: int, seed: int) -> TwoTowerGame:
    return TwoTowerGame(n_query, n_retrieved, relu_tower(n_query, 2 * seed), relu_tower(n_retrieved, 2 * seed + 1))


def smooth_game(n_query: int, n_retrieved: int, seed: int) -> TwoTowerGame:
    """The cosine of two random networks of one hidden layer, smooth on the whole cube."""

    def tower(n_players: int, seed: int) -> Callable[[Tensor], Tensor]:
        inner, offset, outer = (
            random_tensor(n_players, 12, seed=seed) / 2,
            random_tensor(12, seed=seed + 1),
            random_tensor(12, 7, seed=seed + 2),
        )
        return lambda z: nn.functional.normalize(torch.tanh(z.double() @ inner + offset) @ outer, dim=1)

    return TwoTowerGame(n_query, n_retrieved, tower(n_query, 10 * seed), tower(n_retrieved, 10 * seed + 5))


def opaque(game: TwoTowerGame) -> CallableGame:
    """The same values, without the towers."""
    return CallableGame(game.n_query, game.n_retrieved, game.values)


def looked_up(table: Tensor) -> Callable[[Tensor], Tensor]:
    """The row of each coalition in a table of all."""
    return lambda z: table[(z.long() << torch.arange(z.shape[1])).sum(1)]


def random_game(n_query: int, n_retrieved: int, seed: int) -> CallableGame:
    """A game with an independent random value for every coalition."""
    n_players = n_query + n_retrieved
    return CallableGame(n_query, n_retrieved, looked_up(random_tensor(2**n_players, seed=seed)))


@pytest.fixture(params=["cosine", "dot", "euclidean"])
def similarity(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def model() -> SimilarityWrapper:
    """Cosine similarity of two tied tiny encoders."""
    return SimilarityWrapper(tiny_encoder())
