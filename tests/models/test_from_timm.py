"""Models of timm as encoders: the embedding of timm's own call, its transform, and dropped patches."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from vision_cases import PHOTO, all_presences, embed_without, randomise

import captum_pairwise as cp
from captum_pairwise import SimilarityWrapper
from captum_pairwise.models.photo_encoder import PhotoEncoder

timm = pytest.importorskip("timm", reason="its models are converted: pip install timm")
SIZE = {"img_size": 32, "depth": 2, "embed_dim": 12, "num_heads": 2}
SWIN = {"img_size": 64, "embed_dim": 8, "depths": (1, 1, 1, 1), "num_heads": (1, 2, 2, 2), "window_size": 2}
VITS = {
    "class token": ("vit_tiny_patch16_224", SIZE),
    "mean": ("vit_wee_patch16_reg1_gap_256", SIZE),
    "attention pool": ("vit_base_patch16_siglip_224", SIZE),
    "registers": ("vit_small_patch14_reg4_dinov2", SIZE | {"img_size": 28}),
    "distilled": ("deit_tiny_distilled_patch16_224", SIZE),
}
OTHERS = {
    "EVA02": ("eva02_tiny_patch14_224", {"img_size": 28, "depth": 2}),
    "CaiT": ("cait_xxs24_224", SIZE),
    "Swin": ("swin_tiny_patch4_window7_224", SWIN),
    "ConvNeXt": ("convnext_atto", {"dims": (4, 6, 8, 10), "depths": (1, 1, 1, 1)}),
    "ResNet": ("resnet10t", {}),
}


def build(name: str, **options: Any) -> nn.Module:
    architecture, sizes = (VITS | OTHERS)[name]
    return randomise(timm.create_model(architecture, pretrained=False, **(sizes | options)))


def convert(name: str, n_classes: int = 0, **options: str) -> tuple[nn.Module, PhotoEncoder, Tensor]:
    model = build(name, num_classes=n_classes)
    encoder = cp.models.from_timm(model, **options)
    return model, encoder, encoder.preprocess(PHOTO)


@pytest.mark.parametrize("name", VITS | OTHERS)
@torch.no_grad()
def test_the_embedding_is_timm_s_own(name: str) -> None:
    """Without a classifier, from the photo on."""
    model, encoder, photo = convert(name)
    config = timm.data.resolve_model_data_config(model)
    if hasattr(model, "patch_embed"):
        config["input_size"] = (3, *photo.shape[2:])
    pixels = timm.data.create_transform(**config, is_training=False)(PHOTO)[None].double()
    torch.testing.assert_close(encoder(photo), model(pixels), rtol=1e-4, atol=1e-4)
    assert photo.min() >= 0 and photo.max() <= 1
    grid = encoder.token_grid_size(*photo.shape[2:])
    assert grid == ((2, 2) if hasattr(model, "blocks") and name != "ResNet" else None)


@torch.no_grad()
def test_a_classifier_is_left_out() -> None:
    for name in ("class token", "distilled", "Swin"):
        with_classes, encoder, photo = convert(name, n_classes=7)
        without = build(name, num_classes=0)
        without.load_state_dict({key: value for key, value in with_classes.state_dict().items() if key in without.state_dict()})
        torch.testing.assert_close(encoder(photo), without((photo - encoder.mean) / encoder.std))


@pytest.mark.parametrize("name", VITS)
@torch.no_grad()
def test_patches_hidden_by_an_attention_mask_are_dropped_patches(name: str) -> None:
    model, encoder, photo = convert(name)
    presences = all_presences(4)
    embeddings = encoder.embed_present(photo, presences, "attention mask")
    first = 1 if name in ("attention pool", "mean") else 0  # without a class token nothing can be left out
    for embedding, present in zip(embeddings[first:], presences[first:], strict=True):
        expected = embed_without(lambda: encoder(photo), model.get_submodule("norm_pre"), present)
        torch.testing.assert_close(embedding[None], expected, rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_both_ways_to_compute_attention_can_be_hidden() -> None:
    model, encoder, photo = convert("class token")
    fused = encoder.embed_present(photo, all_presences(4), "attention mask")
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False
    torch.testing.assert_close(encoder.embed_present(photo, all_presences(4), "attention mask"), fused)


@pytest.mark.parametrize("name", ["EVA02", "CaiT"])
@torch.no_grad()
def test_hidden_patches_have_no_effect_or_are_refused(name: str) -> None:
    """EVA02 has rotary positions. CaiT mixes its heads after the softmax with a bias, so that absent patches get a weight."""
    _, encoder, photo = convert(name)
    present = torch.tensor([[True, False, True, True]])
    if name == "CaiT":
        with pytest.raises(ValueError, match=r"absent patches can be hidden by an attention mask, but .* embedding of Cait"):
            encoder.embed_present(photo, present, "attention mask")
        return
    changed = photo.clone()
    changed[..., :14, 14:] = 0.5
    hidden = [encoder.embed_present(pixels, present, "attention mask") for pixels in (photo, changed)]
    torch.testing.assert_close(*hidden, rtol=1e-12, atol=1e-12)


@torch.no_grad()
def test_features_only_gives_the_last_map() -> None:
    for name, axes, options in (("class token", (2, 3), {"depth": 3}), ("Swin", (1, 2), {}), ("ConvNeXt", (2, 3), {})):
        model = build(name, features_only=True, **options)
        encoder = cp.models.from_timm(model)
        photo = encoder.preprocess(PHOTO)[..., :64, :64]
        expected = model((photo - encoder.mean) / encoder.std)[-1].mean(axes)
        torch.testing.assert_close(SimilarityWrapper(encoder).embed_query(photo), expected)


@torch.no_grad()
def test_pooling_is_chosen_by_name() -> None:
    for name, n_prefix in (("class token", 1), ("registers", 5), ("distilled", 2)):
        model, encoder, photo = convert(name, pooling="mean")
        tokens = model.forward_features((photo - encoder.mean) / encoder.std)
        torch.testing.assert_close(encoder(photo), tokens[:, n_prefix:].mean(1))
        torch.testing.assert_close(cp.models.from_timm(model, pooling="class")(photo), tokens[:, 0])


@torch.no_grad()
def test_tokens_without_pooling_are_pooled() -> None:
    model = build("class token", num_classes=0, global_pool="")
    encoder = cp.models.from_timm(model)
    photo = encoder.preprocess(PHOTO)
    torch.testing.assert_close(encoder(photo), model((photo - encoder.mean) / encoder.std)[:, 0])


def test_what_timm_cannot_do_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a model by timm.create_model, got Linear"):
        cp.models.from_timm(nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"one of \['class', 'mean'\], for a vision transformer with tokens, got 'mean' for ResNet"):
        convert("ResNet", pooling="mean")
    _, encoder, photo = convert("attention pool", pooling="class")
    with pytest.raises(ValueError, match="a class token for pooling='class', got VisionTransformer without"):
        encoder(photo)
