"""Random networks of many families, and networks after training."""

import copy

import pytest
import torch
import torchvision
from conftest import seeded
from torch import nn

from captum_pairwise.explanations.untrained import find_untrained

NAMES = ["alexnet", "densenet121", "efficientnet_b0", "mobilenet_v3_small", "regnet_y_400mf", "resnet18", "squeezenet1_1", "swin_t"]
RANDOM, RANDOM_HEAD = "the network has random weights", "the last layer of the network has random weights"


def photos(n_images: int = 2) -> torch.Tensor:
    return torch.rand(n_images, 3, 64, 64, generator=seeded(0))


@pytest.mark.parametrize("name", NAMES)
def test_random_networks_are_found(name: str) -> None:
    torch.manual_seed(0)
    assert find_untrained(getattr(torchvision.models, name)().eval(), photos()) == RANDOM


def test_a_branch_that_starts_at_0_is_no_sign_of_training() -> None:
    torch.manual_seed(0)
    encoder = torchvision.models.resnet18(zero_init_residual=True).eval()
    assert find_untrained(encoder, photos()) == RANDOM


def test_normal_weights_by_lecun_are_found() -> None:
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Flatten(), *(nn.Linear(3 * 64**2 if k == 0 else 40, 40) for k in range(5)))
    for layer in encoder[1:]:
        nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
    assert find_untrained(encoder, photos()) == RANDOM
    nn.init.normal_(encoder[2].weight, std=3 * encoder[2].in_features ** -0.5)
    assert find_untrained(encoder, photos()) is None


def test_training_removes_the_warning_and_a_new_head_brings_its_own() -> None:
    torch.manual_seed(0)
    encoder = torchvision.models.resnet18()
    optimiser = torch.optim.SGD(encoder.parameters(), lr=1.0)
    for _ in range(3):
        optimiser.zero_grad()
        (-encoder(photos()).square().mean()).backward()
        optimiser.step()
    encoder.eval()
    assert find_untrained(encoder, photos()) is None
    tuned = copy.deepcopy(encoder)
    tuned.fc = nn.Linear(512, 64)
    assert find_untrained(tuned.eval(), photos()) == RANDOM_HEAD
