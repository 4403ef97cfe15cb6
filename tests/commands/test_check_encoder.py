from collections import OrderedDict

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


def make_two():
    return SimilarityWrapper(make_safe(), nn.Sequential(nn.Conv2d(3, 4, 5, stride=5), Drawing()))


class Tokens(nn.Module):
    """A map [B, positions, channels], whose axes nothing tells."""

    def forward(self, images):
        return images.unfold(2, 5, 5).mean((3, 4)).transpose(1, 2)


def make_tokens():
    return SimilarityWrapper(Tokens(), layout="NTC")


def make_other_names():
    return SimilarityWrapper(
        nn.Sequential(OrderedDict(own=nn.Conv2d(3, 4, 5, stride=5), pool=nn.AdaptiveAvgPool2d(1), end=nn.Flatten())), make_safe()
    )


def make_function():
    return lambda query, retrieved: query


@pytest.mark.parametrize("name", ["make_safe", "make_wrapper"])
def test_a_safe_encoder_passes(name, capsys):
    assert run_command(["check", f"{__name__}:{name}", "--layer", "1", "--size", "20"]) == 0
    printed = capsys.readouterr().out
    assert "output [1, 4, 4, 4], channels on axis 1, 4 × 4 players" in printed and "fails" not in printed


def test_both_encoders_of_a_wrapper_are_checked(capsys):
    assert run_command(["check", f"{__name__}:make_two", "--size", "20"]) == FAILED
    first, second = capsys.readouterr().out.split("encoder of the retrieved images:\n")
    assert first.startswith("encoder of the query:\n") and "fails" not in first and "fails" in second


def test_the_layout_of_a_wrapper_is_known(capsys):
    assert run_command(["check", f"{__name__}:make_tokens", "--size", "20"]) == 0
    assert "embeddings [1, 3]" in capsys.readouterr().out


@pytest.mark.parametrize("layer", ["own", "1"])
def test_a_layer_may_be_of_one_encoder(layer, capsys):
    assert run_command(["check", f"{__name__}:make_other_names", "--size", "20", "--layer", layer, "--layout", "NCHW"]) == 0
    reports = capsys.readouterr().out.split("encoder of the retrieved images:\n")
    assert ["4 × 4 players" in report for report in reports] == [layer == "own", layer == "1"]


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
