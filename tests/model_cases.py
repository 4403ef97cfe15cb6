"""Heads written out, encoders and counters for the tests of similarity models."""

from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest
import torch
import torchvision
from conftest import random_tensor, seeded, tiny_encoder
from torch import Tensor, nn

from captum_pairwise import SimilarityWrapper

close = partial(torch.testing.assert_close, rtol=0, atol=1e-12)
exactly = partial(torch.testing.assert_close, rtol=0, atol=0)
PROOF_ROWS = 3  # one image, and a batch of two: they show once a model that it is deterministic and takes batches
BATCH_NORM, DROPOUT = 5, 6  # layers of `full_encoder` after those of `tiny_encoder`


def asymmetric(u: Tensor, w: Tensor) -> Tensor:
    return (u * w.square()).sum(1)


SLOW_HEADS = {
    "cosine": lambda u, w: u @ w / (u.norm() * w.norm()),
    "dot": lambda u, w: sum(a * b for a, b in zip(u, w, strict=True)),
    "euclidean": lambda u, w: -sum((a - b) ** 2 for a, b in zip(u, w, strict=True)),
    asymmetric: lambda u, w: sum(a * b**2 for a, b in zip(u, w, strict=True)),
}
TOKEN_HEADS = pytest.mark.parametrize("name", ["maxsim", "meanmaxsim"])
SIMILARITIES = pytest.mark.parametrize("similarity", SLOW_HEADS, ids=["cosine", "dot", "euclidean", "callable"])
NAMED = pytest.mark.parametrize("similarity", [name for name in SLOW_HEADS if isinstance(name, str)])


def slow_scores(similarity: str | Callable, u: Tensor, w: Tensor) -> Tensor:
    return torch.stack([SLOW_HEADS[similarity](a, b) for a, b in zip(u, w, strict=True)])


def slow_maxsim(name: str, u: Tensor, w: Tensor) -> float:
    """MaxSim of the tokens `[T, C]` of one pair; tokens that are 0 are left out."""
    query, retrieved = ([token for token in tokens if token.abs().sum() > 0] for tokens in (u, w))
    best = [max((float(q @ d) for d in retrieved), default=0.0) for q in query]
    return sum(best) / max(len(best), 1) if name == "meanmaxsim" else sum(best)


def token_embeddings() -> tuple[Tensor, Tensor]:
    """Tokens of four pairs with padding at the end or in the middle; the last two have a side without tokens."""
    u, w = random_tensor(4, 3, 5, seed=1), random_tensor(4, 4, 5, seed=2)
    u[1, 2], w[1, 1:3], w[2], u[3] = 0, 0, 0, 0
    return u, w


def embeddings(rows: int = 5) -> tuple[Tensor, Tensor]:
    return random_tensor(rows, 7, seed=1), random_tensor(rows, 7, seed=2)


def pool(output: Tensor) -> Tensor:
    """The mean over the positions of a map `[B, C, H, W]`; embeddings as they are."""
    return output.mean((2, 3)) if output.dim() == 4 else output


def full_encoder(seed: int = 0) -> nn.Sequential:
    """A tiny encoder with buffers, and with a dropout that acts in train mode."""
    norm = nn.BatchNorm2d(6).double()
    norm.running_mean = random_tensor(6, seed=seed)
    return nn.Sequential(*tiny_encoder(seed), norm, nn.Dropout(0.3)).eval()


def score_with_encoder(model: SimilarityWrapper, encoder: nn.Module, query: Tensor, retrieved: Tensor) -> Tensor:
    """The similarity if one encoder embeds both images."""
    return model.head.score(pool(encoder(query)), pool(encoder(retrieved)))


def count_calls(*modules: nn.Module) -> Counter:
    calls = Counter()
    for module in modules:
        module.register_forward_hook(lambda *_, hooked=module: calls.update([hooked]))
    return calls


IMAGENET = torchvision.models.ResNet50_Weights.IMAGENET1K_V1.transforms()


def image(size: int = 64) -> Tensor:
    return torch.rand(2, 3, size, size, generator=seeded(0))


def normalise(images: Tensor) -> Tensor:
    return (images - torch.tensor(IMAGENET.mean)[:, None, None]) / torch.tensor(IMAGENET.std)[:, None, None]
