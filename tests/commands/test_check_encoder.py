import pytest
import torch
from torch import nn

from captum_pairwise.commands.command_line import FAILED, WRONG_INPUT, run_command
from captum_pairwise.models.similarity import SimilarityWrapper


def make_safe():
    return nn.Sequential(nn.Conv2d(3, 4, 5, stride=5), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def make_wrapper():
    return SimilarityWrapper(make_safe())


class Drawing(nn.Module):
    def forward(self, images):
        return images.flatten(1)[:, :4] + torch.rand(4)


def make_random():
    return Drawing()


def make_function():
    return lambda query, retrieved: query


@pytest.mark.parametrize("name", ["make_safe", "make_wrapper"])
def test_a_safe_encoder_passes(name, capsys):
    assert run_command(["check", f"{__name__}:{name}", "--layer", "1", "--size", "20"]) == 0
    printed = capsys.readouterr().out
    assert "output [1, 4, 4, 4], channels on axis 1, 4 × 4 players" in printed and "fails" not in printed


def test_an_encoder_that_draws_at_random_fails(capsys):
    assert run_command(["check", f"{__name__}:make_random", "--size", "8"]) == FAILED
    assert "fails" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resnet49"], "'resnet49'"),
        ([f"{__name__}:make_safe", "--layer", "7"], "got '7'"),
        ([f"{__name__}:make_function"], "Expected an encoder"),
        ([f"{__name__}:nobody"], "nobody"),
        ([f"{__name__}:make_safe", "--size", "0"], "--size"),
    ],
    ids=["model", "layer", "function", "name", "size"],
)
def test_wrong_input_is_refused_in_one_line(arguments, message, capsys):
    assert run_command(["check", *arguments]) == WRONG_INPUT
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
