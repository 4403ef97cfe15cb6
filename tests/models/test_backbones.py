from argparse import Namespace
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from conftest import LAYER_MASKS, fail, images, random_tensor, seeded, tiny_encoder
from PIL import Image
from safetensors.torch import save_file
from skimage.data import chelsea, coffee, stereo_motorcycle
from torch import Tensor, nn
from torch.testing import assert_close

import captum_pairwise as cp
from captum_pairwise import SimilarityWrapper
from captum_pairwise.models.backbones import BACKBONES, MOCO_PREFIX, ImageEncoder, create, parse
from captum_pairwise.network.layer_view import view_layer

IMAGENET = torchvision.models.ResNet50_Weights.IMAGENET1K_V1.transforms()
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


def image(size: int = 64) -> Tensor:
    return torch.rand(2, 3, size, size, generator=seeded(0))


def normalised(images: Tensor) -> Tensor:
    return (images - torch.tensor(IMAGENET.mean)[:, None, None]) / torch.tensor(IMAGENET.std)[:, None, None]


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    """A file of weights, removed at once: pytest keeps its folders, and these are 100 MB each."""
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


def test_a_command_line_names_a_backbone_and_its_file(file: Path) -> None:
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
def test_lite_comes_with_its_weights() -> None:
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


def without_classifier(name: str) -> dict[str, Tensor]:
    return {key: value for key, value in network(name).state_dict().items() if not key.startswith(BACKBONES[name].unused)}


@torch.no_grad()
def assert_is(encoder: ImageEncoder, name: str) -> None:
    """The encoder gives torchvision's map of images that are normalised by hand."""
    assert_close(encoder(image()), MAP_OF[name](network(name), normalised(image())))


@pytest.mark.parametrize("name", MAP_OF)
def test_map_is_torchvisions(name: str, file: Path) -> None:
    torch.save(without_classifier(name), file)
    assert_is(create(name, file), name)


@pytest.mark.parametrize("content", [network("resnet50").state_dict, lambda: without_classifier("resnet50")], ids=["fc", "no fc"])
def test_safetensors_are_read(content: Callable[[], dict[str, Tensor]], file: Path) -> None:
    file = file.with_suffix(".safetensors")
    save_file(content(), file)
    assert_is(create("resnet50", str(file)), "resnet50")


def test_classifier_is_ignored(file: Path) -> None:
    torch.save({"state_dict": network("resnet50").state_dict() | {"fc.weight": torch.zeros(3, 2048)}, "epoch": 3}, file)
    assert_is(create("resnet50", file), "resnet50")


def test_moco_checkpoint_is_read(file: Path) -> None:
    query = {MOCO_PREFIX + key: value for key, value in without_classifier("resnet50").items()}
    head = {f"{MOCO_PREFIX}fc.{layer}.weight": torch.zeros(2, 2) for layer in (0, 2)}
    key_encoder = {"module.encoder_k." + key: torch.zeros_like(value[:1]) for key, value in query.items() if value.dim()}
    torch.save({"epoch": 200, "arch": "resnet50", "state_dict": query | head | key_encoder | {"module.queue": torch.zeros(2)}}, file)
    assert_is(create("moco_v2", file), "resnet50")


@pytest.mark.parametrize("name", ["resnet50", "resnet50_margin", "moco_v2", "densenet121"])
def test_weights_of_another_network_are_refused(name: str, file: Path) -> None:
    torch.save(torchvision.models.resnet18().state_dict(), file)
    with pytest.raises(ValueError, match=r"Expected weights\.pth to hold the weights of a .* tensors are missing"):
        create(name, file)


def test_weights_of_another_shape_are_refused(file: Path) -> None:
    torch.save(without_classifier("densenet121") | {"features.conv0.weight": torch.zeros(64, 1, 7, 7)}, file)
    with pytest.raises(ValueError, match=r"1 have another shape or kind of numbers \(\['features.conv0.weight'\]\)"):
        create("densenet121", file)


def test_one_missing_tensor_is_named(file: Path) -> None:
    state = without_classifier("densenet121")
    torch.save({key: value for key, value in state.items() if key != "features.norm5.bias"}, file)
    with pytest.raises(ValueError, match=r"1 tensors are missing \(first: \['features.norm5.bias'\]\)"):
        create("densenet121", file)


def test_one_unknown_tensor_is_named(file: Path) -> None:
    torch.save(without_classifier("densenet121") | {"features.conv1.weight": torch.zeros(1)}, file)
    with pytest.raises(ValueError, match=r"1 are unknown \(\['features.conv1.weight'\]\)"):
        create("densenet121", file)


def margin_state(size: int) -> dict[str, Tensor]:
    """A state dict as Roth et al. save it: the layers stand twice, the embedding is called last_linear."""
    state = without_classifier("resnet50")
    layers = {f"layer_blocks.{int(key[5]) - 1}.{key[7:]}": value for key, value in state.items() if key.startswith("layer")}
    weight, bias = (torch.randn(size, *rest, generator=seeded(k)) / 45 for k, rest in enumerate([(2048,), ()]))
    linear = {"model.last_linear.weight": weight, "model.last_linear.bias": bias}
    return {f"model.{key}": value for key, value in state.items()} | linear | layers


@torch.no_grad()
def assert_is_margin(encoder: ImageEncoder, state: dict[str, Tensor]) -> None:
    """The encoder gives torchvision's pooled map through the linear layer, and that map is its layer to explain."""
    pooled = MAP_OF["resnet50"](network("resnet50"), normalised(image())).mean((2, 3))
    assert_close(encoder(image()), pooled @ state["model.last_linear.weight"].T + state["model.last_linear.bias"])
    assert_close(encoder.features(normalised(image())).mean((2, 3)), pooled)


@pytest.mark.parametrize("size", [128, 5])
def test_margin_checkpoint_is_read(size: int, file: Path) -> None:
    state = margin_state(size)
    torch.save({"state_dict": state, "opt": {"embed_dim": size, "arch": "resnet50_frozen_normalize"}, "aux": None}, file)
    assert_is_margin(create("resnet50_margin", file), state)


class Log:
    """Is pickled by its module and name, as the settings and the log in Roth et al.'s checkpoints are."""

    def __init__(self) -> None:
        self.recall = [np.float64(0.5)]


def margin_checkpoint() -> dict[str, object]:
    return {"state_dict": margin_state(5), "opt": Namespace(device=torch.device("cuda"), embed_dim=5), "progress": {"Test": Log()}}


def test_settings_and_logs_in_a_checkpoint_stay_unread(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(margin_checkpoint(), file)
    monkeypatch.setattr(Log, "__new__", fail)
    assert_is_margin(create("resnet50_margin", file), margin_state(5))


def test_old_checkpoints_with_settings_are_refused(file: Path) -> None:
    torch.save(margin_checkpoint(), file, _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match=r"is not executed\. Save the state dict alone"):
        create("resnet50_margin", file)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"model.last_linear.weight": torch.zeros(5, 7)}, r"1 have another shape or kind of numbers \(\['last_linear.weight'\]\)"),
        ({"model.last_linear.bias": torch.zeros(6)}, r"1 have another shape or kind of numbers \(\['last_linear.bias'\]\)"),
        ({"model.last_linear.weight": torch.zeros(())}, "have another shape"),
        ({"model.extra.weight": torch.zeros(6)}, r"1 are unknown \(\['extra.weight'\]\)"),
    ],
)
def test_another_margin_head_is_refused(change: dict[str, Tensor], problem: str, file: Path) -> None:
    torch.save(margin_state(5) | change, file)
    with pytest.raises(ValueError, match=problem):
        create("resnet50_margin", file)


def test_a_plain_resnet_is_no_margin_model(file: Path) -> None:
    torch.save(network("resnet50").state_dict(), file)
    with pytest.raises(ValueError, match="320 tensors are missing"):
        create("resnet50_margin", file)


def headed() -> ImageEncoder:
    """A tiny encoder with a head as the margin model's, float64."""
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4).double())
    with torch.no_grad():
        for seed, parameter in enumerate(head.parameters()):
            parameter.copy_(random_tensor(*parameter.shape, seed=seed))
    return ImageEncoder(tiny_encoder(), head=head).double().eval()


def embeddings_of_coalitions(encoder: ImageEncoder, image: Tensor, mask: Tensor) -> Tensor:
    """The embedding of each set of parts of an image's map, the rest of which is 0.3; set S at bit mask S."""
    features, n_parts = encoder.features((image - encoder.mean) / encoder.std), int(mask.max()) + 1
    present = [[bool(parts >> part & 1) for part in range(n_parts)] for parts in range(2**n_parts)]
    kept = torch.tensor(present)[:, mask].view(-1, 1, 3, 3)
    return encoder.head(torch.where(kept, features, 0.3))


CELLS = torch.arange(9).view(3, 3)


@torch.no_grad()
def test_credit_of_a_headed_encoder_is_that_of_brute_force() -> None:
    encoder, pair = headed(), images(1)
    model, (query, retrieved) = SimilarityWrapper(encoder), pair
    given, whole = embeddings_of_coalitions(encoder, retrieved, CELLS), encoder(query)
    assert_close(given[-1:], encoder(retrieved))
    background = {"layer_baselines": (0.3, 0.3)}
    frozen = given @ whole[0] / whole.norm() / given[-1].norm()
    assert_close(cp.LayerSAM(model, encoder.features).attribute(pair, **background)[1].flatten(), cp.shapley_values(frozen))
    cosines = torch.cosine_similarity(given, whole)
    kernel = cp.LayerKernelSAM(model, encoder.features).attribute(pair, n_samples=2**9, **background)
    assert_close(kernel[1].flatten(), cp.shapley_values(cosines))


@torch.no_grad()
def test_pairwise_credit_of_a_headed_encoder_is_that_of_brute_force() -> None:
    encoder, pair = headed(), images(1)
    u, w = (embeddings_of_coalitions(encoder, image, mask) for image, mask in zip(pair, LAYER_MASKS, strict=True))
    cosines = torch.cosine_similarity(u[None], w[:, None], 2).flatten()  # the query's parts are the low bits
    method = cp.LayerFactorisedShapleyTaylor(SimilarityWrapper(encoder), encoder.features)
    found = method.interactions(pair, layer_baselines=(0.3, 0.3), layer_mask=LAYER_MASKS)
    _, first, second = cp.shapley_taylor(cosines)
    assert_close(found.between[0], second[: len(LAYER_MASKS[0].unique()), len(LAYER_MASKS[0].unique()) :])
    assert_close(found.first_order[0], first)


def test_the_head_of_the_margin_model_is_an_affine_tail(file: Path) -> None:
    torch.save(margin_state(5), file)
    encoder = create("resnet50_margin", file)
    tail = view_layer(encoder, encoder.features, image()).tail
    assert tail.is_affine and not tail.reruns
    maps = cp.LayerSAM(SimilarityWrapper(encoder), encoder.features).attribute((image()[:1], image()[1:]))
    assert [one.shape for one in maps] == [(1, 1, 2, 2)] * 2


@torch.no_grad()
def test_the_cosine_is_the_trained_similarity_of_the_margin_model() -> None:
    """Which divides embeddings by their norm: the other similarities of unit embeddings are the cosine too."""
    encoder, pair = headed(), images()
    u, w = (nn.functional.normalize(encoder(one)) for one in pair)
    cosine = SimilarityWrapper(encoder)(*pair)
    assert_close((u * w).sum(1), cosine)
    assert_close(-(u - w).square().sum(1), 2 * cosine - 2)


def test_without_a_head_the_features_are_returned_themselves() -> None:
    encoder = ImageEncoder(tiny_encoder()).double()
    assert torch.equal(encoder(images()[0]), encoder.features((images()[0] - encoder.mean) / encoder.std))
    assert view_layer(encoder, encoder.features, images()[0]).tail.is_affine
    assert set(encoder.state_dict()) == {"mean", "std", *(f"features.{key}" for key in tiny_encoder().state_dict())}


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
def test_lite_sees_that_two_views_are_alike() -> None:
    left, right, _ = stereo_motorcycle()
    lite = create("efficientnet_lite0")
    embeddings = [lite(lite.preprocess(photo)).mean((2, 3)) for photo in (left, right, coffee(), chelsea())]
    match, *others = [torch.cosine_similarity(embeddings[0], embedding).item() for embedding in embeddings[1:]]
    assert match > max(others)


@torch.no_grad()
def test_lite_normalises_as_it_was_trained() -> None:
    lite = create("efficientnet_lite0")
    lite.features = nn.Identity()
    assert_close(lite(image()), (image() * 255 - 127) / 128)  # bytes, as its package wants them


def encoder(size: int = 8) -> ImageEncoder:
    return ImageEncoder(nn.Identity(), size=(size, size))


def photo(height: int, width: int) -> np.ndarray:
    return torch.randint(0, 256, (height, width, 3), generator=seeded(0)).byte().numpy()


def in_unit_interval(pixels: np.ndarray) -> Tensor:
    return torch.tensor(pixels).permute(2, 0, 1)[None] / 255


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize(
    "given",
    [
        lambda pixels, folder: pixels,
        lambda pixels, folder: Image.fromarray(pixels),
        lambda pixels, folder: saved(Image.fromarray(pixels), folder / "photo.png"),
        lambda pixels, folder: str(saved(Image.fromarray(pixels), folder / "photo.png")),
    ],
    ids=["array", "image", "path", "string"],
)
def test_preprocess_takes(given: Callable, tmp_path: Path) -> None:
    assert_close(encoder().preprocess(given(photo(8, 8), tmp_path)), in_unit_interval(photo(8, 8)))


@pytest.mark.parametrize("size", [(16, 12), (5, 30)])
def test_preprocess_resizes_the_whole_image(size: tuple[int, int]) -> None:
    expected = in_unit_interval(np.asarray(Image.fromarray(photo(*size)).resize((8, 8), Image.Resampling.BILINEAR)))
    assert_close(encoder().preprocess(photo(*size)), expected, rtol=0, atol=1 / 255)  # Pillow rounds to bytes


@pytest.mark.parametrize("as_array", [True, False])
def test_grey_becomes_rgb(as_array: bool) -> None:
    grey = photo(8, 8)[..., 0]
    expected = in_unit_interval(np.stack([grey] * 3, 2))
    assert_close(encoder().preprocess(grey if as_array else Image.fromarray(grey)), expected)


@pytest.mark.parametrize("as_array", [True, False])
def test_transparency_is_dropped(as_array: bool) -> None:
    transparent = np.concatenate([photo(8, 8), photo(8, 8)[..., :1]], 2)
    assert_close(encoder().preprocess(transparent if as_array else Image.fromarray(transparent)), in_unit_interval(photo(8, 8)))


def test_preprocessing_in_words() -> None:
    assert f"{list(IMAGENET.mean)}" in encoder().preprocessing
    assert "8x8" in encoder().preprocessing


@torch.no_grad()
def test_normalisation_is_inside() -> None:
    assert_close(encoder()(image()), normalised(image()))


def test_preprocess_follows_the_dtype_of_the_encoder() -> None:
    assert encoder().double().preprocess(photo(8, 8)).dtype == torch.float64
