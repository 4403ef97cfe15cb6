"""Networks as their initialisation leaves them are found, and trained ones are not."""

import pytest
import torch
from conftest import seeded
from explanation_cases import train_a_little
from torch import nn
from torchvision import models

from captum_pairwise.explanations.untrained import find_untrained

IMAGES = torch.rand(1, 3, 64, 64, generator=seeded(0))
RANDOM, HEAD = "the network has random weights", "the last layer of the network has random weights"


def without_norms(n_layers=5):
    convolutions = [layer for _ in range(n_layers) for layer in (nn.Conv2d(16, 16, 3, padding=1), nn.ReLU())]
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), *convolutions, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 32))


@pytest.mark.parametrize("build", [models.resnet18, models.mobilenet_v3_small, models.vgg11, models.squeezenet1_1, without_norms])
def test_random_networks_are_found(build):
    torch.manual_seed(0)
    network = build().eval()
    if build is models.vgg11:
        network = network.features
    assert find_untrained(network, IMAGES) == RANDOM
    assert find_untrained(train_a_little(network), IMAGES) is None


def test_a_random_last_layer_is_found():
    torch.manual_seed(0)
    network = train_a_little(models.resnet18().eval())
    network.fc = nn.Linear(512, 64)
    assert find_untrained(network, IMAGES) == HEAD


def test_a_layer_that_does_not_run_does_not_count():
    torch.manual_seed(0)
    network = train_a_little(models.resnet18().eval())
    network.unused = nn.Linear(512, 64)
    assert find_untrained(network, IMAGES) is None


def test_other_initialisations_are_found():
    torch.manual_seed(0)
    network = without_norms()
    for layer in network:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_normal_(layer.weight)
    assert find_untrained(network, IMAGES) == RANDOM


def test_a_small_network_is_not_judged():
    assert find_untrained(nn.Sequential(nn.Conv2d(3, 4, 3)), IMAGES) is None
