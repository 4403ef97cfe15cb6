"""Vision models of transformers as encoders: the embedding of the library's own call, and patches that are dropped by hand."""

import pytest
import torch
from torch import Tensor, nn
from vision_cases import PATCH, PHOTO, SIZE, SIZES, all_presences, embed_without, randomise, vision_cases

import captum_pairwise as cp
from captum_pairwise.models.photo_encoder import PhotoEncoder

transformers = pytest.importorskip("transformers", reason="its models are converted: pip install 'captum-pairwise[text]'")
CASES = vision_cases(transformers)
WITH_CLASS_TOKEN = ("ViT", "DeiT", "MSN", "DINOv2", "DINOv2 registers", "CLIP", "CLIP projection")
WITH_MASK_TOKEN = [name for name in ("ViT", "BEiT", "DINOv2", "DINOv2 registers", "DINOv3") if name in CASES]
MAPS = ("Swin", "ConvNeXt", "ResNet", "DINOv3 ConvNeXt")


def convert(name: str, **options) -> tuple[nn.Module, PhotoEncoder]:
    model = randomise(CASES[name][0]())
    return model, cp.models.from_transformers(model, CASES[name][1], **options)


def prepare(encoder: PhotoEncoder) -> Tensor:
    return encoder.preprocess(PHOTO)


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_the_embedding_is_the_library_s_own(name: str) -> None:
    """From the photo on: its processor, its model, and the field of its output that holds the embedding."""
    model, encoder = convert(name)
    own = CASES[name][1](images=PHOTO, return_tensors="pt")["pixel_values"].double()
    base = model.vit if name == "ViT classifier" else model
    torch.testing.assert_close(encoder(prepare(encoder)), CASES[name][2](base(pixel_values=own)), rtol=1e-4, atol=1e-4)
    assert 0 <= prepare(encoder).min() and prepare(encoder).max() <= 1 and "normalised (mean 0." in encoder.preprocessing
    assert encoder.token_grid_size(SIZE, 2 * SIZE) == (None if name in MAPS else (2, 4))


@pytest.mark.parametrize("name", [*WITH_CLASS_TOKEN, "SigLIP"])
@torch.no_grad()
def test_patches_hidden_by_an_attention_mask_are_dropped_patches(name: str) -> None:
    model, encoder = convert(name)
    photo, presences = prepare(encoder), all_presences(4)
    pixels = (photo - encoder.mean) / encoder.std
    network = model.vision_model if hasattr(model, "vision_model") else model
    embeddings = encoder.embed_present(photo, presences, "attention mask")
    first = 0 if name in WITH_CLASS_TOKEN else 1  # without any token nothing can be dropped
    for embedding, present in zip(embeddings[first:], presences[first:], strict=True):
        expected = embed_without(lambda: CASES[name][2](model(pixel_values=pixels)), network.embeddings, present)
        torch.testing.assert_close(embedding[None], expected, rtol=1e-9, atol=1e-9)
    assert embeddings.isfinite().all() and not torch.equal(embeddings[0], embeddings[-1])


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", [name for name in ("DINOv3", "BEiT") if name in CASES])
@torch.no_grad()
def test_hidden_patches_have_no_effect_with_relative_positions(name: str, attention: str) -> None:
    model, encoder = convert(name)
    if not hasattr(model, "set_attn_implementation"):
        pytest.skip("transformers sets it since 4.53")
    model.set_attn_implementation(attention)
    photo = prepare(encoder)
    changed = photo.clone()
    changed[..., :PATCH, PATCH:] = 0.25
    rows = torch.tensor([[True, False, True, True]])
    hidden = [encoder.embed_present(pixels, rows, "attention mask") for pixels in (photo, changed)]
    torch.testing.assert_close(*hidden, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(encoder(photo), encoder(changed)) and not torch.allclose(hidden[0], encoder(photo))


@pytest.mark.parametrize("name", WITH_MASK_TOKEN)
@torch.no_grad()
def test_the_mask_token_stands_for_absent_patches(name: str) -> None:
    model, encoder = convert(name)
    photo, presences = prepare(encoder), all_presences(4)
    pixels = (photo - encoder.mean) / encoder.std
    expected = [CASES[name][2](model(pixel_values=pixels, bool_masked_pos=~present[None])) for present in presences]
    torch.testing.assert_close(encoder.embed_present(photo, presences, "mask token"), torch.cat(expected))


@torch.no_grad()
def test_a_photo_of_another_size_has_interpolated_positions() -> None:
    for name in ("ViT", "CLIP", "SigLIP", "BEiT", "DINOv2"):
        model, encoder = convert(name)
        photo = torch.rand(1, 3, 2 * SIZE, 3 * PATCH, dtype=torch.float64)
        options = {} if name == "DINOv2" else {"interpolate_pos_encoding": True}
        expected = CASES[name][2](model(pixel_values=(photo - encoder.mean) / encoder.std, **options))
        torch.testing.assert_close(encoder(photo), expected)
        assert encoder.embed_present(photo, torch.ones(1, 12, dtype=torch.bool), "attention mask").shape == expected.shape


@torch.no_grad()
def test_pooling_is_chosen_by_name() -> None:
    model, encoder = convert("ViT", pooling="mean")
    photo = prepare(encoder)
    output = model(pixel_values=(photo - encoder.mean) / encoder.std)
    torch.testing.assert_close(encoder(photo), output.last_hidden_state[:, 1:].mean(1))
    torch.testing.assert_close(cp.models.from_transformers(model, CASES["ViT"][1], pooling="pooler")(photo), output.pooler_output)
    presences = all_presences(4)[1:]
    embeddings = encoder.embed_present(photo, presences, "attention mask")
    for embedding, present in zip(embeddings, presences, strict=True):
        states = embed_without(lambda: model(pixel_values=(photo - encoder.mean) / encoder.std)[0], model.embeddings, present)
        torch.testing.assert_close(embedding, states[0, 1:].mean(0))


def test_a_pooling_that_the_model_has_not_is_refused() -> None:
    with pytest.raises(ValueError, match=r"pooling to be one of .*, got 'max'"):
        convert("ViT", pooling="max")
    _, encoder = convert("SigLIP", pooling="class")
    with pytest.raises(ValueError, match=r"an output of SiglipVisionModel for pooling='class', got \{'last_hidden_state'"):
        encoder(prepare(encoder))


def test_a_processor_of_text_is_refused() -> None:
    with pytest.raises(ValueError, match="the image processor of ViTModel, got NoneType"):
        cp.models.from_transformers(randomise(CASES["ViT"][0]()), None)


@torch.no_grad()
def test_photos_of_any_shape_for_siglip_2() -> None:
    """Its processor returns patches, with padding that the attention ignores."""
    config = transformers.Siglip2VisionConfig(**SIZES, patch_size=PATCH, num_patches=16)
    model = randomise(transformers.Siglip2VisionModel(config))
    processor = transformers.Siglip2ImageProcessor(patch_size=PATCH, max_num_patches=16)
    encoder = cp.models.from_transformers(model, processor)
    own = processor(images=PHOTO, return_tensors="pt")
    photo = prepare(encoder)
    rows, columns = own["spatial_shapes"][0].tolist()
    assert (rows, columns) == encoder.token_grid_size(*photo.shape[2:]) and rows < columns and rows * columns < 16
    expected = model(**{name: value.double() if value.is_floating_point() else value for name, value in own.items()}).pooler_output
    torch.testing.assert_close(encoder(photo), expected, rtol=1e-4, atol=1e-4)
    changed = photo.clone()
    changed[..., :PATCH, :PATCH] = 0.5
    present = torch.arange(rows * columns)[None] > 0
    hidden = [encoder.embed_present(pixels, present, "attention mask") for pixels in (photo, changed)]
    torch.testing.assert_close(*hidden, rtol=1e-12, atol=1e-12)


def test_attention_in_windows_cannot_be_hidden() -> None:
    _, encoder = convert("Swin")
    assert encoder.removals == ()
    with pytest.raises(ValueError, match=r"remove patches inside SwinModel, one of \[\], got 'attention mask'"):
        encoder.embed_present(prepare(encoder), all_presences(4), "attention mask")
