"""Tiny random vision models of other libraries, and photos for them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from conftest import random_tensor
from PIL import Image
from torch import Tensor, nn

SIZE, PATCH = 16, 8  # a grid of 2 × 2 patches
SIZES = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
SQUARE = {"image_size": SIZE, "patch_size": PATCH}
PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 36, 3), np.uint8))


def randomise(network: Any) -> Any:
    """The network in float64 and evaluation mode, with weights far from those of an initialisation."""
    network = network.double().eval()
    with torch.no_grad():
        for seed, parameter in enumerate(network.parameters()):
            if parameter.dim():
                parameter.add_(random_tensor(*parameter.shape, seed=seed).to(parameter) * (0.4 if parameter.dim() > 1 else 0.2))
    return network


def take_class(output: Any) -> Tensor:
    return output.last_hidden_state[:, 0]


def take_pooled(output: Any) -> Tensor:
    return output.pooler_output.flatten(1)


def vision_cases(transformers: Any) -> dict[str, tuple[Callable[[], nn.Module], Any, Callable[[Any], Tensor]]]:
    """By name: a vision model of transformers, its processor, and the embedding in its output."""
    square, cut = {"size": {"height": SIZE, "width": SIZE}}, {"size": {"shortest_edge": 20}, "crop_size": {"height": SIZE, "width": SIZE}}
    deep = {"hidden_sizes": [4, 6, 8, 10], "depths": [1, 1, 1, 1]}
    vit, dinov2 = transformers.ViTConfig(**SIZES, **SQUARE), transformers.Dinov2Config(**SIZES, **SQUARE)
    clip = transformers.CLIPVisionConfig(**SIZES, **SQUARE, projection_dim=6)
    beit = transformers.BeitConfig(**SIZES, **SQUARE, use_mask_token=True)
    swin = transformers.SwinConfig(image_size=SIZE, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=2)
    registers = transformers.Dinov2WithRegistersConfig(**SIZES, **SQUARE, num_register_tokens=3)
    bit, clip_photos = transformers.BitImageProcessor(**cut), transformers.CLIPImageProcessor(**cut)
    photos = transformers.ViTImageProcessor(**square)
    convnext = transformers.ConvNextImageProcessor(size={"shortest_edge": 64})

    new = {}
    if hasattr(transformers, "DINOv3ViTModel"):  # since 4.56
        dinov3 = transformers.DINOv3ViTConfig(**SIZES, **SQUARE, num_register_tokens=3)
        new["DINOv3"] = (lambda: transformers.DINOv3ViTModel(dinov3), photos, take_pooled)
        new["DINOv3 ConvNeXt"] = (
            lambda: transformers.DINOv3ConvNextModel(transformers.DINOv3ConvNextConfig(**deep)),
            convnext,
            take_pooled,
        )
    return new | {
        "ViT": (lambda: transformers.ViTModel(vit, use_mask_token=True), photos, take_class),
        "ViT classifier": (lambda: transformers.ViTForImageClassification(vit), photos, take_class),
        "DeiT": (lambda: transformers.DeiTModel(transformers.DeiTConfig(**SIZES, **SQUARE)), photos, take_class),
        "MSN": (lambda: transformers.ViTMSNModel(transformers.ViTMSNConfig(**SIZES, **SQUARE)), photos, take_class),
        "BEiT": (lambda: transformers.BeitModel(beit), photos, take_pooled),
        "DINOv2": (lambda: transformers.Dinov2Model(dinov2), bit, take_pooled),
        "DINOv2 registers": (lambda: transformers.Dinov2WithRegistersModel(registers), bit, take_pooled),
        "CLIP": (lambda: transformers.CLIPVisionModel(clip), clip_photos, take_pooled),
        "CLIP projection": (lambda: transformers.CLIPVisionModelWithProjection(clip), clip_photos, lambda output: output.image_embeds),
        "SigLIP": (
            lambda: transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**SIZES, **SQUARE)),
            transformers.SiglipImageProcessor(**square),
            take_pooled,
        ),
        "Swin": (lambda: transformers.SwinModel(swin), photos, take_pooled),
        "ConvNeXt": (lambda: transformers.ConvNextModel(transformers.ConvNextConfig(**deep)), convnext, take_pooled),
        "ResNet": (lambda: transformers.ResNetModel(transformers.ResNetConfig(embedding_size=4, **deep)), convnext, take_pooled),
    }


def embed_without(embed: Callable[[], Tensor], tokens: nn.Module, present: Tensor) -> Tensor:
    """The embedding of a photo whose absent patches are dropped from the output of a module, where positions were added before.

    Args:
        embed: runs the network.
        tokens: the module, whose output is `[1, prefix + patches, C]`.
        present: True for each patch that is present.
    """

    def drop(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        n_prefix = output.shape[1] - len(present)
        return output[:, nn.functional.pad(present, (n_prefix, 0), value=True)]

    with tokens.register_forward_hook(drop), torch.no_grad():
        return embed()


def all_presences(n_parts: int) -> Tensor:
    """All coalitions of parts, the empty one first."""
    return (torch.arange(2**n_parts)[:, None] >> torch.arange(n_parts)) % 2 == 1
