"""CLIP and SigLIP of transformers as two encoders with their processor, and models of no known kind."""

import pytest
import torch
from test_clip import NAMES, WORDS, clip_model, default_float64, features, siglip_model
from test_text import make_tokenizer
from torch import nn
from vision_cases import PHOTO, SIZES, randomise

import captum_pairwise as cp

transformers = pytest.importorskip("transformers", reason="its models are converted: pip install 'captum-pairwise[text]'")
FLOAT64 = default_float64  # a fixture that each test uses
SENTENCES = ["a cat sat", "a dog</w>"]


class Processor:
    """A processor of images and text, as `CLIPProcessor`, around any tokenizer."""

    def __init__(self, image_processor: object) -> None:
        self.image_processor, self.tokenizer = image_processor, make_tokenizer(WORDS, **NAMES)


def siglip2_model() -> nn.Module:
    words = SIZES | {"vocab_size": len(WORDS), "max_position_embeddings": 6, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    config = transformers.Siglip2Config(text_config=words, vision_config=SIZES | {"patch_size": 8, "num_patches": 16})
    return randomise(transformers.Siglip2Model(config))


CASES = {
    "CLIP": (clip_model, transformers.CLIPImageProcessor(size={"shortest_edge": 18}, crop_size={"height": 16, "width": 16})),
    "SigLIP": (siglip_model, transformers.SiglipImageProcessor(size={"height": 16, "width": 16})),
    "SigLIP 2": (siglip2_model, transformers.Siglip2ImageProcessor(patch_size=8, max_num_patches=16)),
}


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_both_encoders_give_the_model_s_own_embeddings(name: str) -> None:
    model, processor = CASES[name][0](), Processor(CASES[name][1])
    dual = cp.models.from_transformers(model, processor)
    inputs = processor.image_processor(images=PHOTO, return_tensors="pt")
    inputs = {key: value.double() if value.is_floating_point() else value for key, value in inputs.items()}
    torch.testing.assert_close(dual.image(dual.image.preprocess(PHOTO)), features(model.get_image_features(**inputs)), rtol=1e-4, atol=1e-4)
    padding = {"padding": "max_length", "max_length": 6} if name != "CLIP" else {"padding": True}
    ids = processor.tokenizer(SENTENCES, return_tensors="pt", **padding)["input_ids"]
    torch.testing.assert_close(dual.text(dual.text.ids(SENTENCES)), features(model.get_text_features(input_ids=ids)))
    assert isinstance(dual, cp.models.DualEncoder) and not dual.image.training and not dual.text.training


def test_a_dual_encoder_keeps_its_own_pooling_and_needs_a_tokenizer() -> None:
    model = clip_model()
    with pytest.raises(ValueError, match=r"no pooling for CLIPModel, .*, got 'mean'"):
        cp.models.from_transformers(model, Processor(CASES["CLIP"][1]), pooling="mean")
    with pytest.raises(ValueError, match="a processor of images and text for CLIPModel, got CLIPImageProcessor"):
        cp.models.from_transformers(model, CASES["CLIP"][1])


def test_other_models_are_refused() -> None:
    with pytest.raises(ValueError, match="a vision model, or a CLIP or SigLIP model, of transformers, got Linear"):
        cp.models.from_transformers(nn.Linear(2, 2), None)
    with pytest.raises(ValueError, match="no prompt for Linear"):
        cp.models.from_transformers(nn.Linear(2, 2), None, prompt="query: ")
