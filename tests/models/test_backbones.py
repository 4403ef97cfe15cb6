"""Encoders by name: their weights come from files of every kind, and files that do not fit are refused."""

from argparse import Namespace
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from conftest import fail, seeded
from model_cases import image, normalise
from safetensors.torch import save_file
from skimage.data import chelsea, coffee, stereo_motorcycle
from torch import Tensor, nn
from torch.testing import assert_close

import captum_pairwise as cp
from captum_pairwise import SimilarityWrapper
from captum_pairwise.models.backbones import BACKBONES, MOCO_PREFIX, ImageEncoder, create, parse
from captum_pairwise.network.layer_view import view_layer

MAPS = {
    "resnet50": (1, 2048, 7, 7),
    "resnet50_margin": (1, 128),
    "moco_v2": (1, 2048, 7, 7),
    "vgg11": (1, 512, 7, 7),
    "densenet121": (1, 1024, 7, 7),
    "efficientnet_lite0": (1, 1280, 7, 7),
}


@cache
def network(name: str) -> nn.Module:
    return getattr(torchvision.models, name)().eval()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    """A weight file of 100 MB, removed after the test, because pytest keeps its folders."""
    yield tmp_path / "weights.pth"
    for path in tmp_path.iterdir():
        path.unlink()


@pytest.mark.parametrize("name", [name for name in BACKBONES if name != "efficientnet_lite0"])
def test_random_weights_are_warned_of(name: str) -> None:
    with pytest.warns(UserWarning, match=f"{name} has random weights"):
        encoder = create(name)
    assert not any(module.training for module in encoder.modules())
    with torch.no_grad():
        assert encoder(image(224)[:1]).shape == MAPS[name]


def test_parse_reads_a_backbone_and_its_file(file: Path) -> None:
    weights = network("resnet50").state_dict()
    torch.save(weights, file)
    for key, value in parse(f"resnet50={file}").features.state_dict().items():
        assert torch.equal(value, weights[key])
    with pytest.warns(UserWarning, match="resnet50 has random weights"):
        parse("resnet50")
    for text, message in (("resnet5", "one of"), (f"resnet50={file}.gone", "followed by a file"), ("resnet50=", "followed by a file")):
        with pytest.raises(ValueError, match=message):
            parse(text)


@pytest.mark.filterwarnings("error")
def test_lite_has_weights_without_a_file() -> None:
    with torch.no_grad():
        assert create("efficientnet_lite0")(image(224)[:1]).shape == MAPS["efficientnet_lite0"]


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match=r"densenet121.*vgg11.*got 'resnet51'"):
        create("resnet51")


MAP_OF = {
    "resnet50": lambda net, x: net.layer4(net.layer3(net.layer2(net.layer1(net.maxpool(net.bn1(net.conv1(x)).relu()))))),
    "vgg11": lambda net, x: net.features(x),
    "densenet121": lambda net, x: net.features(x).relu(),
}


def drop_classifier(name: str) -> dict[str, Tensor]:
    return {key: value for key, value in network(name).state_dict().items() if not key.startswith(BACKBONES[name].unused)}


@torch.no_grad()
def assert_same_map(encoder: ImageEncoder, name: str) -> None:
    """The encoder gives the map of torchvision for images that are normalised by hand."""
    assert_close(encoder(image()), MAP_OF[name](network(name), normalise(image())))


@pytest.mark.parametrize("name", MAP_OF)
def test_map_equals_the_map_of_torchvision(name: str, file: Path) -> None:
    torch.save(drop_classifier(name), file)
    assert_same_map(create(name, file), name)


@pytest.mark.parametrize("content", [network("resnet50").state_dict, lambda: drop_classifier("resnet50")], ids=["fc", "no fc"])
def test_safetensors_are_read(content: Callable[[], dict[str, Tensor]], file: Path) -> None:
    file = file.with_suffix(".safetensors")
    save_file(content(), file)
    assert_same_map(create("resnet50", str(file)), "resnet50")


def test_classifier_is_ignored(file: Path) -> None:
    torch.save({"state_dict": network("resnet50").state_dict() | {"fc.weight": torch.zeros(3, 2048)}, "epoch": 3}, file)
    assert_same_map(create("resnet50", file), "resnet50")


def test_moco_checkpoint_is_read(file: Path) -> None:
    query = {MOCO_PREFIX + key: value for key, value in drop_classifier("resnet50").items()}
    head = {f"{MOCO_PREFIX}fc.{layer}.weight": torch.zeros(2, 2) for layer in (0, 2)}
    key_encoder = {"module.encoder_k." + key: torch.zeros_like(value[:1]) for key, value in query.items() if value.dim()}
    torch.save({"epoch": 200, "arch": "resnet50", "state_dict": query | head | key_encoder | {"module.queue": torch.zeros(2)}}, file)
    assert_same_map(create("moco_v2", file), "resnet50")


@pytest.mark.parametrize("name", ["resnet50", "resnet50_margin", "moco_v2", "densenet121"])
def test_weights_of_another_network_are_refused(name: str, file: Path) -> None:
    torch.save(torchvision.models.resnet18().state_dict(), file)
    with pytest.raises(ValueError, match=r"Expected weights\.pth to hold the weights of a .* missing"):
        create(name, file)


def test_weights_of_another_shape_are_refused(file: Path) -> None:
    torch.save(drop_classifier("densenet121") | {"features.conv0.weight": torch.zeros(64, 1, 7, 7)}, file)
    with pytest.raises(ValueError, match=r"1 of other shape or kind \['features.conv0.weight'\]"):
        create("densenet121", file)


def test_one_missing_tensor_is_named(file: Path) -> None:
    state = drop_classifier("densenet121")
    torch.save({key: value for key, value in state.items() if key != "features.norm5.bias"}, file)
    with pytest.raises(ValueError, match=r"1 missing \['features.norm5.bias'\]"):
        create("densenet121", file)


def test_one_unknown_tensor_is_named(file: Path) -> None:
    torch.save(drop_classifier("densenet121") | {"features.conv1.weight": torch.zeros(1)}, file)
    with pytest.raises(ValueError, match=r"1 unknown \['features.conv1.weight'\]"):
        create("densenet121", file)


def margin_state(size: int) -> dict[str, Tensor]:
    """A state dict as Roth et al. save it: each layer is there twice, the embedding has the name last_linear."""
    state = drop_classifier("resnet50")
    layers = {f"layer_blocks.{int(key[5]) - 1}.{key[7:]}": value for key, value in state.items() if key.startswith("layer")}
    weight, bias = (torch.randn(size, *rest, generator=seeded(k)) / 45 for k, rest in enumerate([(2048,), ()]))
    linear = {"model.last_linear.weight": weight, "model.last_linear.bias": bias}
    return {f"model.{key}": value for key, value in state.items()} | linear | layers


@torch.no_grad()
def assert_margin_embeddings(encoder: ImageEncoder, state: dict[str, Tensor]) -> None:
    """The encoder gives torchvision's pooled map through the linear layer, and that map is its layer to explain."""
    pooled = MAP_OF["resnet50"](network("resnet50"), normalise(image())).mean((2, 3))
    assert_close(encoder(image()), pooled @ state["model.last_linear.weight"].T + state["model.last_linear.bias"])
    assert_close(encoder.features(normalise(image())).mean((2, 3)), pooled)


@pytest.mark.parametrize("size", [128, 5])
def test_margin_checkpoint_is_read(size: int, file: Path) -> None:
    state = margin_state(size)
    torch.save({"state_dict": state, "opt": {"embed_dim": size, "arch": "resnet50_frozen_normalize"}, "aux": None}, file)
    assert_margin_embeddings(create("resnet50_margin", file), state)


class Log:
    """A class of the training code, like the settings and the log in the checkpoints of Roth et al."""

    def __init__(self) -> None:
        self.recall = [np.float64(0.5)]


def margin_checkpoint() -> dict[str, object]:
    return {"state_dict": margin_state(5), "opt": Namespace(device=torch.device("cuda"), embed_dim=5), "progress": {"Test": Log()}}


def test_settings_and_logs_in_a_checkpoint_are_not_loaded(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(margin_checkpoint(), file)
    monkeypatch.setattr(Log, "__new__", fail)
    assert_margin_embeddings(create("resnet50_margin", file), margin_state(5))


def test_old_checkpoints_with_settings_are_refused(file: Path) -> None:
    torch.save(margin_checkpoint(), file, _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match=r"Save only a state dict"):
        create("resnet50_margin", file)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"model.last_linear.weight": torch.zeros(5, 7)}, r"1 of other shape or kind \['last_linear.weight'\]"),
        ({"model.last_linear.bias": torch.zeros(6)}, r"1 of other shape or kind \['last_linear.bias'\]"),
        ({"model.last_linear.weight": torch.zeros(())}, "of other shape or kind"),
        ({"model.extra.weight": torch.zeros(6)}, r"1 unknown \['extra.weight'\]"),
    ],
)
def test_another_margin_head_is_refused(change: dict[str, Tensor], problem: str, file: Path) -> None:
    torch.save(margin_state(5) | change, file)
    with pytest.raises(ValueError, match=problem):
        create("resnet50_margin", file)


def test_a_plain_resnet_is_refused_as_a_margin_model(file: Path) -> None:
    torch.save(network("resnet50").state_dict(), file)
    with pytest.raises(ValueError, match="320 missing"):
        create("resnet50_margin", file)


def test_the_head_of_the_margin_model_is_an_affine_tail(file: Path) -> None:
    torch.save(margin_state(5), file)
    encoder = create("resnet50_margin", file)
    tail = view_layer(encoder, encoder.features, image()).tail
    assert tail.is_affine and not tail.reruns
    maps = cp.LayerSAM(SimilarityWrapper(encoder), encoder.features).attribute((image()[:1], image()[1:]))
    assert [one.shape for one in maps] == [(1, 1, 2, 2)] * 2


@pytest.mark.parametrize("content", [b"hello", b"<!doctype html>", b"Not found"])
@pytest.mark.parametrize("name", ["page.pth", "page.safetensors"])
def test_other_files_are_refused(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"Expected {name} to be a file of weights"):
        create("densenet121", tmp_path / name)


@pytest.mark.parametrize("content", [[1], {1: torch.ones(2)}, {"state_dict": torch.ones(2)}, torch.ones(2)], ids=type)
def test_files_without_a_state_dict_are_refused(content: object, file: Path) -> None:
    torch.save(content, file)
    with pytest.raises(ValueError, match=r"Expected weights\.pth"):
        create("densenet121", file)


@torch.no_grad()
def test_lite_finds_the_other_view_of_a_scene() -> None:
    left, right, _ = stereo_motorcycle()
    lite = create("efficientnet_lite0")
    embeddings = [lite(lite.preprocess(photo)).mean((2, 3)) for photo in (left, right, coffee(), chelsea())]
    match, *others = [torch.cosine_similarity(embeddings[0], embedding).item() for embedding in embeddings[1:]]
    assert match > max(others)


@torch.no_grad()
def test_lite_normalises_as_in_training() -> None:
    lite = create("efficientnet_lite0")
    lite.features = nn.Identity()
    assert_close(lite(image()), (image() * 255 - 127) / 128)  # its package takes bytes
